// SPDX-License-Identifier: Apache-2.0
//! Events: calls the administrator's commands (`MDMessageCmd`, `MDNotifyCmd`) when something happens to a
//! managed domain, at most as often as the rate limit of each event allows. The job's log holds the limits,
//! so that they persist over restarts. Reports a failed command to the caller, which decides how to continue.

use crate::exec;
use crate::model::Job;
use crate::model::job::{EVENT, LogEntry, MESSAGE_FAILED};
use crate::time::{Clock, DAY, Timestamp};
use std::time::Duration;

/// The type of log entries that say that `MDMessageCmd` failed.
pub const MESSAGE_ERROR: &str = "message-error";

const NOTIFY_FAILED: &str = "urn:org:apache:httpd:log:AH10108:";

/// The events; the name is the first argument of `MDMessageCmd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A renewal is about to start; a failing command postpones it.
    Renewing,
    /// Challenge data is in place and the CA does not know yet: challenge type and DNS name.
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
    /// A new OCSP response was requested and did not come.
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
        format!("{EVENT}{}", self.name())
    }

    /// Whether the event only reports: nothing depends on the command's outcome.
    pub fn is_report(&self) -> bool {
        !matches!(self, Event::Renewing | Event::ChallengeSetup(..))
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

/// Events with a rate limit.
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

/// The entries of a job's log that still keep events from being fired again.
pub fn limiting(log: &[LogEntry], now: Timestamp) -> Vec<LogEntry> {
    let is_limiting = |entry: &&LogEntry| {
        let event = LIMITED.iter().find(|event| event.log_kind() == entry.kind);
        event
            .and_then(Event::not_more_often_than)
            .is_some_and(|limit| entry.when <= now && now.since(entry.when) < limit)
    };
    log.iter().filter(is_limiting).cloned().collect()
}

/// The configured command lines.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    pub notify: Option<String>,
    pub message: Option<String>,
}

/// A command that failed: the problem type for job.json and the text for the log.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failed {
    /// `urn:org:apache:httpd:log:AH10109:` and the like.
    pub problem: String,
    pub detail: String,
    /// The command was ended with this process, which is not its failure.
    pub is_stopped: bool,
}

/// The remedy for a failed command.
pub const ADVICE: &str = "Run the command as httpd's User and fix what it reports; its output is in the error log with 'LogLevel md:debug'.";

impl Failed {
    /// The text with advice.
    pub fn advised(&self) -> String {
        format!("{}. What to do: {ADVICE}", self.detail)
    }

    fn stopped(problem: &str, call: String) -> Self {
        let detail = format!("{call}: this child of httpd is ending, the next one makes the call");
        crate::log!(Info, "{detail}");
        Failed { problem: problem.into(), detail, is_stopped: true }
    }
}

impl Commands {
    /// Whether any command is configured.
    pub fn are_any(&self) -> bool {
        self.message.is_some() || self.notify.is_some()
    }

    /// Fires `event` for the domain of `job` unless its rate limit forbids it, and notes it in the job's log.
    pub fn fire(&self, event: &Event, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        if self.begin(event, job, clock)? { self.call(event, job, clock) } else { Ok(()) }
    }

    /// Notes that `event` is fired, unless its rate limit forbids it. The note comes before the call, because
    /// a command may end this process by a reload.
    pub fn begin(&self, event: &Event, job: &mut Job, clock: &dyn Clock) -> Result<bool, Failed> {
        let (kind, now) = (event.log_kind(), clock.now());
        if let (Some(limit), Some(last)) = (event.not_more_often_than(), last_of(job, &kind, now))
            && now.since(last) < limit
        {
            return Ok(false);
        }
        if self.message.is_some() && clock.is_stopped() {
            return Err(Failed::stopped(MESSAGE_FAILED, format!("event '{}' of {}", event.name(), job.name)));
        }
        job.note(now, &kind, None, None);
        Ok(true)
    }

    /// Calls `MDMessageCmd` for an event that is noted. If the command fails, the note is withdrawn.
    pub fn call(&self, event: &Event, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        let Some(line) = &self.message else { return Ok(()) };
        let name = event.name();
        let run = if event.is_report() { exec::run_or_leave } else { exec::run };
        let command = format!("MDMessageCmd {line}");
        let occasion = format!("event '{name}' of {}", job.name);
        let outcome = run(line, &[&name, &job.name], exec::TIME_LIMIT, clock);
        let outcome = judge(outcome, "AH10109", MESSAGE_FAILED, &command, &occasion);
        if let Err(failed) = &outcome {
            job.take_back(&event.log_kind());
            if !failed.is_stopped {
                job.note(clock.now(), MESSAGE_ERROR, None, Some(failed.detail.clone()));
            }
        }
        outcome
    }

    /// Whether there is an `MDNotifyCmd` to call; an error if this process is ending.
    pub fn begin_notify(&self, job: &Job, clock: &dyn Clock) -> Result<bool, Failed> {
        match &self.notify {
            Some(line) if clock.is_stopped() => {
                Err(Failed::stopped(NOTIFY_FAILED, format!("MDNotifyCmd {line} for {}", job.name)))
            }
            line => Ok(line.is_some()),
        }
    }

    /// Calls `MDNotifyCmd` with the name of a domain that was renewed.
    pub fn notify(&self, job: &mut Job, clock: &dyn Clock) -> Result<(), Failed> {
        let Some(line) = &self.notify else { return Ok(()) };
        let outcome = exec::run_or_leave(line, &[&job.name], exec::TIME_LIMIT, clock);
        let outcome = judge(outcome, "AH10108", NOTIFY_FAILED, &format!("MDNotifyCmd {line}"), &job.name);
        if let Err(failed) = outcome.as_ref()
            && !failed.is_stopped
        {
            job.note(clock.now(), "notify-error", None, Some(failed.detail.clone()));
        }
        outcome
    }
}

/// The last time that the event was fired, by the job's log. Entries from the future are ignored: a wrong
/// clock or another process wrote them.
fn last_of(job: &Job, kind: &str, now: Timestamp) -> Option<Timestamp> {
    job.log.iter().find(|entry| entry.kind == kind && entry.when <= now).map(|entry| entry.when)
}

/// Turns the end of a command into an outcome: only the command's own end counts as its failure.
fn judge(
    outcome: Result<(), exec::Error>,
    number: &str,
    problem: &str,
    command: &str,
    occasion: &str,
) -> Result<(), Failed> {
    match outcome {
        Ok(()) => Ok(()),
        Err(exec::Error::Left { .. }) => {
            crate::log!(
                Info,
                "{command} for {occasion} continues on its own because this child of httpd is ending; it counts as called"
            );
            Ok(())
        }
        Err(exec::Error::Stopped { .. }) => {
            Err(Failed::stopped(problem, format!("{command} for {occasion}")))
        }
        Err(error) => {
            let detail = failure(command, occasion, &error);
            let failed = Failed { problem: problem.into(), detail, is_stopped: false };
            crate::log!(Error, "{number}: {}", failed.advised());
            Err(failed)
        }
    }
}

/// In the words of the C module where it has them, because people grep for them.
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
    fn every_event_is_documented_with_its_limit() {
        let page = include_str!("../docs/status.md");
        let table = page.split("| event |").nth(1).unwrap().split("\n\n").next().unwrap();
        let documented: Vec<(&str, Option<Duration>)> = table
            .lines()
            .filter_map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let limit = match *cells.get(3)? {
                    "daily" => Some(DAY),
                    "hourly" => Some(Duration::from_secs(3600)),
                    _ => None,
                };
                Some((cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?, limit))
            })
            .collect();
        let setup = Event::ChallengeSetup("TYPE".into(), "DNSNAME".into());
        let events = LIMITED.into_iter().chain([setup]);
        let known: Vec<(String, Option<Duration>)> =
            events.map(|event| (event.name(), event.not_more_often_than())).collect();
        for (name, limit) in &known {
            assert!(documented.contains(&(name, *limit)), "{name} {limit:?}: {documented:?}");
        }
        assert_eq!(documented.len(), known.len(), "{documented:?}");
    }

    #[test]
    fn a_recent_event_is_not_fired_again_whatever_log_entries_are_dropped() {
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
    fn a_log_entry_from_the_future_silences_no_event() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let commands = Commands { message: Some(appending(&file, 0)), notify: None };
        let clock = SystemClock::default();
        let mut job = Job::new("a.test");
        job.note(clock.now().plus(DAY * 300), "message-expiring", None, None);
        for _ in 0..2 {
            commands.fire(&Event::Expiring, &mut job, &clock).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "expiring a.test\n");
        assert_eq!(limiting(&job.log, clock.now()).len(), 1);
    }

    #[test]
    fn a_call_prevented_by_the_end_of_the_process_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("calls");
        let commands = Commands { message: Some(appending(&file, 0)), notify: Some(appending(&file, 0)) };
        let clock = SystemClock::default();
        clock.stop.raise();
        let mut job = Job::new("a.test");
        assert!(commands.fire(&Event::Renewed, &mut job, &clock).unwrap_err().is_stopped);
        assert!(commands.begin_notify(&job, &clock).unwrap_err().is_stopped);
        assert!(!file.exists() && job.log.is_empty(), "{job:?}");
    }

    /// Stops while it is asked.
    struct Stopping(std::sync::atomic::AtomicBool);

    impl Clock for Stopping {
        fn now(&self) -> Timestamp {
            SystemClock::default().now()
        }

        fn sleep(&self, _: Duration) -> Result<(), crate::time::Stopped> {
            Err(crate::time::Stopped)
        }

        fn is_stopped(&self) -> bool {
            self.0.swap(true, std::sync::atomic::Ordering::SeqCst)
        }
    }

    #[test]
    fn a_noted_call_is_made_even_if_the_process_ends() {
        let dir = tempfile::tempdir().unwrap();
        let [message, notify] = ["message", "notify"].map(|name| dir.path().join(name));
        let commands =
            Commands { message: Some(appending(&message, 0)), notify: Some(appending(&notify, 0)) };
        let mut job = Job::new("a.test");
        commands.fire(&Event::Renewed, &mut job, &Stopping(false.into())).unwrap();
        let clock = Stopping(false.into());
        assert!(commands.begin_notify(&job, &clock).unwrap());
        commands.notify(&mut job, &clock).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while [&message, &notify]
            .iter()
            .any(|file| std::fs::read_to_string(file).unwrap_or_default().is_empty())
        {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(job.latest("message-renewed").is_some());
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
