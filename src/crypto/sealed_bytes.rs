// SPDX-License-Identifier: Apache-2.0
//! Sealed content that is no private key: AES-256-GCM under a key that PBKDF2 of SHA-256 makes from the pass
//! phrase. Whoever does not have the pass phrase can neither read nor change it, nor put it in another place.
//! Refuses what was changed, and every other form.

use super::{Error, aead, random};
use openssl::hash::MessageDigest;
use zeroize::Zeroizing;

/// The form, in the first byte.
const VERSION: u8 = 1;
/// As many as a sealed private key takes.
const ROUNDS: usize = 2048;
const SALT: usize = 16;

/// `place`: what the content is and where it stands, which [`open`] has to name as well.
pub fn seal(content: &[u8], pass_phrase: &[u8], place: &str) -> Result<Vec<u8>, Error> {
    let salt: [u8; SALT] = random()?;
    let key = derived(pass_phrase, &salt)?;
    Ok([&[VERSION][..], &salt, &aead::seal(&key, place.as_bytes(), content)?].concat())
}

pub fn open(sealed: &[u8], pass_phrase: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let parts = || sealed.strip_prefix(&[VERSION])?.split_first_chunk::<SALT>();
    let (salt, sealed) =
        parts().ok_or_else(|| Error::Invalid("it is not in the form of sealed content".into()))?;
    let key = derived(pass_phrase, salt)?;
    aead::open(&key, place.as_bytes(), sealed).ok_or_else(|| {
        Error::Invalid("the store's key does not open it, or it was changed since it was written".into())
    })
}

fn derived(pass_phrase: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; aead::KEY]>, Error> {
    let mut key = Zeroizing::new([0; aead::KEY]);
    openssl::pkcs5::pbkdf2_hmac(pass_phrase, salt, ROUNDS, MessageDigest::sha256(), key.as_mut_slice())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::flips;
    use super::*;

    #[test]
    fn content_comes_back_for_whoever_has_the_pass_phrase_and_names_its_place() {
        for content in [&b"secret"[..], b"", &[0; 100_000]] {
            let sealed = seal(content, b"pass", "dns/a.json").unwrap();
            assert_eq!(open(&sealed, b"pass", "dns/a.json").unwrap().as_slice(), content);
            assert!(open(&sealed, b"other", "dns/a.json").is_err());
            assert!(open(&sealed, b"pass", "dns/b.json").is_err());
            assert_ne!(sealed, seal(content, b"pass", "dns/a.json").unwrap());
        }
    }

    #[test]
    fn what_was_changed_is_refused() {
        let sealed = seal(b"secret", b"pass", "x").unwrap();
        for changed in flips(&sealed).step_by(7) {
            assert!(open(&changed, b"pass", "x").is_err());
        }
        for length in 0..sealed.len() {
            assert!(open(&sealed[..length], b"pass", "x").is_err());
        }
    }
}
