// SPDX-License-Identifier: Apache-2.0
//! Keys for one use each, from a secret that has several: HKDF-SHA256 (RFC 5869). Makes 32 bytes and no more.

use super::{Error, hmac};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const LENGTH: usize = 32;

/// HKDF-SHA256 without a salt. `info` names the use.
pub fn derive(secret: &[u8], info: &str) -> Result<Zeroizing<[u8; LENGTH]>, Error> {
    let extracted = code(&[0; LENGTH], &[secret])?;
    code(&*extracted, &[info.as_bytes(), &[1]])
}

/// HMAC-SHA256 of these parts, one after the other.
pub(super) fn code(key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<[u8; LENGTH]>, Error> {
    let found = hmac::code(hmac::Digest::Sha256, key, parts)?;
    let mut code = Zeroizing::new([0; LENGTH]);
    code.copy_from_slice(&found);
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn the_key_is_that_of_rfc_5869() {
        let key = derive(&[0x0b; 22], "").unwrap();
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(HEXLOWER.encode(&*key), expected, "A.3, its first 32 bytes");
    }
}
