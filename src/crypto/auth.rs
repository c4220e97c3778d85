// SPDX-License-Identifier: Apache-2.0
//! Message authentication codes (HMAC-SHA256, RFC 2104), with which a process verifies that another process
//! with the same secret wrote a file.

use super::hkdf::code;
use super::{Error, hkdf, hmac};
use zeroize::Zeroizing;

/// The length of a code.
pub const LENGTH: usize = 32;

/// A key for one use. Has no `Debug`, so that it cannot slip into a log.
pub struct AuthKey(Zeroizing<[u8; LENGTH]>);

impl AuthKey {
    /// From a secret that has other uses.
    pub fn derive(secret: &[u8], info: &str) -> Result<Self, Error> {
        Ok(AuthKey(hkdf::derive(secret, info)?))
    }

    /// The code of these parts, one after the other; their borders count.
    pub fn code(&self, parts: &[&[u8]]) -> Result<[u8; LENGTH], Error> {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let framed: Vec<&[u8]> =
            lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], *part]).collect();
        Ok(*code(&*self.0, &framed)?)
    }

    /// Whether `found` is the code of these parts. Takes as long wherever it differs.
    pub fn fits(&self, parts: &[&[u8]], found: &[u8]) -> bool {
        let wanted = self.code(parts);
        wanted.is_ok_and(|wanted| hmac::is_same(&wanted, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        let found = code(&[0x0b; 20], &[b"Hi", b" There"]).unwrap();
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(HEXLOWER.encode(&*found), expected);
    }

    #[test]
    fn only_the_code_of_the_same_parts_and_the_same_key_fits() {
        let key = AuthKey::derive(b"secret", "use").unwrap();
        let parts: [&[u8]; 2] = [b"ab", b"c"];
        let code = key.code(&parts).unwrap();
        assert!(key.fits(&parts, &code));
        assert!(!key.fits(&[b"a", b"bc"], &code) && !key.fits(&[b"abc"], &code));
        assert!(!key.fits(&parts, &code[..31]) && !key.fits(&parts, b""));
        for (secret, info) in [("secret", "other use"), ("other secret", "use")] {
            assert!(!AuthKey::derive(secret.as_bytes(), info).unwrap().fits(&parts, &code));
        }
    }
}
