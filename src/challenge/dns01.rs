//! The dns-01 challenge (RFC 8555 §8.4): a TXT record at `_acme-challenge.NAME`, put there and taken away
//! by a command of the admin (`MDChallengeDns01`). What was set up is noted on disk before the command
//! runs, so that whoever comes after a killed process takes it away.

use crate::crypto;
use crate::exec;
use crate::time::Clock;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "dns-01";

/// The note in `challenges/NAME/`.
pub const FILE_NAME: &str = "acme-dns-01.json";

/// What the record has to say (RFC 8555 §8.4).
pub fn value(key_authorization: &str) -> String {
    BASE64URL_NOPAD.encode(&crypto::sha256(key_authorization.as_bytes()))
}

/// The command that changes the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub line: String,
    /// `MDChallengeDns01Version`: from 2 on `teardown` is given the challenge too.
    pub version: u8,
}

impl Command {
    /// `domain` without `*.`: the record of a wildcard is that of the name below it.
    pub fn set_up(&self, domain: &str, value: &str, clock: &dyn Clock) -> Result<(), exec::Error> {
        exec::run(&self.line, &["setup", domain, value], exec::TIME_LIMIT, clock)
    }

    pub fn tear_down(&self, domain: &str, value: &str, clock: &dyn Clock) -> Result<(), exec::Error> {
        let all = ["teardown", domain, value];
        let arguments = if self.version < 2 { &all[..2] } else { &all[..] };
        exec::run(&self.line, arguments, exec::TIME_LIMIT, clock)
    }
}

/// Asks the admin to do what no command can do any more.
pub fn left_behind(domain: &str, value: &str) -> String {
    format!("the TXT record '{value}' of _acme-challenge.{domain} may still be there, remove it yourself")
}

/// The values that were set up for one name: a wildcard and the name below it have one each.
pub fn noted(note: Option<&Value>) -> Vec<String> {
    let values = note.and_then(|note| note.get("values")).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

pub fn note(values: &[String]) -> Value {
    json!({ "values": values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn the_record_holds_the_digest_of_the_key_authorization() {
        // The digest is that of openssl(1).
        assert_eq!(value("token.thumbprint"), "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I");
    }

    #[test]
    fn the_version_says_whether_teardown_is_given_the_challenge() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let clock = SystemClock::default();
        for version in [1, 2] {
            let line = format!("/bin/sh -c 'echo \"$@\" >> {}' sh first", file.display());
            let command = Command { line, version };
            command.set_up("a.test", "v-1", &clock).unwrap();
            command.tear_down("a.test", "v-1", &clock).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "first setup a.test v-1\nfirst teardown a.test\nfirst setup a.test v-1\nfirst teardown a.test v-1\n"
        );
    }

    #[test]
    fn a_note_is_read_back_and_garbage_says_nothing() {
        let values = ["a".to_string(), "b".into()];
        assert_eq!(noted(Some(&note(&values))), values);
        assert!(noted(None).is_empty() && noted(Some(&json!({"values": 7}))).is_empty());
        assert_eq!(noted(Some(&json!({"values": [1, "x"]}))), ["x"]);
    }
}
