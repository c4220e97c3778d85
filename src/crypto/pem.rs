// SPDX-License-Identifier: Apache-2.0
//! The textual encoding of keys and certificates (RFC 7468), strict: base64 between two lines with the label,
//! and nothing else. Refuses the headers of old encrypted keys.

use super::Error;
use data_encoding::BASE64;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a text with their labels, in their order. Text outside of blocks is skipped. `None`: a block
/// is malformed.
pub fn blocks(text: &[u8]) -> Option<Vec<(&str, Vec<u8>)>> {
    read(text, false)
}

/// A label and the content of the block, which is wiped.
type Private<'a> = (&'a str, Zeroizing<Vec<u8>>);

/// The same where private keys may be in them: nothing of them stays behind in memory.
pub fn private_blocks(text: &[u8]) -> Option<Vec<Private<'_>>> {
    Some(read(text, true)?.into_iter().map(|(label, content)| (label, Zeroizing::new(content))).collect())
}

fn read(text: &[u8], is_private: bool) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines().map(str::trim_ascii_end);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else {
            continue;
        };
        // As much as there can be: growing would leave copies.
        let mut base64 = Zeroizing::new(String::with_capacity(if is_private { text.len() } else { 0 }));
        let end = loop {
            match lines.next()? {
                line if line.starts_with(DASHES) => break line,
                line => base64.push_str(line),
            }
        };
        if end.strip_prefix(END)?.strip_suffix(DASHES)? != label {
            return None;
        }
        found.push((label, BASE64.decode(base64.as_bytes()).ok()?));
        if !is_private {
            // Wiping takes time, and a start reads thousands.
            drop(std::mem::take(&mut *base64));
        }
    }
    Some(found)
}

/// Refuses a file in which OpenSSL might find an encrypted private key of any form. OpenSSL would ask for the
/// pass phrase at the terminal, or compute for as long as the file says.
pub fn refuse_encrypted(file: &[u8]) -> Result<(), Error> {
    if find(file, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_none() && find(file, HEADER).is_none() {
        return Ok(());
    }
    let text = "it is encrypted with a pass phrase, and there is nobody to give that: a key without one is needed (`openssl \
                pkey -in FILE -out NEW` makes it)";
    Err(Error::Invalid(text.into()))
}

/// Refuses a file in which OpenSSL might find an encrypted certificate: it would ask for the pass phrase at
/// the terminal.
pub fn refuse_encrypted_certificate(file: &[u8]) -> Result<(), Error> {
    match has_encrypted_certificate(file) {
        true => Err(Error::Invalid("a certificate in it is encrypted".into())),
        false => Ok(()),
    }
}

/// Whether OpenSSL would ask at the terminal for the pass phrase of a certificate, or of a revocation list
/// beside it: any block can have headers.
pub fn has_encrypted_certificate(file: &[u8]) -> bool {
    let mut rest = file;
    while let Some(at) = find(rest, HEADER) {
        let (before, after) = rest.split_at(at);
        // OpenSSL takes all of these for blanks at the end of a line.
        let blanks = before.iter().rev().take_while(|byte| **byte <= b' ' || **byte >= 0x80).count();
        let line = before.get(..before.len() - blanks).unwrap_or_default();
        if line.ends_with(b"CERTIFICATE-----") || line.ends_with(b"CRL-----") {
            return true;
        }
        rest = after.get(HEADER.len()..).unwrap_or_default();
    }
    false
}

/// Of encrypted blocks (RFC 1421 §4.6.1.1). It stands first.
const HEADER: &[u8] = b"Proc-Type:";

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// One block, in lines of 64 characters.
pub fn write(label: &str, content: &[u8]) -> String {
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    for line in content.chunks(48) {
        text.push_str(&BASE64.encode(line));
        text.push('\n');
    }
    text + &format!("{END}{label}{DASHES}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_which_openssl_would_ask_a_pass_phrase_is_refused() {
        let key = openssl::rsa::Rsa::generate(512).unwrap();
        let cipher = openssl::symm::Cipher::aes_128_cbc();
        let traditional = key.private_key_to_pem_passphrase(cipher, b"secret").unwrap();
        let pkey = openssl::pkey::PKey::from_rsa(key.clone()).unwrap();
        let sealed = pkey.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
        for (file, is_encrypted) in [
            (traditional.clone(), true),
            (sealed, true),
            (key.private_key_to_pem().unwrap(), false),
            (pkey.private_key_to_pem_pkcs8().unwrap(), false),
            (b"this key is NOT ENCRYPTED\n".to_vec(), false),
        ] {
            assert_eq!(refuse_encrypted(&file).is_err(), is_encrypted, "{}", String::from_utf8_lossy(&file));
            assert!(!has_encrypted_certificate(&file), "there is no certificate in it");
        }
        let text = String::from_utf8(traditional).unwrap();
        for label in ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL"] {
            let text = text.replace("RSA PRIVATE KEY", label);
            assert!(has_encrypted_certificate(text.as_bytes()));
            let text = text.replacen("-----\n", "-----\u{85} \r\n", 1);
            assert!(has_encrypted_certificate([b"Proc-Type:\n", text.as_bytes()].concat().as_slice()));
        }
    }

    #[test]
    fn what_is_written_is_read_and_is_what_openssl_writes() {
        let key = openssl::pkey::PKey::generate_ed25519().unwrap();
        for length in [0, 1, 48, 49, 500] {
            let content = vec![7; length];
            assert_eq!(private_blocks(write("A", &content).as_bytes()).unwrap()[0].1.as_slice(), content);
            assert_eq!(blocks(write("A", &content).as_bytes()).unwrap(), [("A", content)]);
        }
        let text = write("PRIVATE KEY", &key.private_key_to_pkcs8().unwrap());
        assert_eq!(text.as_bytes(), key.private_key_to_pem_pkcs8().unwrap());
    }

    #[test]
    fn blocks_come_with_their_labels_and_what_is_around_them_is_passed_over() {
        let text = b"a note\n-----BEGIN A B-----\r\nAAEC\r\nAw==\r\n-----END A B-----\n\n-----BEGIN C-----\n-----END C-----\nend";
        assert_eq!(blocks(text).unwrap(), [("A B", vec![0, 1, 2, 3]), ("C", vec![])]);
        assert_eq!(blocks(b"no block").unwrap(), []);
    }

    #[test]
    fn blocks_in_another_form_are_refused() {
        for bad in [
            "-----BEGIN A-----\nAAEC\n-----END B-----\n",
            "-----BEGIN A-----\nAAEC\n",
            "-----BEGIN A-----\nAAE\n-----END A-----\n",
            "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\nAAEC\n-----END A-----\n",
            "-----BEGIN A-----\n-----BEGIN A-----\nAAEC\n-----END A-----\n",
        ] {
            assert_eq!(blocks(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(blocks(&[0xff]), None);
    }
}
