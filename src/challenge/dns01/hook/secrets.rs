// SPDX-License-Identifier: Apache-2.0
//! The files of a hook that root has loaded: that of `env=` with lines `NAME=VALUE`, and the user of httpreq.
//! In the former, blank lines and lines that begin with `#` say nothing; one pair of quotes around a whole
//! value is taken off; nothing is expanded or unescaped. Refuses every other line, by its number and without
//! its text, which may be a secret.

use crate::exec::Environment;
use crate::model::dns01::SecretFile;
use data_encoding::BASE64;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not NAME=VALUE")]
pub struct BadLine(pub usize);

/// What the lines say.
pub fn variables(text: &str) -> Result<Environment, BadLine> {
    let mut environment = Environment::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').filter(|(name, _)| is_name(name)).ok_or(BadLine(number))?;
        environment.set(name, unquoted(value)).map_err(|_| BadLine(number))?;
    }
    Ok(environment)
}

fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty() && text.bytes().all(is_part)
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The header that says who we are (RFC 7617 §2): `USER:PASSWORD` is the one line of the file.
pub fn authorization(file: &SecretFile) -> Result<Zeroizing<String>, String> {
    let pair = content(file)?.trim_end_matches(['\r', '\n']);
    if !pair.contains(':') || pair.contains(char::is_control) {
        return Err(format!("{} is not one line USER:PASSWORD", file.path));
    }
    let code = Zeroizing::new(BASE64.encode(pair.as_bytes()));
    Ok(Zeroizing::new(["Basic ", &code].concat()))
}

pub fn content(file: &SecretFile) -> Result<&str, String> {
    file.content.as_ref().map(|content| content.as_str()).ok_or_else(|| {
        format!("{} was not readable when httpd was started: the log of that start says why", file.path)
    })
}
