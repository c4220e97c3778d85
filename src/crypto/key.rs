//! Private keys: made, read and written. In the store they stand as PKCS#8 PEM, plain in groups only
//! root opens, encrypted (AES-256-CBC, the store key as pass phrase) elsewhere.

use super::{Error, turnstile};
use crate::model::KeySpec;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;

/// A private key. Has no `Debug`, so that it cannot slip into a log.
#[derive(Clone)]
pub struct PrivateKey(PKey<Private>);

impl PrivateKey {
    pub fn generate(spec: &KeySpec) -> Result<Self, Error> {
        let key = match spec {
            KeySpec::Rsa(bits) => PKey::from_rsa(Rsa::generate(*bits)?)?,
            KeySpec::Ec(curve) => {
                let group = EcGroup::from_curve_name(nid(spec).ok_or_else(|| {
                    Error::Invalid(format!("the elliptic curve '{curve}' is not known to OpenSSL"))
                })?)?;
                PKey::from_ec_key(EcKey::generate(&group)?)?
            }
        };
        Ok(PrivateKey(key))
    }

    /// The same where many are made at once: what takes long waits for its turn. `None`: when that came, `is_stopped`
    /// said so.
    pub fn generate_in_turn(spec: &KeySpec, is_stopped: impl Fn() -> bool) -> Result<Option<Self>, Error> {
        match spec {
            KeySpec::Ec(_) => Self::generate(spec).map(Some),
            KeySpec::Rsa(_) => turnstile::LONG.pass(|| match is_stopped() {
                true => Ok(None),
                false => Self::generate(spec).map(Some),
            }),
        }
    }

    /// Reads a PEM, encrypted or not. `pass_phrase` may be any bytes. Never asks at a terminal.
    pub fn from_pem(pem: &[u8], pass_phrase: Option<&[u8]>) -> Result<Self, Error> {
        let pass_phrase = pass_phrase.unwrap_or_default();
        // The callback takes bytes; the other form takes a C string, and store keys have NUL bytes in them.
        let key =
            PKey::private_key_from_pem_callback(pem, |buffer| match buffer.get_mut(..pass_phrase.len()) {
                Some(room) => {
                    room.copy_from_slice(pass_phrase);
                    Ok(pass_phrase.len())
                }
                None => Ok(0),
            })?;
        Ok(PrivateKey(key))
    }

    /// PKCS#8, not encrypted.
    pub fn to_pem(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.private_key_to_pem_pkcs8()?)
    }

    /// PKCS#8, encrypted with AES-256-CBC.
    pub fn to_encrypted_pem(&self, pass_phrase: &[u8]) -> Result<Vec<u8>, Error> {
        let seal = || self.0.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), pass_phrase);
        Ok(turnstile::SHORT.pass(seal)?)
    }

    /// Whether [`generate`](Self::generate) can make such a key.
    pub fn can_generate(spec: &KeySpec) -> bool {
        matches!(spec, KeySpec::Rsa(_)) || nid(spec).is_some()
    }

    pub fn is_rsa(&self) -> bool {
        self.0.id() == Id::RSA
    }

    /// Whether this key is of the kind `spec` asks for (type and curve; RSA of any length).
    pub fn is_of(&self, spec: &KeySpec) -> bool {
        match spec {
            KeySpec::Rsa(_) => self.is_rsa(),
            KeySpec::Ec(_) => self.0.ec_key().ok().and_then(|k| k.group().curve_name()) == nid(spec),
        }
    }

    pub fn pkey(&self) -> &PKey<Private> {
        &self.0
    }
}

fn nid(spec: &KeySpec) -> Option<Nid> {
    match spec.curve_name()?.as_str() {
        "prime256v1" => Some(Nid::X9_62_PRIME256V1),
        "secp384r1" => Some(Nid::SECP384R1),
        "secp521r1" => Some(Nid::SECP521R1),
        "prime192v1" => Some(Nid::X9_62_PRIME192V1),
        other => [
            ("secp256k1", Nid::SECP256K1),
            ("secp224r1", Nid::SECP224R1),
            ("brainpoolp256r1", Nid::BRAINPOOL_P256R1),
            ("brainpoolp384r1", Nid::BRAINPOOL_P384R1),
            ("brainpoolp512r1", Nid::BRAINPOOL_P512R1),
        ]
        .iter()
        .find(|(name, _)| *name == other)
        .map(|(_, nid)| *nid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_key_opens_with_its_pass_phrase_alone() {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let pass = [0u8, 1, 2, 255, 0, 7];
        let pem = key.to_encrypted_pem(&pass).unwrap();
        assert!(pem.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let read = PrivateKey::from_pem(&pem, Some(&pass)).unwrap();
        assert!(read.pkey().public_eq(key.pkey()));
        assert!(PrivateKey::from_pem(&pem, Some(b"other")).is_err());
        assert!(PrivateKey::from_pem(&pem, None).is_err());
        assert!(PrivateKey::from_pem(b"garbage", None).is_err());
    }

    #[test]
    fn no_key_is_made_for_a_process_that_was_stopped_before_its_turn() {
        let made = |spec: &KeySpec, is_stopped| {
            PrivateKey::generate_in_turn(spec, || is_stopped).unwrap().is_some_and(|key| key.is_of(spec))
        };
        let (rsa, ec) = (KeySpec::Rsa(2048), KeySpec::Ec("P-256".into()));
        assert_eq!([made(&rsa, false), made(&rsa, true)], [true, false]);
        assert!(made(&ec, true), "there is nothing to wait for");
    }

    #[test]
    fn a_key_is_of_the_kind_it_was_made_as() {
        let p256 = PrivateKey::generate(&KeySpec::Ec("secp256r1".into())).unwrap();
        assert!(p256.is_of(&KeySpec::Ec("P-256".into())));
        assert!(!p256.is_of(&KeySpec::Ec("P-384".into())));
        assert!(!p256.is_of(&KeySpec::default()));
        assert!(PrivateKey::generate(&KeySpec::Ec("no-such-curve".into())).is_err());
        assert!(!PrivateKey::can_generate(&KeySpec::Ec("no-such-curve".into())));
        assert!(PrivateKey::can_generate(&KeySpec::Ec("P-384".into())));
    }
}
