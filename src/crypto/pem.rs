//! The textual encoding of keys and certificates (RFC 7468), strict: base64 between two lines that name
//! what it is, nothing else in between. Headers, as encrypted keys of old had them, are refused.

use data_encoding::BASE64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a text with their labels, in their order. What stands outside of blocks is passed over.
/// `None`: a block is not in that form.
pub fn blocks(text: &[u8]) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines().map(str::trim_ascii_end);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else {
            continue;
        };
        let mut base64 = String::new();
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
    }
    Some(found)
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
    fn what_is_written_is_read_and_is_what_openssl_writes() {
        let key = openssl::pkey::PKey::generate_ed25519().unwrap();
        for length in [0, 1, 48, 49, 500] {
            let content = vec![7; length];
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
