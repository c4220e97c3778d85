// SPDX-License-Identifier: Apache-2.0
//! Private keys as other ACME clients keep them: PEM of every common form (RFC 5958, RFC 8017 §A.1.2, RFC
//! 5915) and JSON web keys (RFC 7517). All of them become a PKCS#8 PrivateKeyInfo first, whose form is checked
//! before OpenSSL sees it: such files may be anybody's. Refuses encrypted keys, and keys whose private half
//! does not belong to the public one.

use super::der::{INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use super::key_info::{EC_PUBLIC_KEY, RSA_ENCRYPTION};
use super::{Error, PrivateKey, pem};
use data_encoding::BASE64URL_NOPAD;
use openssl::hash::MessageDigest;
use openssl::sign::{Signer, Verifier};
use serde_json::Value;
use zeroize::Zeroizing;

/// Bytes of a file, certificates beside the key included.
const FILE_MAX: usize = 1024 * 1024;
/// `crv` of RFC 7518 §6.2.1.1 and the object identifier of the curve.
const CURVES: [(&str, &[u8]); 3] = [
    ("P-256", &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
    ("P-384", &[0x2b, 0x81, 4, 0, 0x22]),
    ("P-521", &[0x2b, 0x81, 4, 0, 0x23]),
];
/// Of a curve's object identifier in an ECPrivateKey.
const PARAMETERS: u8 = 0xa0;

type Der = Zeroizing<Vec<u8>>;

/// The first private key in a PEM file, whatever else is in it. `None`: there is none.
pub fn from_pem(file: &[u8]) -> Option<Result<PrivateKey, Error>> {
    if pem::refuse_encrypted(file).is_err() {
        return Some(Err(Error::Invalid("it is encrypted with a pass phrase".into())));
    }
    if file.len() > FILE_MAX {
        return None;
    }
    let blocks = pem::private_blocks(file)?;
    let (label, der) = blocks.iter().find(|(label, _)| label.ends_with("PRIVATE KEY"))?;
    let pkcs8 = match *label {
        "PRIVATE KEY" => Some(der.clone()),
        "RSA PRIVATE KEY" => Some(rsa_info(der)),
        "EC PRIVATE KEY" => elliptic_info(der),
        _ => None,
    };
    Some(pkcs8.ok_or_else(unknown).and_then(|pkcs8| checked(&pkcs8)))
}

/// The private key of a JSON web key.
pub fn from_jwk(jwk: &Value) -> Result<PrivateKey, Error> {
    let member = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).filter(|text| text.len() <= 4096)?;
        BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok().map(Zeroizing::new)
    };
    let pkcs8 = match jwk.get("kty").and_then(Value::as_str) {
        Some("RSA") => {
            let numbers: Option<Vec<Der>> =
                ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().map(member).collect();
            let numbers = numbers.ok_or_else(unknown)?;
            let mut content = integer(&[0]);
            numbers.iter().for_each(|number| content.extend_from_slice(&integer(number)));
            rsa_info(&element(SEQUENCE, &content))
        }
        Some("EC") => {
            let name = jwk.get("crv").and_then(Value::as_str).unwrap_or_default();
            let curve = CURVES.iter().find(|(known, _)| *known == name);
            let (_, curve) = curve.ok_or_else(unknown)?;
            let number = member("d").ok_or_else(unknown)?;
            let content = [integer(&[1]), element(OCTET_STRING, &number)];
            info(EC_PUBLIC_KEY, &element(OBJECT_IDENTIFIER, curve), &element(SEQUENCE, &joined(&content)))
        }
        _ => return Err(unknown()),
    };
    checked(&pkcs8)
}

fn unknown() -> Error {
    Error::Invalid("it has no private key of a known form: RSA, or a named curve".into())
}

fn checked(pkcs8: &[u8]) -> Result<PrivateKey, Error> {
    let key = PrivateKey::from_pkcs8(pkcs8)?;
    match is_whole(&key) {
        Ok(true) => Ok(key),
        _ => Err(Error::Invalid("its private half does not belong to its public one".into())),
    }
}

/// Whether a signature of its private half is one of its public half.
fn is_whole(key: &PrivateKey) -> Result<bool, Error> {
    const TEXT: &[u8] = b"mod_md";
    let outcome = || {
        let signature = match key.is_rsa() || key.pkey().ec_key().is_ok() {
            true => Signer::new(MessageDigest::sha256(), key.pkey())?.sign_oneshot_to_vec(TEXT)?,
            false => Signer::new_without_digest(key.pkey())?.sign_oneshot_to_vec(TEXT)?,
        };
        let public = openssl::pkey::PKey::public_key_from_der(&key.pkey().public_key_to_der()?)?;
        match key.is_rsa() || key.pkey().ec_key().is_ok() {
            true => Verifier::new(MessageDigest::sha256(), &public)?.verify_oneshot(&signature, TEXT),
            false => Verifier::new_without_digest(&public)?.verify_oneshot(&signature, TEXT),
        }
    };
    let outcome: Result<bool, openssl::error::ErrorStack> = outcome();
    Ok(outcome?)
}

/// A PrivateKeyInfo around an RSAPrivateKey.
fn rsa_info(key: &[u8]) -> Der {
    info(RSA_ENCRYPTION, &element(NULL, &[]), key)
}

/// A PrivateKeyInfo around an ECPrivateKey, which names its curve itself.
fn elliptic_info(key: &[u8]) -> Option<Der> {
    let mut fields = Reader::new(key).only(SEQUENCE)?;
    fields.take(INTEGER)?;
    fields.take(OCTET_STRING)?;
    let curve = fields.enter(PARAMETERS)?.only_content(OBJECT_IDENTIFIER)?;
    Some(info(EC_PUBLIC_KEY, &element(OBJECT_IDENTIFIER, curve), key))
}

fn info(kind: &[u8], parameters: &[u8], key: &[u8]) -> Der {
    let kind = element(OBJECT_IDENTIFIER, kind);
    let algorithm = element(SEQUENCE, &joined(&[kind, Zeroizing::new(parameters.to_vec())]));
    element(SEQUENCE, &joined(&[integer(&[0]), algorithm, element(OCTET_STRING, key)]))
}

fn joined(parts: &[Der]) -> Der {
    let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all
}

/// A number that is not negative, as short as it can be.
fn integer(number: &[u8]) -> Der {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let needs_sign = digits.first().is_none_or(|first| *first >= 0x80);
    let mut content = Zeroizing::new(Vec::with_capacity(digits.len() + 1));
    needs_sign.then(|| content.push(0));
    content.extend_from_slice(digits);
    element(INTEGER, &content)
}

fn element(tag: u8, content: &[u8]) -> Der {
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + 6));
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let length = length.get(zeros..).unwrap_or_default();
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
            out.extend_from_slice(length);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::jws;
    use crate::model::KeySpec;
    use openssl::bn::BigNumRef;
    use serde_json::json;

    fn text(number: &BigNumRef) -> String {
        BASE64URL_NOPAD.encode(&number.to_vec())
    }

    /// The JSON web key with its private members.
    fn private_jwk(key: &PrivateKey) -> Value {
        let mut jwk = jws::jwk(key).unwrap();
        if let Ok(rsa) = key.pkey().rsa() {
            let numbers = [
                ("d", Some(rsa.d())),
                ("p", rsa.p()),
                ("q", rsa.q()),
                ("dp", rsa.dmp1()),
                ("dq", rsa.dmq1()),
                ("qi", rsa.iqmp()),
            ];
            numbers.into_iter().for_each(|(name, number)| jwk[name] = json!(text(number.unwrap())));
        } else {
            jwk["d"] = json!(text(key.pkey().ec_key().unwrap().private_key()));
        }
        jwk
    }

    fn kinds() -> Vec<PrivateKey> {
        let specs = ["P-256", "P-384", "P-521"].map(|curve| KeySpec::Ec(curve.into()));
        specs.iter().chain(&[KeySpec::default()]).map(|spec| PrivateKey::generate(spec).unwrap()).collect()
    }

    #[test]
    fn keys_of_all_common_forms_are_read() {
        for key in kinds() {
            let old = match key.pkey().rsa() {
                Ok(rsa) => rsa.private_key_to_pem().unwrap(),
                Err(_) => key.pkey().ec_key().unwrap().private_key_to_pem().unwrap(),
            };
            let parameters =
                b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
            let before = [&parameters[..], &old].concat();
            for file in [key.to_pem().unwrap().to_vec(), old, before] {
                let read = from_pem(&file).unwrap().unwrap();
                assert!(read.pkey().public_eq(key.pkey()));
            }
            let read = from_jwk(&private_jwk(&key)).unwrap();
            assert!(read.pkey().public_eq(key.pkey()));
        }
        let edwards = openssl::pkey::PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
        assert!(from_pem(&edwards).unwrap().is_ok());
    }

    #[test]
    fn what_is_no_key_is_none_and_what_is_no_plain_one_is_refused() {
        assert!(from_pem(b"").is_none());
        assert!(from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_none());
        let key = openssl::rsa::Rsa::generate(1024).unwrap();
        let sealed = key.private_key_to_pem_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"x").unwrap();
        assert!(from_pem(&sealed).unwrap().err().unwrap().to_string().contains("pass phrase"));
        let wrong = pem::write("EC PRIVATE KEY", &[0x30, 3, 2, 1, 1]);
        assert!(from_pem(wrong.as_bytes()).unwrap().is_err());
        let wrong = pem::write("DSA PRIVATE KEY", &[0x30, 3, 2, 1, 1]);
        assert!(from_pem(wrong.as_bytes()).unwrap().is_err());
    }

    #[test]
    fn a_key_whose_halves_are_of_two_keys_is_refused() {
        let [one, other] = [(); 2].map(|()| PrivateKey::generate(&KeySpec::default()).unwrap());
        let (mut jwk, other) = (private_jwk(&one), private_jwk(&other));
        jwk["n"] = other["n"].clone();
        assert!(from_jwk(&jwk).is_err());
    }

    #[test]
    fn json_that_is_no_private_key_is_refused() {
        let good = private_jwk(&PrivateKey::generate(&KeySpec::default()).unwrap());
        for member in ["kty", "n", "d", "qi"] {
            for wrong in [json!(null), json!("!"), json!(7), json!("A".repeat(5000))] {
                let mut bad = good.clone();
                bad[member] = wrong;
                assert!(from_jwk(&bad).is_err(), "{member}");
            }
        }
        assert!(from_jwk(&json!({"kty": "EC", "crv": "P-999", "d": "AQ"})).is_err());
        assert!(from_jwk(&json!([])).is_err());
    }
}
