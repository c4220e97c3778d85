// SPDX-License-Identifier: Apache-2.0
//! The public key in a private key file (PKCS#8, RFC 5958) and in a certificate (SubjectPublicKeyInfo, RFC
//! 5280 §4.1.2.7), read without OpenSSL, which takes several hundred microseconds per key: too long for a
//! start with thousands of domains. Knows RSA (RFC 8017 §A.1) and elliptic curves (RFC 5915); any other key
//! is undecided and no error.

use super::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, oid_text};
use super::pem;
use crate::model::KeySpec;
use openssl::asn1::Asn1Object;

pub(super) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// Whether the key in `pem` is certainly the one of `public`, a SubjectPublicKeyInfo. `false`: it is not, or
/// this function cannot decide.
pub fn is_pair(pem: &[u8], public: &[u8]) -> bool {
    let blocks = pem::private_blocks(pem).unwrap_or_default();
    // The first private key counts, and certificates may lie beside it.
    let first = blocks.iter().find(|(label, _)| label.ends_with("PRIVATE KEY"));
    let Some(("PRIVATE KEY", private)) = first else { return false };
    Reader::new(private).is_sound() && compare(private, public).unwrap_or(false)
}

fn compare(private: &[u8], public: &[u8]) -> Option<bool> {
    let mut private = Reader::new(private).enter(SEQUENCE)?;
    let mut public = Reader::new(public).enter(SEQUENCE)?;
    let is_version_1 = private.take(INTEGER)? == [0];
    let algorithm = private.take_whole(SEQUENCE)?;
    let is_same_kind = public.take_whole(SEQUENCE)? == algorithm;
    let key = Reader::new(private.take(OCTET_STRING)?);
    key.is_sound().then_some(())?;
    // Attributes. What else may follow is of version 2, which not every OpenSSL reads.
    private.take(0xa0);
    (is_version_1 && private.is_at_end()).then_some(())?;
    let public = public.take(BIT_STRING)?;
    let is_equal = match Reader::new(algorithm).enter(SEQUENCE)?.take(OBJECT_IDENTIFIER)? {
        RSA_ENCRYPTION => rsa_private(key)? == rsa_public(public)?,
        EC_PUBLIC_KEY => ec_point(key)? == public,
        _ => return None,
    };
    Some(is_same_kind && is_equal)
}

/// Modulus and public exponent of an RSAPrivateKey, which has a version before them and six numbers after.
fn rsa_private(key: Reader<'_>) -> Option<(&[u8], &[u8])> {
    let mut numbers = key.only(SEQUENCE)?;
    (numbers.take(INTEGER)? == [0]).then_some(())?;
    let found = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
    for _ in 0..6 {
        numbers.take(INTEGER)?;
    }
    numbers.is_at_end().then_some(found)
}

/// The same of an RSAPublicKey in its BIT STRING.
fn rsa_public(bits: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut numbers = Reader::new(bits.strip_prefix(&[0])?).only(SEQUENCE)?;
    Some((numbers.take(INTEGER)?, numbers.take(INTEGER)?))
}

/// The publicKey of an ECPrivateKey, which is optional there.
fn ec_point(key: Reader<'_>) -> Option<&[u8]> {
    let mut fields = key.only(SEQUENCE)?;
    fields.take(INTEGER)?;
    fields.take(OCTET_STRING)?;
    fields.take(0xa0);
    fields.enter(0xa1)?.take(BIT_STRING)
}

/// P-256, P-384 and P-521 (RFC 5480 §2.1.1.1).
const COMMON_CURVES: [&[u8]; 3] =
    [&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[0x2b, 0x81, 4, 0, 0x22], &[0x2b, 0x81, 4, 0, 0x23]];
/// Of 2048 bits.
const MODULUS_MIN: usize = 256;

/// Whether the key of a SubjectPublicKeyInfo is surely one that TLS servers take everywhere: RSA with 2048
/// bits at least, or one of the curves everybody has.
pub fn is_common(public: &[u8]) -> bool {
    let is_common = || {
        let mut public = Reader::new(public).enter(SEQUENCE)?;
        let mut algorithm = public.enter(SEQUENCE)?;
        Some(match algorithm.take(OBJECT_IDENTIFIER)? {
            RSA_ENCRYPTION => {
                let (modulus, _) = rsa_public(public.take(BIT_STRING)?)?;
                modulus.strip_prefix(&[0]).unwrap_or(modulus).len() >= MODULUS_MIN
            }
            EC_PUBLIC_KEY => COMMON_CURVES.contains(&algorithm.take(OBJECT_IDENTIFIER)?),
            _ => false,
        })
    };
    is_common().unwrap_or(false)
}

/// The kind of a key by its SubjectPublicKeyInfo; `None` for kinds that no configuration can ask for.
pub fn spec(public: &[u8]) -> Option<KeySpec> {
    let mut public = Reader::new(public).enter(SEQUENCE)?;
    let mut algorithm = public.enter(SEQUENCE)?;
    match algorithm.take(OBJECT_IDENTIFIER)? {
        RSA_ENCRYPTION => {
            let (modulus, _) = rsa_public(public.take(BIT_STRING)?)?;
            let zeros = modulus.iter().position(|b| *b != 0)?;
            let bits = (modulus.len() - zeros) * 8 - modulus.get(zeros)?.leading_zeros() as usize;
            Some(KeySpec::Rsa(u32::try_from(bits).ok()?))
        }
        EC_PUBLIC_KEY => {
            let curve = Asn1Object::from_str(&oid_text(algorithm.take(OBJECT_IDENTIFIER)?)?).ok()?;
            Some(KeySpec::Ec(curve.nid().short_name().ok()?.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::fixture::flips;
    use super::*;
    use openssl::pkey::PKey;

    fn public(key: &PrivateKey) -> Vec<u8> {
        key.pkey().public_key_to_der().unwrap()
    }

    fn kinds() -> [KeySpec; 4] {
        [KeySpec::default(), KeySpec::Rsa(1024), KeySpec::Ec("P-256".into()), KeySpec::Ec("secp384r1".into())]
    }

    #[test]
    fn a_key_makes_a_pair_with_its_own_public_key_alone() {
        let keys: Vec<PrivateKey> =
            kinds().iter().chain(&kinds()).map(|spec| PrivateKey::generate(spec).unwrap()).collect();
        for (i, key) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(is_pair(&key.to_pem().unwrap(), &public(other)), i == j, "{i} {j}");
            }
        }
    }

    #[test]
    fn the_kind_of_a_key_is_that_it_was_made_as() {
        for kind in kinds() {
            let found = spec(&public(&PrivateKey::generate(&kind).unwrap())).unwrap();
            match kind {
                KeySpec::Rsa(_) => assert_eq!(found, kind),
                KeySpec::Ec(_) => assert_eq!(found.curve_name(), kind.curve_name()),
            }
        }
        assert_eq!(spec(&PKey::generate_ed25519().unwrap().public_key_to_der().unwrap()), None);
    }

    #[test]
    fn common_keys_are_long_enough_and_of_the_curves_everybody_has() {
        let curve = |name: &str| KeySpec::Ec(name.into());
        for (kind, expected) in [
            (KeySpec::default(), true),
            (KeySpec::Rsa(3072), true),
            (KeySpec::Rsa(1024), false),
            (KeySpec::Rsa(2040), false),
            (curve("P-256"), true),
            (curve("P-384"), true),
            (curve("P-521"), true),
            (curve("secp256k1"), false),
            (curve("secp224r1"), false),
        ] {
            assert_eq!(is_common(&public(&PrivateKey::generate(&kind).unwrap())), expected, "{kind:?}");
        }
        assert!(!is_common(&PKey::generate_ed25519().unwrap().public_key_to_der().unwrap()));
        assert!(!is_common(b"") && !is_common(b"\x30\x80"));
    }

    #[test]
    fn openssl_reads_what_counts_as_a_pair() {
        for kind in [KeySpec::Rsa(512), KeySpec::Ec("P-256".into())] {
            let key = PrivateKey::generate(&kind).unwrap();
            let der = key.pkey().private_key_to_pkcs8().unwrap();
            let mut count = 0;
            for flipped in flips(&der) {
                if is_pair(pem::write("PRIVATE KEY", &flipped).as_bytes(), &public(&key)) {
                    let read = PKey::private_key_from_pkcs8(&flipped);
                    assert!(read.is_ok_and(|read| read.public_eq(key.pkey())), "{flipped:02x?}");
                    count += 1;
                }
            }
            assert!(count > 100, "{count}");
        }
    }

    #[test]
    fn what_is_damaged_encrypted_or_of_another_kind_is_undecided() {
        for kind in [KeySpec::Rsa(1024), KeySpec::Ec("P-256".into())] {
            let key = PrivateKey::generate(&kind).unwrap();
            let der = key.pkey().private_key_to_pkcs8().unwrap();
            for end in 0..der.len() {
                assert!(!Reader::new(&der[..end]).is_sound() || end == 0);
                assert!(!compare(&der[..end], &public(&key)).unwrap_or(false));
            }
            assert!(!is_pair(&key.seal(&b"x"[..].into()).unwrap(), &public(&key)));
            let other = PrivateKey::generate(&kind).unwrap().to_pem().unwrap();
            assert!(!is_pair(&[other.as_slice(), &key.to_pem().unwrap()].concat(), &public(&key)));
        }
        let other = PKey::generate_ed25519().unwrap();
        let pem = other.private_key_to_pem_pkcs8().unwrap();
        assert!(!is_pair(&pem, &other.public_key_to_der().unwrap()));
    }
}
