// SPDX-License-Identifier: Apache-2.0
//! The dns-01 challenge (RFC 8555 §8.4): a TXT record at `_acme-challenge.NAME`, added and removed by
//! a command of the admin (`MDChallengeDns01`). Each record is noted on disk before the command runs, so that
//! the process that follows a killed one removes it.

use crate::crypto;
use crate::exec;
pub use crate::model::Dns01Command as Command;
use crate::time::Clock;
use data_encoding::BASE64URL_NOPAD;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "dns-01";

/// The note in `challenges/NAME/`: the values that were set up, each with its owner.
pub const NOTE: &str = "acme-dns-01.json";

/// What the record has to say (RFC 8555 §8.4).
pub fn value(key_authorization: &str) -> String {
    BASE64URL_NOPAD.encode(&crypto::sha256(key_authorization.as_bytes()))
}

impl Command {
    /// `domain` without `*.`: the record of a wildcard is that of the name below it.
    pub fn set_up(&self, domain: &str, value: &str, clock: &dyn Clock) -> Result<(), exec::Error> {
        exec::run(&self.line, &["setup", domain, value], self.limit, clock)
    }

    /// Whether `teardown` takes away one record; without the challenge it cannot know which.
    pub fn knows_records(&self) -> bool {
        self.version >= 2
    }

    pub fn tear_down(&self, domain: &str, value: &str, clock: &dyn Clock) -> Result<(), exec::Error> {
        let all = ["teardown", domain, value];
        let arguments = if self.knows_records() { &all[..] } else { &all[..2] };
        exec::run(&self.line, arguments, self.limit, clock)
    }
}

/// Asks the admin to do what no command can do any more.
pub fn left_behind(domain: &str, value: &str) -> String {
    format!("the TXT record '{value}' of _acme-challenge.{domain} may still be there: remove it by hand")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;
    use std::time::Duration;

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
            let command = Command { line, version, limit: Duration::from_secs(60) };
            command.set_up("a.test", "v-1", &clock).unwrap();
            command.tear_down("a.test", "v-1", &clock).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "first setup a.test v-1\nfirst teardown a.test\nfirst setup a.test v-1\nfirst teardown a.test v-1\n"
        );
    }

    #[test]
    fn a_command_has_the_time_that_is_configured() {
        let line = "/bin/sh -c 'sleep 600' sh".to_string();
        let command = Command { line, version: 1, limit: Duration::from_secs(1) };
        let error = command.set_up("a.test", "v-1", &SystemClock::default()).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 second and"), "{error}");
    }
}
