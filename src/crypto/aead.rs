// SPDX-License-Identifier: Apache-2.0
//! AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits, which stands before the content. Whoever does
//! not have the key can neither read nor change the content, nor put it in another place. Refuses whatever was
//! changed. One key is good for 2³² contents.

use super::{Error, random};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::Zeroizing;

pub const KEY: usize = 32;
pub const NONCE: usize = 12;
pub const TAG: usize = 16;

/// `place`: what the content is and where it stands, which [`open`] has to name as well.
pub fn seal(key: &[u8; KEY], place: &[u8], content: &[u8]) -> Result<Vec<u8>, Error> {
    seal_with(key, &random()?, place, content)
}

fn seal_with(key: &[u8; KEY], nonce: &[u8; NONCE], place: &[u8], content: &[u8]) -> Result<Vec<u8>, Error> {
    let mut tag = [0; TAG];
    let hidden = encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), place, content, &mut tag)?;
    Ok([&nonce[..], &tag, &hidden].concat())
}

/// `None`: of another key or place, or changed.
pub fn open(key: &[u8; KEY], place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let (tag, hidden) = rest.split_first_chunk::<TAG>()?;
    decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), place, hidden, tag).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::flips;
    use super::*;
    use data_encoding::HEXLOWER;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// Test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega).
    #[test]
    fn the_cipher_is_that_of_its_authors() {
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = hex("cafebabefacedbaddecaf888");
        let place: [u8; 20] = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let content: [u8; 60] = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let sealed = seal_with(&key, &nonce, &place, &content).unwrap();
        let expected = concat!(
            "cafebabefacedbaddecaf888",
            "76fc6ece0f4e1768cddf8853bb2d551b",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        );
        assert_eq!(HEXLOWER.encode(&sealed), expected);
        assert_eq!(open(&key, &place, &sealed).unwrap().as_slice(), content);
    }

    #[test]
    fn only_the_same_key_and_place_open_what_nobody_changed() {
        let (key, place) = ([7; KEY], b"place");
        for content in [&b""[..], b"x", &[0; 100_000]] {
            let sealed = seal(&key, place, content).unwrap();
            assert_eq!(open(&key, place, &sealed).unwrap().as_slice(), content);
            assert!(open(&[8; KEY], place, &sealed).is_none() && open(&key, b"plac", &sealed).is_none());
            assert_ne!(sealed, seal(&key, place, content).unwrap(), "the nonce is random");
        }
        let sealed = seal(&key, place, b"content").unwrap();
        assert!(flips(&sealed).all(|changed| open(&key, place, &changed).is_none()));
        assert!((0..sealed.len()).all(|length| open(&key, place, &sealed[..length]).is_none()));
    }
}
