//! Events: what happens to a managed domain is told to the admin's commands (`MDMessageCmd`,
//! `MDNotifyCmd`), not more often than their rate limits allow. The limits are kept in the job's log, so
//! they survive a restart.

use crate::exec;
use crate::model::Job;
use crate::time::{Clock, DAY};
use std::time::Duration;

/// What can happen; the name is the first argument of `MDMessageCmd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A renewal is about to start; a failing command postpones it.
    Renewing,
    /// Challenge data is in place, the CA has not been told yet: challenge type and DNS name.
    ChallengeSetup(String, String),
    /// A new set is complete in staging.
    Renewed,
    /// The new set was activated at a restart.
    Installed,
    /// The new set is served, without a restart.
    Activated,
    /// The certificate ends soon, and there is no new one.
    Expiring,
    /// A renewal failed.
    Errored,
    /// There is a new OCSP response.
    OcspRenewed,
    /// A new OCSP response was wanted and not got.
    OcspErrored,
}

impl Event {
    fn name(&self) -> String {
        match self {
            Event::Renewing => "renewing".into(),
            Event::ChallengeSetup(kind, domain) => format!("challenge-setup:{kind}:{domain}"),
            Event::Renewed => "renewed".into(),
            Event::Installed => "installed".into(),
            Event::Activated => "activated".into(),
            Event::Expiring => "expiring".into(),
            Event::Errored => "errored".into(),
            Event::OcspRenewed => "ocsp-renewed".into(),
            Event::OcspErrored => "ocsp-errored".into(),
        }
    }

    fn not_more_often_than(&self) -> Option<Duration> {
        match self {
            Event::Renewing | Event::Errored | Event::OcspErrored => Some(Duration::from_secs(3600)),
            Event::Renewed | Event::Installed | Event::Activated | Event::Expiring | Event::OcspRenewed => {
                Some(DAY)
            }
            Event::ChallengeSetup(..) => None,
        }
    }
}

/// The configured command lines.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    pub notify: Option<String>,
    pub message: Option<String>,
}

/// A command that failed: where it stands in job.json, and what to tell.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failed {
    /// `urn:org:apache:httpd:log:AH10109:` and the like.
    pub problem: String,
    pub detail: String,
    /// The command was ended because this process is: no fault of its own.
    pub is_stopped: bool,
}

impl Failed {
    fn new(problem: &str, detail: String, error: &exec::Error) -> Self {
        let is_stopped = matches!(error, exec::Error::Stopped { .. });
        Failed { problem: problem.into(), detail, is_stopped }
    }
}

impl Commands {
    /// Whether anybody hears of anything.
    pub fn are_any(&self) -> bool {
        self.message.is_some() || self.notify.is_some()
    }

    /// Fires `event` for the domain of `job`, unless it was fired a short time ago, and notes it in the job's log.
    pub fn fire(&self, event: &Event, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        let name = event.name();
        let kind = format!("message-{name}");
        let now = clock.now();
        if let (Some(limit), Some(last)) = (event.not_more_often_than(), job.latest(&kind))
            && now.since(last) < limit
        {
            return Ok(());
        }
        if let Some(line) = &self.message
            && let Err(error) = exec::run(line, &[&name, &job.name], exec::TIME_LIMIT, clock)
        {
            let detail = format!("MDMessageCmd {line} failed for event '{name}' of {}: {error}", job.name);
            crate::log!(Error, "AH10109: {detail}");
            job.note(clock.now(), "message-error", None, Some(detail.clone()));
            return Err(Failed::new("urn:org:apache:httpd:log:AH10109:", detail, &error));
        }
        job.note(clock.now(), &kind, None, None);
        Ok(())
    }

    /// Calls `MDNotifyCmd` with the name of a domain that was renewed.
    pub fn notify(&self, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        let Some(line) = &self.notify else { return Ok(()) };
        exec::run(line, &[&job.name], exec::TIME_LIMIT, clock).map_err(|error| {
            let detail = format!("MDNotifyCmd {line} failed for {}: {error}", job.name);
            crate::log!(Error, "AH10108: {detail}");
            job.note(clock.now(), "notify-error", None, Some(detail.clone()));
            Failed::new("urn:org:apache:httpd:log:AH10108:", detail, &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    fn appending(path: &std::path::Path, exit: i32) -> String {
        format!("/bin/sh -c 'echo \"$@\" >> {}; exit {exit}' sh", path.display())
    }

    #[test]
    fn an_event_reaches_the_command_once_within_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let commands = Commands { message: Some(appending(&file, 0)), notify: None };
        let mut job = Job::new("a.test");
        for _ in 0..2 {
            commands.fire(&Event::Renewing, &mut job, &SystemClock::default()).unwrap();
            let setup = Event::ChallengeSetup("http-01".into(), "www.a.test".into());
            commands.fire(&setup, &mut job, &SystemClock::default()).unwrap();
        }
        let calls = std::fs::read_to_string(&file).unwrap();
        let setup = "challenge-setup:http-01:www.a.test a.test\n";
        assert_eq!(calls, format!("renewing a.test\n{setup}{setup}"));
        assert!(job.latest("message-renewing").is_some());
    }

    #[test]
    fn a_failing_command_is_reported_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let commands = Commands { message: Some(appending(&file, 1)), notify: Some(appending(&file, 2)) };
        let mut job = Job::new("a.test");
        for _ in 0..2 {
            let failed = commands.fire(&Event::Renewed, &mut job, &SystemClock::default()).unwrap_err();
            assert_eq!(failed.problem, "urn:org:apache:httpd:log:AH10109:");
            assert!(
                commands.notify(&mut job, &SystemClock::default()).unwrap_err().detail.contains("status 2")
            );
        }
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "renewed a.test\na.test\nrenewed a.test\na.test\n"
        );
        assert_eq!(job.latest("message-renewed"), None);
    }
}
