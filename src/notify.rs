//! Events: what happens to a managed domain is told to the admin's commands (`MDMessageCmd`,
//! `MDNotifyCmd`), not more often than their rate limits allow. The limits are kept in the job's log, so
//! they survive a restart.

use crate::exec;
use crate::model::Job;
use crate::model::job::{LogEntry, MESSAGE_FAILED};
use crate::time::{Clock, DAY, Timestamp};
use std::time::Duration;

/// The type of log entries that say that `MDMessageCmd` failed.
pub const MESSAGE_ERROR: &str = "message-error";

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

    /// The type of the log entry that says it was fired.
    fn log_kind(&self) -> String {
        format!("message-{}", self.name())
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

/// Those that are not fired again at once.
const LIMITED: [Event; 8] = [
    Event::Renewing,
    Event::Renewed,
    Event::Installed,
    Event::Activated,
    Event::Expiring,
    Event::Errored,
    Event::OcspRenewed,
    Event::OcspErrored,
];

/// What of a job's log keeps events from being fired again.
pub fn limiting(log: &[LogEntry], now: Timestamp) -> Vec<LogEntry> {
    let is_limiting = |entry: &&LogEntry| {
        let event = LIMITED.iter().find(|event| event.log_kind() == entry.kind);
        event.and_then(Event::not_more_often_than).is_some_and(|limit| now.since(entry.when) < limit)
    };
    log.iter().filter(is_limiting).cloned().collect()
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
        let (name, kind) = (event.name(), event.log_kind());
        let now = clock.now();
        if let (Some(limit), Some(last)) = (event.not_more_often_than(), job.latest(&kind))
            && now.since(last) < limit
        {
            return Ok(());
        }
        if let Some(line) = &self.message
            && let Err(error) = exec::run(line, &[&name, &job.name], exec::TIME_LIMIT, clock)
        {
            let detail =
                failure(&format!("MDMessageCmd {line}"), &format!("event '{name}' of {}", job.name), &error);
            crate::log!(Error, "AH10109: {detail}");
            job.note(clock.now(), MESSAGE_ERROR, None, Some(detail.clone()));
            return Err(Failed::new(MESSAGE_FAILED, detail, &error));
        }
        job.note(clock.now(), &kind, None, None);
        Ok(())
    }

    /// Calls `MDNotifyCmd` with the name of a domain that was renewed.
    pub fn notify(&self, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        let Some(line) = &self.notify else { return Ok(()) };
        exec::run(line, &[&job.name], exec::TIME_LIMIT, clock).map_err(|error| {
            let detail = failure(&format!("MDNotifyCmd {line}"), &job.name, &error);
            crate::log!(Error, "AH10108: {detail}");
            job.note(clock.now(), "notify-error", None, Some(detail.clone()));
            Failed::new("urn:org:apache:httpd:log:AH10108:", detail, &error)
        })
    }
}

/// In the words of the C module, where it has any: people grep for them.
fn failure(command: &str, occasion: &str, error: &exec::Error) -> String {
    match error {
        exec::Error::Failed { status, .. } => {
            format!("{command} failed with exit code {status} for {occasion}")
        }
        other => format!("{command} failed for {occasion}: {other}"),
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
    fn what_was_told_lately_is_not_told_again_whatever_else_of_the_log_goes() {
        let now = Timestamp::from_unix(1_800_000_000);
        let hour = Duration::from_secs(3600);
        let mut job = Job::new("a.test");
        for (kind, ago) in [
            ("message-renewed", DAY),
            ("message-expiring", DAY / 2),
            ("message-errored", hour),
            ("message-challenge-setup:http-01:a.test", Duration::ZERO),
            ("message-error", Duration::ZERO),
            ("progress", Duration::ZERO),
            ("message-renewing", hour / 2),
        ] {
            job.note(now.minus(ago), kind, None, None);
        }
        let kept: Vec<String> = limiting(&job.log, now).into_iter().map(|entry| entry.kind).collect();
        assert_eq!(kept, ["message-renewing", "message-expiring"]);
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
            let failed = commands.notify(&mut job, &SystemClock::default()).unwrap_err();
            assert!(failed.detail.ends_with(" failed with exit code 2 for a.test"), "{failed}");
        }
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "renewed a.test\na.test\nrenewed a.test\na.test\n"
        );
        assert_eq!(job.latest("message-renewed"), None);
    }
}
