// SPDX-License-Identifier: Apache-2.0
//! The elliptic curves of private keys that a configuration can request. Refuses the others that OpenSSL
//! knows.

use super::der::oid_text;
use crate::model::KeySpec;
use openssl::asn1::Asn1Object;
use openssl::nid::Nid;

/// Names as OpenSSL has them, in lower case.
const CURVES: [(&str, Nid); 9] = [
    ("prime256v1", Nid::X9_62_PRIME256V1),
    ("secp384r1", Nid::SECP384R1),
    ("secp521r1", Nid::SECP521R1),
    ("prime192v1", Nid::X9_62_PRIME192V1),
    ("secp256k1", Nid::SECP256K1),
    ("secp224r1", Nid::SECP224R1),
    ("brainpoolp256r1", Nid::BRAINPOOL_P256R1),
    ("brainpoolp384r1", Nid::BRAINPOOL_P384R1),
    ("brainpoolp512r1", Nid::BRAINPOOL_P512R1),
];

/// The curve that the kind of key names; `None` for RSA and for unknown curves.
pub fn nid(spec: &KeySpec) -> Option<Nid> {
    let name = spec.curve_name()?;
    CURVES.iter().find(|(known, _)| *known == name).map(|(_, nid)| *nid)
}

/// Whether a configuration can ask for the curve with this object identifier.
pub fn is_known_curve(oid: &[u8]) -> bool {
    let object = oid_text(oid).and_then(|text| Asn1Object::from_str(&text).ok());
    object.is_some_and(|object| CURVES.iter().any(|(_, nid)| *nid == object.nid()))
}
