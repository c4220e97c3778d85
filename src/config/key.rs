// SPDX-License-Identifier: Apache-2.0
//! `MDPrivateKeys`: `Default`, or keys of different types. Accepts a curve that OpenSSL does not know;
//! `check` ends the start for it, as the C module does.

use super::Error;
use crate::model::KeySpec;
use crate::model::key_spec::RSA_BITS_DEFAULT;

/// The longest RSA key OpenSSL works with.
const RSA_BITS_MAX: u32 = 16_384;

/// The keys to make; empty for `Default`.
pub(super) fn key_specs(args: &[&str]) -> Result<Vec<KeySpec>, Error> {
    if args.is_empty() {
        return Err(Error::new("needs to specify the private key type"));
    }
    if args.iter().any(|a| a.eq_ignore_ascii_case("Default")) {
        return match args {
            [_] => Ok(Vec::new()),
            _ => Err(Error::new("'Default' allows no other parameter")),
        };
    }
    let mut specs: Vec<KeySpec> = Vec::new();
    let mut rest = args.iter().peekable();
    while let Some(arg) = rest.next() {
        let spec = match rsa_suffix(arg) {
            Some("") => match rest.next_if(|next| is_number(next)) {
                Some(bits) => rsa(bits)?,
                None => KeySpec::Rsa(RSA_BITS_DEFAULT),
            },
            Some(bits) => rsa(bits)?,
            None => KeySpec::Ec((*arg).to_string()),
        };
        if specs.iter().any(|known| known.same_type(&spec)) {
            let label = if matches!(spec, KeySpec::Rsa(_)) { "RSA" } else { spec.label() };
            return Err(Error(format!("two keys of type '{label}' are not possible.")));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// The type of an account's key, in one argument or in two: `RSA 3072`.
pub(super) fn account_key(args: &[&str]) -> Result<KeySpec, Error> {
    let text = args.join(" ");
    let spec = (1..=2).contains(&args.len()).then(|| KeySpec::of_account(&text)).flatten();
    spec.ok_or_else(|| {
        Error(format!(
            "'{text}' is no type of account key. There are RSA 2048 to RSA 8192, P-256, P-384 and P-521."
        ))
    })
}

/// The text after `rsa`, if it is a number or empty; everything else is the name of a curve.
fn rsa_suffix(arg: &str) -> Option<&str> {
    let (head, tail) = arg.split_at_checked(3)?;
    (head.eq_ignore_ascii_case("rsa") && (tail.is_empty() || is_number(tail))).then_some(tail)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn rsa(bits: &str) -> Result<KeySpec, Error> {
    match bits.parse::<u32>() {
        Ok(bits) if bits < RSA_BITS_DEFAULT => {
            Err(Error::new("must be 2048 or higher in order to be considered safe."))
        }
        Ok(bits) if bits <= RSA_BITS_MAX => Ok(KeySpec::Rsa(bits)),
        _ => Err(Error(format!("RSA keys of {bits} bits are not possible, the maximum is {RSA_BITS_MAX}."))),
    }
}
