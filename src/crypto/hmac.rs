// SPDX-License-Identifier: Apache-2.0
//! HMAC (RFC 2104) with the digests that DNS signs its transactions with. Compares codes in constant time.

use super::Error;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn algorithm(self) -> MessageDigest {
        match self {
            Digest::Sha1 => MessageDigest::sha1(),
            Digest::Sha224 => MessageDigest::sha224(),
            Digest::Sha256 => MessageDigest::sha256(),
            Digest::Sha384 => MessageDigest::sha384(),
            Digest::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// The code of these parts, one after the other; where one ends and the next begins does not count.
pub fn code(digest: Digest, key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(digest.algorithm(), &key)?;
    for part in parts {
        signer.update(part)?;
    }
    Ok(Zeroizing::new(signer.sign_to_vec()?))
}

/// Whether both are the same code. Takes as long wherever they differ.
pub fn is_same(wanted: &[u8], found: &[u8]) -> bool {
    wanted.len() == found.len() && memcmp::eq(wanted, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn codes_are_those_of_rfc_4231_and_rfc_2202() {
        let key = [0x0b; 20];
        for (digest, expected) in [
            (Digest::Sha1, "b617318655057264e28bc0b6fb378c8ef146be00"),
            (Digest::Sha224, "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22"),
            (Digest::Sha256, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                Digest::Sha384,
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            ),
            (
                Digest::Sha512,
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
        ] {
            let found = code(digest, &key, &[b"Hi", b" There"]).unwrap();
            assert_eq!(HEXLOWER.encode(&found), expected, "{digest:?}");
            assert!(is_same(&found, &HEXLOWER.decode(expected.as_bytes()).unwrap()));
            assert!(!is_same(&found, &found[1..]) && !is_same(&found, b""));
        }
    }
}
