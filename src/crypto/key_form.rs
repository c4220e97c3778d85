// SPDX-License-Identifier: Apache-2.0
//! Checks the form of a private key before OpenSSL reads it. Accepts a PKCS#8 PrivateKeyInfo (RFC 5958) for
//! RSA up to 16384 bits, a named curve, Ed25519 and Ed448, with no number longer than the kind of key allows.
//! Refuses all else, because OpenSSL would compute for minutes with a crafted key.

use super::curve::is_known_curve;
use super::der::{BIT_STRING, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, append, tlv};
use super::key_info::{EC_PUBLIC_KEY, RSA_ENCRYPTION};
use zeroize::Zeroizing;

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];
/// Bytes of a PrivateKeyInfo. That of RSA 16384 has less than 9400.
pub const DER_MAX: usize = 12 * 1024;
/// Bytes of an RSA modulus: 16384 bits.
const MODULUS_MAX: usize = 2048;
/// OpenSSL takes no longer one with a long modulus.
const EXPONENT_MAX: usize = 8;
/// Bytes of a number on the largest curve, P-521.
const SCALAR_MAX: usize = 66;

/// A key that OpenSSL may read. It reads the form of its own kind ten times faster than PKCS#8.
pub enum Form<'a> {
    /// RSAPrivateKey (RFC 8017 §A.1.2).
    Rsa(&'a [u8]),
    /// ECPrivateKey (RFC 5915), with its curve.
    Elliptic(Zeroizing<Vec<u8>>),
    /// Of another kind: PKCS#8 is the only form.
    Other,
}

/// `None`: OpenSSL must not read it.
pub fn read(pkcs8: &[u8]) -> Option<Form<'_>> {
    (pkcs8.len() <= DER_MAX && Reader::new(pkcs8).is_sound()).then(|| check(pkcs8)).flatten()
}

fn check(pkcs8: &[u8]) -> Option<Form<'_>> {
    let mut info = Reader::new(pkcs8).only(SEQUENCE)?;
    // The number of version 2, which has the public key beside the private one, is 1.
    let version = info.take(INTEGER)?;
    matches!(version, [0 | 1]).then_some(())?;
    let mut algorithm = info.enter(SEQUENCE)?;
    let content = info.take(OCTET_STRING)?;
    let key = Reader::new(content);
    info.take(0xa0);
    let is_version_2 = info.take(0x81).is_some() || version != [0];
    info.is_at_end().then_some(())?;
    let kind = algorithm.take(OBJECT_IDENTIFIER)?;
    let form = match kind {
        RSA_ENCRYPTION => {
            algorithm.take(NULL);
            (key.is_sound() && is_rsa(key)?).then_some(Form::Rsa(content))
        }
        EC_PUBLIC_KEY => {
            let curve = algorithm.take(OBJECT_IDENTIFIER)?;
            (key.is_sound() && is_known_curve(curve)).then(|| elliptic(key, curve)).flatten()
        }
        ED25519 => (key.only_content(OCTET_STRING)?.len() == 32).then_some(Form::Other),
        ED448 => (key.only_content(OCTET_STRING)?.len() == 57).then_some(Form::Other),
        _ => None,
    };
    // Not every OpenSSL reads version 2: where mod_ssl would end the start with a key, it is none.
    let form = form.map(|form| if is_version_2 { Form::Other } else { form });
    form.filter(|_| algorithm.is_at_end())
}

/// RFC 8017 §A.1.2: version, modulus, the public exponent, and six numbers that are no longer than the
/// modulus.
fn is_rsa(key: Reader<'_>) -> Option<bool> {
    let mut numbers = key.only(SEQUENCE)?;
    (numbers.take(INTEGER)? == [0]).then_some(())?;
    let modulus = length(numbers.take(INTEGER)?)?;
    let exponent = length(numbers.take(INTEGER)?)?;
    for _ in 0..6 {
        (length(numbers.take(INTEGER)?)? <= modulus).then_some(())?;
    }
    Some(numbers.is_at_end() && modulus <= MODULUS_MAX && exponent <= EXPONENT_MAX)
}

/// RFC 5915: version, number, and perhaps the curve once more and the point.
fn elliptic<'a>(key: Reader<'_>, curve: &[u8]) -> Option<Form<'a>> {
    let mut fields = key.only(SEQUENCE)?;
    (fields.take(INTEGER)? == [1]).then_some(())?;
    let number = fields.take(OCTET_STRING)?;
    let is_same_curve = match fields.enter(0xa0) {
        Some(named) => named.only_content(OBJECT_IDENTIFIER)? == curve,
        None => true,
    };
    let point = match fields.enter(0xa1) {
        Some(point) => Some(point.only_content(BIT_STRING)?),
        None => None,
    };
    let is_point = point.is_none_or(|point| point.len() <= 2 * SCALAR_MAX + 2);
    let is_safe = fields.is_at_end() && number.len() <= SCALAR_MAX && is_same_curve && is_point;
    is_safe.then(|| Form::Elliptic(with_curve(number, curve, point)))
}

/// PKCS#8 has the curve beside the key, and OpenSSL asks for it in the key.
fn with_curve(number: &[u8], curve: &[u8], point: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    // Of a size that holds the key on the largest curve: a vector that grows leaves copies behind.
    let sized = || Zeroizing::new(Vec::with_capacity(8 * SCALAR_MAX));
    let mut fields = sized();
    append(&mut fields, INTEGER, &[1]);
    append(&mut fields, OCTET_STRING, number);
    append(&mut fields, 0xa0, &tlv(OBJECT_IDENTIFIER, &[curve]));
    if let Some(point) = point {
        append(&mut fields, 0xa1, &tlv(BIT_STRING, &[point]));
    }
    let mut key = sized();
    append(&mut key, SEQUENCE, &fields);
    key
}

/// Bytes of a number above 0.
fn length(integer: &[u8]) -> Option<usize> {
    let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
    let is_positive = integer.first()? & 0x80 == 0 && !digits.is_empty();
    is_positive.then_some(digits.len())
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::super::fixture::flips;
    use super::*;
    use crate::model::KeySpec;
    use openssl::ec::{Asn1Flag, EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;

    fn is_safe(pkcs8: &[u8]) -> bool {
        read(pkcs8).is_some()
    }

    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

    fn info(kind: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = tlv(SEQUENCE, &[&tlv(OBJECT_IDENTIFIER, &[kind]), parameters]);
        tlv(SEQUENCE, &[&[INTEGER, 1, 0], &algorithm, &tlv(OCTET_STRING, &[key])])
    }

    /// A modulus and a public exponent of these lengths in bytes; the other numbers have as many as the third
    /// says.
    fn rsa(modulus: usize, exponent: usize, others: usize) -> Vec<u8> {
        let number = |length: usize| tlv(INTEGER, &[&vec![0x55; length]]);
        let key = [vec![INTEGER, 1, 0], number(modulus), number(exponent), number(others).repeat(6)].concat();
        info(RSA_ENCRYPTION, &[NULL, 0], &tlv(SEQUENCE, &[&key]))
    }

    #[test]
    fn keys_of_all_kinds_that_can_be_configured_pass() {
        let curves = ["P-256", "P-384", "P-521", "P-192", "secp224r1", "secp256k1", "brainpoolP512r1"];
        let curves = curves.map(|curve| KeySpec::Ec(curve.into()));
        for spec in curves.into_iter().chain([KeySpec::Rsa(1024), KeySpec::default(), KeySpec::Rsa(3072)]) {
            let key = PrivateKey::generate(&spec).unwrap();
            assert!(is_safe(&key.pkey().private_key_to_pkcs8().unwrap()), "{spec:?}");
        }
        for key in [PKey::generate_ed25519().unwrap(), PKey::generate_ed448().unwrap()] {
            assert!(is_safe(&key.private_key_to_pkcs8().unwrap()));
        }
        assert!(is_safe(&rsa(MODULUS_MAX, EXPONENT_MAX, MODULUS_MAX / 2)), "of 16384 bits");
    }

    #[test]
    fn numbers_are_no_longer_than_the_kind_of_key_has_them() {
        for (is_good, der) in [
            (true, rsa(256, 3, 256)),
            (false, rsa(MODULUS_MAX + 1, 3, 256)),
            (false, rsa(12_500, 3, 1)),
            (false, rsa(256, EXPONENT_MAX + 1, 256)),
            (false, rsa(256, 3, 257)),
            (false, rsa(0, 3, 256)),
            (false, info(RSA_ENCRYPTION, &[NULL, 0], &[])),
        ] {
            assert_eq!(is_safe(&der), is_good, "{} bytes", der.len());
        }
        let zero = tlv(SEQUENCE, &[&[INTEGER, 1, 0].repeat(9)]);
        assert!(!is_safe(&info(RSA_ENCRYPTION, &[NULL, 0], &zero)));
        let negative = tlv(SEQUENCE, &[&[INTEGER, 1, 0], &[INTEGER, 1, 0x81].repeat(8)]);
        assert!(!is_safe(&info(RSA_ENCRYPTION, &[NULL, 0], &negative)));
    }

    #[test]
    fn curves_are_named_and_known() {
        let named = |oid: &[u8]| tlv(OBJECT_IDENTIFIER, &[oid]);
        let key = |number: usize, more: &[u8]| {
            tlv(SEQUENCE, &[&[INTEGER, 1, 1], &tlv(OCTET_STRING, &[&vec![1; number]]), more])
        };
        let elliptic = |parameters: &[u8], key: &[u8]| info(EC_PUBLIC_KEY, parameters, key);
        let point = |length: usize| tlv(0xa1, &[&tlv(BIT_STRING, &[&[0], &vec![4; length]])]);
        for (is_good, der) in [
            (true, elliptic(&named(P256), &key(32, &[]))),
            (true, elliptic(&named(P256), &key(32, &tlv(0xa0, &[&named(P256)])))),
            (true, elliptic(&named(P256), &key(32, &point(133)))),
            (false, elliptic(&named(P256), &key(32, &tlv(0xa0, &[&named(&[0x2b, 0x81, 4, 0, 0x22])])))),
            (false, elliptic(&named(P256), &key(32, &tlv(0xa0, &[&tlv(SEQUENCE, &[])])))),
            (false, elliptic(&named(P256), &key(32, &point(134)))),
            (false, elliptic(&named(P256), &key(67, &[]))),
            (false, elliptic(&tlv(SEQUENCE, &[&[INTEGER, 1, 1]]), &key(32, &[]))),
            (false, elliptic(&[], &key(32, &[]))),
            // sect571r1 and an unknown one.
            (false, elliptic(&named(&[0x2b, 0x81, 4, 0, 0x27]), &key(66, &[]))),
            (false, elliptic(&named(&[0x88, 0x37, 3]), &key(32, &[]))),
        ] {
            assert_eq!(is_safe(&der), is_good, "{der:02x?}");
        }
        let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        group.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
        let explicit = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        assert!(!is_safe(&explicit.private_key_to_pkcs8().unwrap()));
    }

    #[test]
    fn other_kinds_and_damage_are_refused() {
        assert!(!is_safe(&PKey::generate_x25519().unwrap().private_key_to_pkcs8().unwrap()));
        let der = PrivateKey::generate(&KeySpec::Rsa(1024)).unwrap().pkey().private_key_to_pkcs8().unwrap();
        for end in 0..der.len() {
            assert!(!is_safe(&der[..end]));
        }
        assert!(!is_safe(&[der, vec![NULL, 0]].concat()));
        assert!(!is_safe(&tlv(SEQUENCE, &[&[INTEGER, 1, 2], &[0; DER_MAX]])));
    }

    #[test]
    fn openssl_is_done_at_once_with_what_passes() {
        for spec in [KeySpec::Rsa(512), KeySpec::Ec("P-256".into())] {
            let der = PrivateKey::generate(&spec).unwrap().pkey().private_key_to_pkcs8().unwrap();
            let read = flips(&der).filter(|flipped| is_safe(flipped)).filter(|flipped| {
                // Whether OpenSSL takes it is not the question.
                PKey::private_key_from_pkcs8(flipped).is_ok()
            });
            assert!(read.count() > 100);
        }
    }
}
