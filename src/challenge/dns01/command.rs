// SPDX-License-Identifier: Apache-2.0
//! TXT records by a command of the admin: `COMMAND setup|teardown DOMAIN [VALUE]`, as the C module calls it.
//! Waits for its end; whether name servers have the record is looked up elsewhere. Imports `exec`.

use crate::exec;
use crate::model::dns01::Command;
use crate::time::Clock;
use std::time::Duration;

impl Command {
    /// `domain` without `*.`: the record of a wildcard is that of the name below it.
    pub fn set_up(
        &self,
        domain: &str,
        value: &str,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<(), exec::Error> {
        exec::run(&self.line, &["setup", domain, value], limit, clock)
    }

    /// Whether `teardown` takes away one record; without the challenge it cannot know which.
    pub fn knows_records(&self) -> bool {
        self.version >= 2
    }

    pub fn tear_down(
        &self,
        domain: &str,
        value: &str,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<(), exec::Error> {
        let all = ["teardown", domain, value];
        let arguments = if self.knows_records() { &all[..] } else { &all[..2] };
        exec::run(&self.line, arguments, limit, clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    #[test]
    fn the_version_says_whether_teardown_is_given_the_challenge() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let clock = SystemClock::default();
        for version in [1, 2] {
            let line = format!("/bin/sh -c 'echo \"$@\" >> {}' sh first", file.display());
            let (command, limit) = (Command { line, version }, Duration::from_secs(60));
            command.set_up("a.test", "v-1", limit, &clock).unwrap();
            command.tear_down("a.test", "v-1", limit, &clock).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "first setup a.test v-1\nfirst teardown a.test\nfirst setup a.test v-1\nfirst teardown a.test v-1\n"
        );
    }

    #[test]
    fn a_command_has_the_time_that_is_configured() {
        let line = "/bin/sh -c 'sleep 600' sh".to_string();
        let command = Command { line, version: 1 };
        let limit = Duration::from_secs(1);
        let error = command.set_up("a.test", "v-1", limit, &SystemClock::default()).unwrap_err();
        assert!(error.to_string().contains("did not end within 1 second and"), "{error}");
    }
}
