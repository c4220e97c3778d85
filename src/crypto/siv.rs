// SPDX-License-Identifier: Apache-2.0
//! Texts that are encrypted to the same bytes each time: synthetic initialization vectors, as those of RFC 5297,
//! with HMAC-SHA256 (cut to 128 bits) in the place of CMAC, and AES-256-CTR. Whoever does not have the key sees
//! which of two texts are equal and how long they are, and nothing else. Refuses whatever was changed.

use super::{Error, hkdf, hmac};
use openssl::symm::{Cipher, decrypt, encrypt};
use zeroize::Zeroizing;

/// Bytes that a sealed text is longer by.
pub const OVERHEAD: usize = 16;

/// Has no `Debug`, so that it cannot slip into a log.
pub struct SivKey {
    mac: Zeroizing<[u8; hkdf::LENGTH]>,
    cipher: Zeroizing<[u8; hkdf::LENGTH]>,
}

impl SivKey {
    pub fn derive(secret: &[u8]) -> Result<Self, Error> {
        Ok(SivKey { mac: hkdf::derive(secret, "siv mac")?, cipher: hkdf::derive(secret, "siv cipher")? })
    }

    pub fn seal(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let iv = self.iv(text)?;
        let hidden = encrypt(Cipher::aes_256_ctr(), &*self.cipher, Some(&iv), text)?;
        Ok([&iv[..], &hidden].concat())
    }

    /// `None`: of another key, or changed.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (iv, hidden) = sealed.split_first_chunk::<OVERHEAD>()?;
        let text = decrypt(Cipher::aes_256_ctr(), &*self.cipher, Some(iv), hidden).ok()?;
        let wanted = self.iv(&text).ok()?;
        hmac::is_same(&wanted, iv).then_some(text)
    }

    fn iv(&self, text: &[u8]) -> Result<[u8; OVERHEAD], Error> {
        let code = hkdf::code(&*self.mac, &[text])?;
        let mut iv = [0; OVERHEAD];
        iv.iter_mut().zip(code.iter()).for_each(|(to, from)| *to = *from);
        Ok(iv)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::flips;
    use super::*;

    #[test]
    fn a_text_is_sealed_the_same_each_time_and_opened_by_its_key_alone() {
        let (key, other) = (SivKey::derive(b"secret").unwrap(), SivKey::derive(b"other").unwrap());
        for text in [&b""[..], b"a.test", b"b.test", &[b'x'; 300]] {
            let sealed = key.seal(text).unwrap();
            assert_eq!(sealed, SivKey::derive(b"secret").unwrap().seal(text).unwrap());
            assert_eq!(sealed.len(), text.len() + OVERHEAD);
            assert_eq!(key.open(&sealed).unwrap(), text);
            assert!(other.open(&sealed).is_none() && sealed != other.seal(text).unwrap());
        }
        assert_ne!(key.seal(b"a.test").unwrap()[..16], key.seal(b"b.test").unwrap()[..16]);
    }

    #[test]
    fn what_was_changed_is_refused() {
        let key = SivKey::derive(b"secret").unwrap();
        let sealed = key.seal(b"a.test").unwrap();
        assert!(flips(&sealed).all(|changed| key.open(&changed).is_none()));
        assert!((0..sealed.len()).all(|length| key.open(&sealed[..length]).is_none()));
    }
}
