// SPDX-License-Identifier: Apache-2.0
//! The kind of private key that a certificate requires, and the file names that follow from it.

use serde_json::{Value, json};
use std::fmt;

/// The smallest RSA key that is considered safe, and the length of `RSA` without one.
pub const RSA_BITS_DEFAULT: u32 = 2048;

/// The key of a new account that nobody configured: one that the C module supports, so that going back works.
pub const ACCOUNT_KEY_DEFAULT: KeySpec = KeySpec::Rsa(3072);

/// Signatures of longer ones take too long for every request of a renewal.
const ACCOUNT_RSA_BITS_MAX: u32 = 8192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA with this many bits.
    Rsa(u32),
    /// An elliptic curve, spelled as configured (`P-256`, `secp384r1`, …).
    Ec(String),
}

impl Default for KeySpec {
    fn default() -> Self {
        KeySpec::Rsa(RSA_BITS_DEFAULT)
    }
}

/// As directives have it: `RSA 2048`, `P-256`.
impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySpec::Rsa(bits) => write!(f, "RSA {bits}"),
            KeySpec::Ec(curve) => f.write_str(curve),
        }
    }
}

impl KeySpec {
    /// A key that ACME's signatures are made with (RFC 7518 §3.1), as people write it: `RSA`, `RSA-3072`,
    /// `RSA 2048`, `P-384` and other names of that curve.
    pub fn of_account(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let Some(bits) = lower.strip_prefix("rsa") else {
            return Some(KeySpec::Ec(text.to_string()).commonly_named()).filter(Self::is_of_account);
        };
        match bits {
            "" => Some(ACCOUNT_KEY_DEFAULT),
            bits => {
                bits.trim_start_matches(['-', ' ']).parse().ok().map(KeySpec::Rsa).filter(Self::is_of_account)
            }
        }
    }

    /// Whether ACME's signatures are made with such a key here.
    pub fn is_of_account(&self) -> bool {
        match self {
            KeySpec::Rsa(bits) => (RSA_BITS_DEFAULT..=ACCOUNT_RSA_BITS_MAX).contains(bits),
            KeySpec::Ec(_) => self
                .curve_name()
                .is_some_and(|curve| ["prime256v1", "secp384r1", "secp521r1"].contains(&curve.as_str())),
        }
    }

    /// How status and JSON call it: `rsa`, or the curve as configured.
    pub fn label(&self) -> &str {
        match self {
            KeySpec::Rsa(_) => "rsa",
            KeySpec::Ec(curve) => curve,
        }
    }

    /// `privkey.pem` for RSA, `privkey.p-256.pem` for a curve; likewise with another `stem`.
    pub fn file_name(&self, stem: &str) -> String {
        match self {
            KeySpec::Rsa(_) => format!("{stem}.pem"),
            KeySpec::Ec(curve) => format!("{stem}.{}.pem", curve.to_ascii_lowercase()),
        }
    }

    /// The kind of key that a file of this `stem` is for, where it is one; RSA with the default length.
    pub fn of_file(file: &str, stem: &str) -> Option<Self> {
        match file.strip_prefix(stem)?.strip_suffix(".pem")? {
            "" => Some(KeySpec::default()),
            // Files have no capitals, and NIST's names have one.
            curve => curve.strip_prefix('.').filter(|c| !c.is_empty()).map(|c| match c.strip_prefix("p-") {
                Some(bits) => KeySpec::Ec(format!("P-{bits}")),
                None => KeySpec::Ec(c.to_string()),
            }),
        }
    }

    /// The curve's one name in OpenSSL's spelling (`prime256v1` for P-256 and its aliases); `None` for RSA.
    pub fn curve_name(&self) -> Option<String> {
        let KeySpec::Ec(curve) = self else { return None };
        let lower = curve.to_ascii_lowercase();
        Some(match lower.as_str() {
            "p-256" | "secp256r1" | "prime256v1" => "prime256v1".into(),
            "p-384" | "secp384r1" => "secp384r1".into(),
            "p-521" | "secp521r1" => "secp521r1".into(),
            "p-192" | "secp192r1" | "prime192v1" => "prime192v1".into(),
            _ => lower,
        })
    }

    /// With the name that people configure where OpenSSL has another one.
    #[must_use]
    pub fn commonly_named(self) -> Self {
        match self.curve_name().as_deref() {
            Some("prime256v1") => KeySpec::Ec("P-256".into()),
            Some("secp384r1") => KeySpec::Ec("P-384".into()),
            Some("secp521r1") => KeySpec::Ec("P-521".into()),
            _ => self,
        }
    }

    /// Two keys of one type cannot stand beside each other.
    pub fn same_type(&self, other: &KeySpec) -> bool {
        match (self, other) {
            (KeySpec::Rsa(_), KeySpec::Rsa(_)) => true,
            (a, b) => a.curve_name() == b.curve_name(),
        }
    }

    /// Whether both ask for the same key, however its curve is spelled.
    pub fn is_as(&self, other: &KeySpec) -> bool {
        match (self, other) {
            (KeySpec::Rsa(bits), KeySpec::Rsa(others)) => bits == others,
            (one, other) => one.same_type(other),
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            KeySpec::Rsa(bits) => json!({"type": "RSA", "bits": bits}),
            KeySpec::Ec(curve) => json!({"type": "EC", "curve": curve}),
        }
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        match value.get("type")?.as_str()? {
            "RSA" => {
                let bits = value.get("bits").and_then(Value::as_u64).unwrap_or(RSA_BITS_DEFAULT.into());
                Some(KeySpec::Rsa(u32::try_from(bits).ok()?.max(RSA_BITS_DEFAULT)))
            }
            "EC" => Some(KeySpec::Ec(value.get("curve")?.as_str()?.to_string())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_the_curve_in_lower_case_and_plain_for_rsa() {
        assert_eq!(KeySpec::Rsa(4096).file_name("privkey"), "privkey.pem");
        assert_eq!(KeySpec::Ec("P-256".into()).file_name("pubcert"), "pubcert.p-256.pem");
    }

    #[test]
    fn the_name_of_a_file_identifies_its_key() {
        for spec in [KeySpec::default(), KeySpec::Ec("P-256".into()), KeySpec::Ec("brainpoolp256r1".into())] {
            assert_eq!(KeySpec::of_file(&spec.file_name("x-pubcert"), "x-pubcert"), Some(spec));
        }
        for other in [
            "x-pubcert",
            "x-pubcert..pem",
            "x-pubcert.pem.old",
            "x-pubcertpem",
            "pubcert.pem",
            "x-pubcerts.pem",
        ] {
            assert_eq!(KeySpec::of_file(other, "x-pubcert"), None, "{other}");
        }
    }

    #[test]
    fn curves_are_the_same_under_their_aliases() {
        let p256 = KeySpec::Ec("P-256".into());
        assert!(p256.same_type(&KeySpec::Ec("PRIME256V1".into())));
        assert!(p256.same_type(&KeySpec::Ec("secp256r1".into())));
        assert!(!p256.same_type(&KeySpec::Ec("secp384r1".into())));
        assert!(!p256.same_type(&KeySpec::default()));
        assert!(KeySpec::Rsa(2048).same_type(&KeySpec::Rsa(4096)));
    }

    #[test]
    fn keys_of_accounts_are_those_that_acme_signs_with() {
        for (text, spec) in [
            ("RSA", KeySpec::Rsa(3072)),
            ("rsa-4096", KeySpec::Rsa(4096)),
            ("RSA 2048", KeySpec::Rsa(2048)),
            ("p-384", KeySpec::Ec("P-384".into())),
            ("secp256r1", KeySpec::Ec("P-256".into())),
        ] {
            assert_eq!(KeySpec::of_account(text), Some(spec), "{text}");
        }
        for text in ["RSA-1024", "RSA-x", "X25519", "ed25519", "", "RSA-16384", "P-192"] {
            assert_eq!(KeySpec::of_account(text), None, "{text}");
        }
    }

    #[test]
    fn json_is_read_back() {
        for spec in [KeySpec::Rsa(3072), KeySpec::Ec("secp384r1".into())] {
            assert_eq!(KeySpec::from_json(&spec.to_json()), Some(spec));
        }
        assert_eq!(KeySpec::from_json(&json!({"type": "DSA"})), None);
    }
}
