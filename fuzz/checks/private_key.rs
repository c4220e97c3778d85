// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes come as a private key, in the store, from the engine or from another
//! ACME client: nothing panics, asks for a pass phrase or computes for long, and a key that is taken is
//! written and read again as the same. The seeds were made for this; nobody's are among them.

use mod_md::crypto::{PrivateKey, foreign_key, pem, sealed_bytes};
use openssl::pkey::Id;
use std::time::{Duration, Instant};

/// The pass phrase of the sealed seeds.
pub const PASS_PHRASE: &[u8] = b"pass phrase of the seeds";
/// With sanitizers and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
const LABELS: [&str; 5] =
    ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "DSA PRIVATE KEY"];

/// The first byte says whether the others are a file, DER within a PEM block, or a JSON web key.
pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let begun = Instant::now();
    match usize::from(kind.wrapping_sub(b'0') % 8) {
        0 => file(rest),
        6 => jwk(rest),
        7 => drop(sealed_bytes::open(rest, PASS_PHRASE, "place")),
        label => file(pem::write(LABELS[label - 1], rest).as_bytes()),
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

fn file(file: &[u8]) {
    let is_encrypted = PrivateKey::is_encrypted(file);
    let ours = PrivateKey::from_plain_pem(file);
    let theirs = PrivateKey::from_pem(file);
    let foreign = foreign_key::from_pem(file);
    assert!(!is_encrypted || (ours.is_err() && theirs.is_err() && !matches!(foreign, Some(Ok(_)))));
    if let Ok(key) = &ours {
        let theirs = theirs.unwrap_or_else(|error| panic!("what anybody may write root reads, too: {error}"));
        assert!(key.pkey().public_eq(theirs.pkey()));
        whole(key);
    }
    foreign.into_iter().flatten().for_each(|key| whole(&key));
    if let Ok(key) = PrivateKey::open(file, &PASS_PHRASE.into()) {
        assert!(is_encrypted);
        whole(&key);
    }
}

fn jwk(json: &[u8]) {
    let Ok(value) = serde_json::from_slice(json) else { return };
    if let Ok(key) = foreign_key::from_jwk(&value) {
        assert!(matches!(key.pkey().id(), Id::RSA | Id::EC));
        whole(&key);
    }
}

fn whole(key: &PrivateKey) {
    let written = key.to_pem().unwrap();
    let again = PrivateKey::from_plain_pem(&written).unwrap_or_else(|error| panic!("its own file: {error}"));
    assert!(again.pkey().public_eq(key.pkey()));
    assert_eq!(again.spec(), key.spec());
}
