// SPDX-License-Identifier: Apache-2.0
//! Key and chain as one PKCS#12 file (RFC 7292), for programs that read nothing else. Writes and never reads.

use super::{Chain, Error, PrivateKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::stack::Stack;
use zeroize::Zeroizing;

/// Encrypted with AES-256 (PBES2, RFC 8018) and authenticated by SHA-256, which OpenSSL 1.1 and Java 8u301 and
/// all later ones read. `name` is its friendlyName, by which Java programs look a key up.
pub fn write(
    name: &str,
    key: &PrivateKey,
    chain: &Chain,
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if password.contains('\0') {
        return Err(Error::Invalid("there is a NUL character in the password".into()));
    }
    let mut others = Stack::new()?;
    for certificate in chain.certificates().iter().skip(1) {
        others.push(certificate.x509()?)?;
    }
    let leaf = chain.leaf().x509()?;
    let mut builder = Pkcs12::builder();
    builder.name(name).pkey(key.pkey()).cert(&leaf).ca(others);
    builder.key_algorithm(Nid::AES_256_CBC).cert_algorithm(Nid::AES_256_CBC);
    builder.mac_md(MessageDigest::sha256());
    Ok(Zeroizing::new(builder.build2(password)?.to_der()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::Ca;
    use crate::model::KeySpec;

    #[test]
    fn key_and_whole_chain_are_read_with_the_password_alone() {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let chain = Ca::new("CA").issue(&["a.test"], &key);
        for password in ["", "gehe\u{ef}m"] {
            let file = write("a.test", &key, &chain, password).unwrap();
            let file = Pkcs12::from_der(&file).unwrap();
            assert!(file.parse2("wrong").is_err());
            let read = file.parse2(password).unwrap();
            assert!(read.pkey.unwrap().public_eq(key.pkey()));
            assert_eq!(read.cert.unwrap().to_der().unwrap(), chain.leaf().der());
            assert_eq!(read.ca.unwrap().len(), chain.certificates().len() - 1);
        }
        assert!(write("a.test", &key, &chain, "a\0b").is_err());
    }
}
