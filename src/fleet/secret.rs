// SPDX-License-Identifier: Apache-2.0
//! The secret that all nodes of a fleet share: 32 random bytes, written as base64 in one line. Each of its uses
//! has a key of its own, and so has the mark that says which secret sealed a value. Refuses whatever is not 32
//! bytes. No text made here quotes a content.

use crate::crypto::{self, aead, hkdf};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

/// Bytes of a secret.
const LENGTH: usize = 32;
/// Bytes of a mark: it tells secrets of one operator apart.
const MARK: usize = 8;

/// Has no `Debug`, so that it cannot slip into a log.
pub struct Secret {
    key: Zeroizing<[u8; aead::KEY]>,
    /// Marks values that it sealed; says nothing of the secret.
    kid: String,
}

/// The content of a new file, with the line's end.
pub fn generate() -> Result<Zeroizing<String>, crypto::Error> {
    let mut secret = Zeroizing::new([0; LENGTH]);
    crypto::fill_with_random(secret.as_mut_slice())?;
    let mut text = Zeroizing::new(String::with_capacity(2 * LENGTH));
    BASE64.encode_append(secret.as_slice(), &mut text);
    text.push('\n');
    Ok(text)
}

impl Secret {
    /// Reads the content of a file: base64 of 32 bytes, in any of its spellings. `Err`: what is wrong with it.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let text = content.trim_ascii();
        if text.is_empty() {
            return Err("is empty".into());
        }
        let spellings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
        let decoded = spellings.iter().find_map(|spelling| spelling.decode(text).ok().map(Zeroizing::new));
        let Some(secret) = decoded else { return Err("is not base64 in one line".into()) };
        if secret.len() != LENGTH {
            return Err(format!("has {} bytes instead of {LENGTH}", secret.len()));
        }
        Secret::of(&secret).map_err(|error| format!("cannot be used: {error}"))
    }

    fn of(secret: &[u8]) -> Result<Self, crypto::Error> {
        let mark = hkdf::derive(secret, "mod_md fleet kid")?;
        let mark = mark.get(..MARK).unwrap_or_default();
        Ok(Secret { key: hkdf::derive(secret, "mod_md fleet seal")?, kid: HEXLOWER.encode(mark) })
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn key(&self) -> &[u8; aead::KEY] {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_was_generated_is_read_in_every_spelling_of_base64() {
        let text = generate().unwrap();
        assert!(text.len() == 45 && text.ends_with("=\n"));
        assert_ne!(*text, *generate().unwrap());
        let secret = Secret::parse(text.as_bytes()).unwrap();
        let plain = text.trim();
        let url = plain.replace('+', "-").replace('/', "_");
        for spelling in [plain, &plain[..43], &url, &url[..43], &format!(" {plain}\r\n\n")] {
            let read = Secret::parse(spelling.as_bytes()).unwrap();
            assert!(read.kid() == secret.kid() && read.key() == secret.key());
        }
    }

    #[test]
    fn keys_and_marks_are_those_of_one_secret() {
        let secrets = [[0; 32], [1; 32]].map(|bytes| Secret::of(&bytes).unwrap());
        assert!(secrets[0].kid() != secrets[1].kid() && secrets[0].key() != secrets[1].key());
        let mark = HEXLOWER.decode(secrets[0].kid().as_bytes()).unwrap();
        assert!(mark.len() == MARK && !secrets[0].key().starts_with(&mark));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_reason() {
        let (short, long) = (BASE64.encode(&[7; 31]), BASE64.encode(&[7; 33]));
        for (content, reason) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"hunter2!", "is not base64 in one line"),
            (b"AAAA\nAAAA", "is not base64 in one line"),
            (&[0xff, 0xfe], "is not base64 in one line"),
            (short.as_bytes(), "has 31 bytes instead of 32"),
            (long.as_bytes(), "has 33 bytes instead of 32"),
        ] {
            assert_eq!(Secret::parse(content).err().as_deref(), Some(reason));
        }
    }
}
