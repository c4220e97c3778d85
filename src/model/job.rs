// SPDX-License-Identifier: Apache-2.0
//! The state of one renewal as `job.json` keeps it: counters, the last result and a short log, from which
//! another process continues after a crash. Keeps unknown keys. Reads no file; cuts values to size, because
//! workers can write that file.

use super::Requested;
use super::RetryState;
use super::bounded::{self, Room, TEXT_MAX};
use super::outcome::date;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

pub use super::outcome::{LogEntry, Outcome, status};

/// At most this many log entries are kept, newest first.
pub const LOG_MAX: usize = 128;

/// The kind of the log entry with which an attempt begins.
pub const STARTING: &str = "starting";
/// Begins the kind of the log entry of an event that was fired; its name follows.
pub const EVENT: &str = "message-";
/// Lines that an admin has to set in the DNS.
pub const RECORDS_MAX: usize = 20;

/// Of all keys we do not know.
const EXTRA_ROOM: Room = Room { values: 1024, text: 64 * 1024 };
/// The activity of a job whose command for `expiring` runs.
const WARNING_OF_EXPIRY: &str = "Telling that a certificate expires";

/// The problem of an `MDMessageCmd` that failed.
pub const MESSAGE_FAILED: &str = "urn:org:apache:httpd:log:AH10109:";

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Job {
    pub name: String,
    /// The set in staging is complete and checked.
    pub finished: bool,
    pub notified: bool,
    pub notified_renewed: bool,
    /// A command was notified that the set is live.
    pub notified_activated: bool,
    /// A command is being notified, and its result is not known yet.
    pub calling: bool,
    /// Commands have not been notified yet of the set that a start put into use.
    pub pending_notice: Option<PendingNotice>,
    pub next_run: Option<Timestamp>,
    pub last_run: Option<Timestamp>,
    pub valid_from: Option<Timestamp>,
    /// Consecutive errors.
    pub errors: u32,
    pub last: Outcome,
    /// The state that its attempts share.
    pub retry_state: RetryState,
    /// The step that its order waits for. If it takes longer than one attempt, the next one is at `next_run`.
    pub waiting: Option<Waiting>,
    /// Why a renewal that is due does not begin.
    pub held_back: Option<HeldBack>,
    /// The result of loading the staged set into the hosts that will serve it; `None`: not tried yet.
    pub trial: Option<Trial>,
    /// What an operator has asked for, and the answers. It says nothing of a renewal by itself.
    pub request: Option<Requested>,
    /// Authenticates the set that belongs to this job to the next start. No page shows it.
    pub auth: Option<String>,
    /// Newest first.
    pub log: Vec<LogEntry>,
    /// Keys we do not know.
    pub extra: Map<String, Value>,
}

const KNOWN_KEYS: &[&str] = &[
    "name",
    "finished",
    "notified",
    "notified-renewed",
    "notified-activated",
    "calling",
    "untold",
    "next-run",
    "last-run",
    "valid-from",
    "errors",
    "last",
    "pace",
    "waiting",
    "held-back",
    "trial",
    "request",
    "auth",
    "log",
];

/// A set that is in use and of which not all commands have been notified: the notifications that succeeded,
/// and the schedule of further calls.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PendingNotice {
    pub notified: bool,
    pub notified_renewed: bool,
    /// In a row.
    pub failures: u32,
    pub next: Option<Timestamp>,
}

impl PendingNotice {
    fn to_json(&self) -> Value {
        let mut out = json!({"notified": self.notified, "notified-renewed": self.notified_renewed});
        if let Some(next) = self.next {
            (out["failures"], out["next-run"]) = (json!(self.failures), json!(next.to_http_date()));
        }
        out
    }

    fn from_json(value: &Value) -> Option<Self> {
        let flag = |key: &str| value.get(key).and_then(Value::as_bool);
        let next = date(value.get("next-run"));
        // Where there is no further call, none has failed.
        let failures = value.get("failures").filter(|_| next.is_some());
        Some(PendingNotice {
            notified: flag("notified")?,
            notified_renewed: flag("notified-renewed")?,
            failures: failures.and_then(Value::as_u64).unwrap_or(0).try_into().ok()?,
            next,
        })
    }
}

/// A CA at work on an order, or a record that the admin has to set. No error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The current step at the CA: "validating www.example.org"; or the record, and what is wrong with it.
    pub what: String,
    pub since: Timestamp,
    /// When it is asked or looked up again.
    pub next: Option<Timestamp>,
    /// The lines to set in the DNS. None: the CA is at work.
    pub records: Vec<String>,
}

impl Waiting {
    fn to_json(&self) -> Value {
        let mut out = json!({"what": self.what, "since": self.since.to_http_date()});
        if let Some(next) = self.next {
            out["next"] = json!(next.to_http_date());
        }
        if !self.records.is_empty() {
            out["records"] = json!(self.records);
        }
        out
    }

    fn from_json(value: &Value) -> Option<Self> {
        let records = value.get("records").and_then(Value::as_array).into_iter().flatten();
        let records = records
            .take(RECORDS_MAX)
            .filter_map(Value::as_str)
            .map(|line| bounded::text(line, TEXT_MAX))
            .collect();
        let what = bounded::text_at(value, "what", TEXT_MAX)?;
        Some(Waiting { what, since: date(value.get("since"))?, next: date(value.get("next")), records })
    }
}

/// A renewal that is due but would exceed a rate limit of the CA, or that another node makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    pub reason: String,
    pub until: Timestamp,
    pub by: HeldBy,
}

/// What holds a renewal back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeldBy {
    /// What CAs allow.
    #[default]
    Limits,
    /// The other nodes of a fleet; the one that renews, by its name.
    Fleet(Option<String>),
}

impl HeldBack {
    /// By what CAs allow.
    pub fn new(reason: impl Into<String>, until: Timestamp) -> Self {
        HeldBack { reason: reason.into(), until, by: HeldBy::Limits }
    }

    /// Whether other nodes of a fleet are why.
    pub fn is_by_fleet(&self) -> bool {
        matches!(self.by, HeldBy::Fleet(_))
    }

    fn to_json(&self) -> Value {
        let mut out = json!({"reason": self.reason, "until": self.until.to_http_date()});
        if let HeldBy::Fleet(node) = &self.by {
            (out["by"], out["node"]) = (json!("fleet"), json!(node));
        }
        out
    }

    fn from_json(value: &Value) -> Option<Self> {
        let reason = bounded::text_at(value, "reason", TEXT_MAX)?;
        let by = match value.get("by").and_then(Value::as_str) {
            Some("fleet") => HeldBy::Fleet(bounded::name_at(value, "node")),
            _ => HeldBy::Limits,
        };
        Some(HeldBack { reason, until: date(value.get("until"))?, by })
    }
}

/// Whether TLS contexts take a staged set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Every host of the MD does, with its own settings.
    Accepted,
    /// One does not, for this reason: the set is not put into use.
    Refused(String),
}

impl Trial {
    fn to_json(&self) -> Value {
        match self {
            Trial::Accepted => json!({"accepted": true}),
            Trial::Refused(reason) => json!({"accepted": false, "reason": reason}),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.get("accepted")?.as_bool()? {
            true => Some(Trial::Accepted),
            false => Some(Trial::Refused(bounded::text_at(value, "reason", TEXT_MAX).unwrap_or_default())),
        }
    }
}

/// Whether a log entry of this kind says when an event was fired last. There are few such kinds; those with the name of
/// a challenge after theirs say it of that alone.
fn limits_events(kind: &str) -> bool {
    kind.starts_with(EVENT) && !kind.contains(':')
}

impl Job {
    pub fn new(name: &str) -> Self {
        Job { name: name.to_string(), ..Job::default() }
    }

    /// Whether a renewal has begun, or waits because a command or the CA asked for it. The job of a domain
    /// that is not renewed has only a log of past messages.
    pub fn is_begun(&self) -> bool {
        self.finished
            || self.errors > 0
            || self.last_run.is_some()
            || self.next_run.is_some()
            || self.held_back.is_some()
            || self.last != Outcome::default()
            || !self.retry_state.is_empty()
    }

    /// A command refused the renewal before it began: it is called again at `until`.
    pub fn postpone(&mut self, problem: String, detail: String, until: Timestamp) {
        self.last = Outcome {
            status: status::GENERAL,
            problem: Some(problem),
            detail: Some(detail),
            ..Outcome::default()
        };
        self.next_run = Some(until);
    }

    /// Whether the latest entry says that a command refused the renewal.
    pub fn is_vetoed(&self) -> bool {
        !self.finished && self.last.problem.as_deref() == Some(MESSAGE_FAILED) && !self.has_failed_to_warn()
    }

    /// Reports that the command for `expiring` failed, unless there is a result of a renewal to report.
    pub fn fail_to_warn(&mut self, problem: String, detail: String) {
        if self.finished || self.errors > 0 || self.is_vetoed() {
            return;
        }
        self.last = Outcome {
            status: status::GENERAL,
            problem: Some(problem),
            detail: Some(detail),
            activity: Some(WARNING_OF_EXPIRY.into()),
            ..Outcome::default()
        };
    }

    /// Whether the latest entry says that the command for `expiring` failed.
    pub fn has_failed_to_warn(&self) -> bool {
        self.last.activity.as_deref() == Some(WARNING_OF_EXPIRY)
    }

    /// Whether the renewal waits because a command said so.
    pub fn is_postponed(&self) -> bool {
        self.is_vetoed() && self.next_run.is_some()
    }

    /// Whether the renewal waits for TXT records that the admin has to set.
    pub fn waits_for_records(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.records.is_empty())
    }

    /// Puts an entry at the head of the log and drops the oldest beyond [`LOG_MAX`], but for the latest of each kind that
    /// keeps an event from being fired again.
    pub fn note(&mut self, when: Timestamp, kind: &str, status: Option<String>, detail: Option<String>) {
        self.log.insert(0, LogEntry { when, kind: kind.to_string(), status, detail });
        while self.log.len() > LOG_MAX {
            let is_kept = |at: usize| {
                let kind = self.log.get(at).map(|entry| &entry.kind).filter(|kind| limits_events(kind));
                kind.is_some_and(|kind| self.log.iter().position(|entry| entry.kind == *kind) == Some(at))
            };
            let dropped = (0..self.log.len()).rev().find(|at| !is_kept(*at));
            self.log.remove(dropped.unwrap_or(LOG_MAX));
        }
    }

    /// Removes the latest log entry of this kind.
    pub fn take_back(&mut self, kind: &str) {
        if let Some(at) = self.log.iter().position(|entry| entry.kind == kind) {
            self.log.remove(at);
        }
    }

    /// The notifications about the set that succeeded: `MDNotifyCmd`, and the event `renewed`.
    pub fn notified_flags(&mut self) -> (&mut bool, &mut bool) {
        match &mut self.pending_notice {
            Some(pending_notice) => (&mut pending_notice.notified, &mut pending_notice.notified_renewed),
            None => (&mut self.notified, &mut self.notified_renewed),
        }
    }

    /// The notifications about the set of this job that are left to be made, where a start has put it into use.
    pub fn notices_due(&self) -> Option<PendingNotice> {
        let Job { notified, notified_renewed, .. } = *self;
        let due = || PendingNotice { notified, notified_renewed, ..PendingNotice::default() };
        (!notified || !notified_renewed).then(due)
    }

    /// Whether both are of one renewal, as far as files hold it.
    pub fn is_same_renewal(&self, other: &Job) -> bool {
        let times = |job: &Job| [job.last_run, job.valid_from].map(|at| at.map(Timestamp::unix));
        times(self) == times(other)
    }

    /// When the latest log entry of this kind was made.
    pub fn latest(&self, kind: &str) -> Option<Timestamp> {
        self.log.iter().find(|e| e.kind == kind).map(|e| e.when)
    }

    /// job.json in staging, whole.
    pub fn to_record(&self) -> Value {
        let mut out = self.to_json();
        if let (Value::Object(fields), Some(auth)) = (&mut out, &self.auth) {
            fields.insert("auth".into(), json!(auth));
        }
        out
    }

    /// The public part of job.json.
    pub fn to_json(&self) -> Value {
        let mut out = self.to_brief_json();
        if let Value::Object(fields) = &mut out
            && !self.log.is_empty()
        {
            let entries: Vec<Value> = self.log.iter().map(LogEntry::to_json).collect();
            fields.insert("log".into(), json!({"entries": entries}));
        }
        out
    }

    /// job.json without its log, as lists of many MDs show it.
    pub fn to_brief_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        put("name", json!(self.name));
        put("finished", json!(self.finished));
        put("notified", json!(self.notified));
        put("notified-renewed", json!(self.notified_renewed));
        self.pending_notice.as_ref().map(|pending_notice| put("untold", pending_notice.to_json()));
        self.next_run.map(|t| put("next-run", json!(t.to_http_date())));
        self.last_run.map(|t| put("last-run", json!(t.to_http_date())));
        self.valid_from.map(|t| put("valid-from", json!(t.to_http_date())));
        put("errors", json!(self.errors));
        put("last", self.last.to_json());
        if !self.retry_state.is_empty() {
            put("pace", self.retry_state.to_json());
        }
        self.waiting.as_ref().map(|waiting| put("waiting", waiting.to_json()));
        self.held_back.as_ref().map(|held| put("held-back", held.to_json()));
        self.trial.as_ref().map(|trial| put("trial", trial.to_json()));
        self.request.as_ref().map(|request| put("request", request.to_json()));
        for (key, flag) in [("notified-activated", self.notified_activated), ("calling", self.calling)] {
            flag.then(|| put(key, json!(true)));
        }
        for (key, value) in &self.extra {
            out.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(out)
    }

    /// Reads job.json; `None` where it is not an object. Fields of wrong types take their defaults, and long
    /// values are cut: workers can write the file, and all of it is shown and logged.
    pub fn from_json(name: &str, value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let flag = |key: &str| fields.get(key).and_then(Value::as_bool).unwrap_or(false);
        let number = |key: &str| {
            fields.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
        };
        let entries = fields.get("log").and_then(|l| l.get("entries")).and_then(Value::as_array);
        let unknown = fields.iter().filter(|(key, _)| !KNOWN_KEYS.contains(&key.as_str()));
        Some(Job {
            name: name.to_string(),
            finished: flag("finished"),
            notified: flag("notified"),
            notified_renewed: flag("notified-renewed"),
            notified_activated: flag("notified-activated"),
            calling: flag("calling"),
            pending_notice: fields.get("untold").and_then(PendingNotice::from_json),
            next_run: date(fields.get("next-run")),
            last_run: date(fields.get("last-run")),
            valid_from: date(fields.get("valid-from")),
            errors: number("errors"),
            last: fields.get("last").map(Outcome::from_json).unwrap_or_default(),
            retry_state: fields.get("pace").map(RetryState::from_json).unwrap_or_default(),
            waiting: fields.get("waiting").and_then(Waiting::from_json),
            held_back: fields.get("held-back").and_then(HeldBack::from_json),
            trial: fields.get("trial").and_then(Trial::from_json),
            request: fields.get("request").and_then(Requested::from_json),
            auth: bounded::name_at(value, "auth"),
            log: entries.into_iter().flatten().filter_map(LogEntry::from_json).take(LOG_MAX).collect(),
            extra: EXTRA_ROOM.take_fields(unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_calls_are_kept_only_with_the_next_call() {
        let untold = |fields: Value| json!({"untold": fields});
        let bare = untold(json!({"notified": false, "notified-renewed": true, "failures": 3}));
        let job = Job::from_json("a.test", &bare).unwrap();
        assert_eq!(job.pending_notice.as_ref().map(|notice| notice.failures), Some(0));
        assert_eq!(Job::from_json("a.test", &job.to_record()), Some(job));
        let next = "Fri, 15 Jan 2027 08:00:00 GMT";
        let fields = json!({"notified": false, "notified-renewed": true, "failures": 3, "next-run": next});
        let job = Job::from_json("a.test", &untold(fields)).unwrap();
        assert_eq!(job.pending_notice.map(|notice| notice.failures), Some(3));
    }

    #[test]
    fn json_is_read_back_with_unknown_keys() {
        let mut job = Job::new("a.test");
        job.errors = 2;
        job.next_run = Some(Timestamp::from_unix(1_700_000_000));
        job.waiting = Some(Waiting {
            what: "issuing".into(),
            since: Timestamp::from_unix(1_650_000_000),
            next: Some(Timestamp::from_unix(1_650_000_060)),
            records: vec!["_validation-persist.a.test. TXT \"ca.test\"".into()],
        });
        job.held_back = Some(HeldBack::new("enough", Timestamp::from_unix(1_750_000_000)));
        job.last = Outcome { status: status::REFUSED, detail: Some("x".into()), ..Outcome::default() };
        job.note(Timestamp::from_unix(1_600_000_000), "progress", None, Some("Creating new order".into()));
        let mut stored = job.to_json();
        stored["ours"] = json!(1);
        let read = Job::from_json("a.test", &stored).unwrap();
        assert_eq!(read.to_json(), stored);
        assert_eq!(stored["last"]["status-description"], json!("Connection refused"));
    }

    #[test]
    fn our_own_keys_are_fields_and_written_only_where_they_say_something() {
        let job = Job { notified_activated: true, calling: true, ..Job::new("a.test") };
        let json = job.to_json();
        assert_eq!((&json["notified-activated"], &json["calling"]), (&json!(true), &json!(true)));
        let read = Job::from_json("a.test", &json).unwrap();
        assert!(read.extra.is_empty() && read.notified_activated && read.calling);
        assert_eq!(read, job);
        let json = Job::new("a.test").to_json();
        assert!(json.get("notified-activated").is_none() && json.get("calling").is_none());
    }

    #[test]
    fn the_log_is_newest_first_and_bounded() {
        let mut job = Job::new("a.test");
        for i in 0..200 {
            job.note(Timestamp::from_unix(i), "progress", None, Some(i.to_string()));
        }
        assert_eq!(job.log.len(), LOG_MAX);
        assert_eq!(job.log[0].detail.as_deref(), Some("199"));
        assert_eq!(job.latest("progress"), Some(Timestamp::from_unix(199)));
        assert_eq!(job.latest("starting"), None);
    }

    /// A domain of many names has more than one entry for each of them.
    #[test]
    fn the_log_keeps_what_limits_events_however_long_a_renewal_is() {
        let mut job = Job::new("a.test");
        for i in 0..300 {
            for kind in ["message-expiring", "message-errored"].into_iter().filter(|_| i % 140 == 0) {
                job.note(Timestamp::from_unix(i), kind, None, None);
            }
            job.note(
                Timestamp::from_unix(i),
                &format!("message-challenge-setup:http-01:{i}.test"),
                None,
                None,
            );
        }
        assert_eq!(job.log.len(), LOG_MAX);
        for kind in ["message-expiring", "message-errored"] {
            assert_eq!(job.latest(kind), Some(Timestamp::from_unix(280)));
        }
        (0..LOG_MAX).for_each(|i| job.note(Timestamp::from_unix(300), &format!("message-{i}"), None, None));
        assert_eq!(
            (job.log.len(), job.latest("message-expiring")),
            (LOG_MAX, None),
            "of others there is no end"
        );
    }

    #[test]
    fn a_job_that_only_notes_past_messages_is_not_begun() {
        let now = Timestamp::from_unix(1_700_000_000);
        let mut job = Job::new("a.test");
        job.note(now, "message-expiring", None, None);
        assert!(!job.is_begun());
        assert!(Job { last_run: Some(now), ..job.clone() }.is_begun());
        assert!(Job { finished: true, ..job.clone() }.is_begun());
        assert!(Job { next_run: Some(now), ..job }.is_begun());
    }

    #[test]
    fn a_command_failing_for_an_expiring_certificate_vetoes_nothing() {
        let warn = |mut job: Job| {
            job.fail_to_warn(MESSAGE_FAILED.into(), "exit code 1".into());
            job
        };
        let job = warn(Job::new("a.test"));
        assert!(job.has_failed_to_warn() && !job.is_vetoed());
        assert!(warn(job).has_failed_to_warn(), "and once more");
        let mut vetoed = Job::new("a.test");
        vetoed.postpone(MESSAGE_FAILED.into(), "not now".into(), Timestamp::from_unix(5));
        assert!(warn(vetoed).is_postponed());
        assert_eq!(warn(Job { errors: 1, ..Job::new("a.test") }).last, Outcome::default());
    }

    #[test]
    fn garbage_fields_take_defaults_and_garbage_files_are_none() {
        let job = Job::from_json("a.test", &json!({"errors": "x", "last": 5, "log": {"entries": [1, {}]}}))
            .unwrap();
        assert_eq!(job, Job::new("a.test"));
        assert_eq!(Job::from_json("a.test", &json!("x")), None);
    }

    #[test]
    fn a_job_of_others_takes_no_more_room_than_one_of_ours_could() {
        let long = "x\u{1b}[2J\n".repeat(2_000);
        let deep = (0..100).fold(json!(1), |inner, _| json!({"a": [inner]}));
        let entry = json!({
            "when": "Thu, 01 Jan 2026 00:00:00 GMT", "type": long, "status": long, "detail": long,
        });
        let planted = json!({
            "last": {
                "problem": long, "detail": long, "activity": long,
                "subproblems": vec![json!({"detail": long, "deep": deep}); 100],
            },
            "pace": {"ca": long, "hold": {"ca": long, "name": long}},
            "trial": {"accepted": false, "reason": long},
            "log": {"entries": vec![entry; 1000]},
            "of-a-stranger": vec![json!([long, deep]); 100],
            (long.clone()): 1,
        });
        let job = Job::from_json("a.test", &planted).unwrap();
        assert_eq!(job.log.len(), LOG_MAX);
        assert!(job.last.detail.as_ref().unwrap().ends_with('…'));
        let kept = job.to_json();
        assert!(kept.to_string().len() < 1024 * 1024, "{}", kept.to_string().len());
        fn assert_plain(value: &Value) {
            match value {
                Value::String(text) => assert!(!text.contains(char::is_control)),
                Value::Array(items) => items.iter().for_each(assert_plain),
                Value::Object(fields) => fields.values().for_each(assert_plain),
                _ => {}
            }
        }
        assert_plain(&kept);
        assert_eq!(Job::from_json("a.test", &kept).unwrap(), job, "it stays as it is");
    }
}
