// SPDX-License-Identifier: Apache-2.0
//! A temporary TLS context that checks whether OpenSSL accepts a key and its chain for a server, at the
//! security level of the system's configuration, which refuses short keys and old digests. Sets nothing that
//! leaves a pointer into this library behind (docs/unsafe.md).

use super::{Error, PrivateKey};
use openssl::ssl::{SslContext, SslMethod};
use std::path::Path;

/// Loads `key` and the certificates in the file `chain` (PEM, leaf first) the way mod_ssl does. Use this only
/// for a file that no less privileged user can replace.
pub fn accepts(key: &PrivateKey, chain: &Path) -> Result<(), Error> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    context.set_certificate_chain_file(chain)?;
    context.set_private_key(key.pkey())?;
    Ok(context.check_private_key()?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Ca;
    use super::*;
    use crate::model::KeySpec;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;

    fn verdict(key: &PrivateKey, chain: &[u8]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chain.pem");
        std::fs::write(&file, chain).unwrap();
        accepts(key, &file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_and_its_chain_are_taken() {
        for spec in [KeySpec::default(), KeySpec::Ec("P-256".into()), KeySpec::Ec("P-384".into())] {
            let key = PrivateKey::generate(&spec).unwrap();
            let chain = Ca::new("CA").issue(&["a.test"], &key);
            assert_eq!(verdict(&key, &chain.to_pem()), Ok(()), "{spec:?}");
        }
    }

    #[test]
    fn what_a_server_cannot_use_is_refused() {
        let key = PrivateKey::generate(&KeySpec::default()).unwrap();
        let chain = Ca::new("CA").issue(&["a.test"], &key);
        let other = PrivateKey::generate(&KeySpec::default()).unwrap();
        assert!(verdict(&other, &chain.to_pem()).is_err(), "another key");
        assert!(verdict(&key, b"garbage").is_err());
        let short = PKey::from_rsa(Rsa::generate(512).unwrap()).unwrap();
        let short = PrivateKey::from_pem(&short.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let leaf = Ca::new("CA").issue(&["a.test"], &short);
        let issuer = Ca::with_key("CA", short.clone()).issue(&["a.test"], &key);
        for (key, chain, reason) in [(&short, leaf, "ee key too small"), (&key, issuer, "ca key too small")] {
            let said = verdict(key, &chain.to_pem()).unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
    }
}
