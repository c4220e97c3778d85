// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes stand in a file where certificates should be: nothing panics or grows,
//! what was read is read again from what is written, and a chain has as many certificates as it may.

use mod_md::crypto::{CertInfo, Chain, PrivateKey, cert, pem};
use mod_md::model::KeySpec;
use std::sync::LazyLock;

/// Certificates of a chain.
const CHAIN_MAX: usize = 20;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap());

pub fn check(bytes: &[u8]) {
    let blocks = pem::blocks(bytes);
    let private = pem::private_blocks(bytes);
    assert_eq!(blocks.is_some(), private.is_some());
    for (label, der) in blocks.iter().flatten() {
        let written = pem::write(label, der);
        assert_eq!(pem::blocks(written.as_bytes()), Some(vec![(*label, der.clone())]), "{label:?}");
        assert!(written.lines().all(|line| line.len() <= 64 || line.starts_with("-----")));
    }
    let private = private.into_iter().flatten().map(|(label, der)| (label, der.to_vec()));
    assert!(private.eq(blocks.iter().flatten().cloned()));
    let size: usize = blocks.iter().flatten().map(|(_, der)| der.len()).sum();
    assert!(size <= bytes.len(), "{size} bytes out of {}", bytes.len());
    let _ = cert::has_certificates(bytes);
    let Ok(chain) = Chain::from_pem(bytes) else { return };
    assert!((1..=CHAIN_MAX).contains(&chain.certificates().len()));
    assert!(
        !pem::has_encrypted_certificate(bytes) || blocks.is_some(),
        "OpenSSL may have asked for its pass phrase"
    );
    let again = Chain::from_pem(&chain.to_pem()).unwrap();
    assert!(ders(&again).eq(ders(&chain)));
    assert_eq!(CertInfo::from_chain(&again), CertInfo::from_chain(&chain));
    let _ = (chain.has_common_keys(), CertInfo::from_chain(&chain).to_json());
    let count = chain.certificates().len();
    // Nobody has a certificate for this key.
    assert!(chain.into_path(&KEY).is_none_or(|(path, _)| path.certificates().len() <= count));
}

fn ders(chain: &Chain) -> impl Iterator<Item = &[u8]> {
    chain.certificates().iter().map(|cert| cert.der())
}
