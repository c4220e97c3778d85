// SPDX-License-Identifier: Apache-2.0
//! Reports the outcome of requests: to `ocsp/OWNER/job.json` with the state of each certificate, to the log,
//! and to the admin's commands. Runs in its own thread, so that a slow command or disk delays no request.

use crate::model::Job;
use crate::model::bounded::Room;
use crate::model::job::{Outcome, status};
use crate::notify::{Commands, Event};
use crate::ocsp::subject::id_of_hex;
use crate::ocsp::{Cache, Response, Status, Subject};
use crate::store::{WorkGroup, WorkStore};
use crate::time::{AtWork, Clock, Timestamp, format_duration};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

pub const JOB_FILE: &str = "job.json";
/// The key of job.json with the state of each certificate, by its id.
pub const STAPLINGS: &str = "staplings";
/// Of thousands of certificates.
const STAPLINGS_ROOM: Room = Room { values: 65_536, text: 2 * 1024 * 1024 };

/// A certificate that waits in staging is not known in the first moments of a process.
const RECENT: Duration = Duration::from_secs(600);

/// The end of one request.
pub struct Report {
    pub subject: Arc<Subject>,
    pub end: End,
    /// When it is asked for again.
    pub next: Timestamp,
}

pub enum End {
    /// Another response than before.
    Renewed(Arc<Response>),
    /// The responder still has the same.
    Same,
    Failed {
        reason: String,
        /// In a row.
        failures: u32,
        /// The date that the responder asked for.
        retry_after: Option<Timestamp>,
        /// The end of the response that is stapled meanwhile.
        current_until: Option<Timestamp>,
    },
}

/// Takes in reports until the last sender is dropped. Between them it is not at work: the end of the process
/// does not wait for an idle thread.
pub fn run(
    reports: &Receiver<(Report, AtWork)>,
    store: &WorkStore,
    cache: &Cache,
    commands: &Commands,
    clock: &dyn Clock,
) {
    let mut unsaved = BTreeMap::new();
    while let Ok(first) = reports.recv() {
        let (all, _at_work): (Vec<_>, Vec<_>) = std::iter::once(first).chain(reports.try_iter()).unzip();
        let mut by_owner: BTreeMap<String, Vec<Report>> = BTreeMap::new();
        for report in all {
            by_owner.entry(report.subject.owner.clone()).or_default().push(report);
        }
        for (owner, reports) in by_owner {
            report_all(&owner, &reports, &mut unsaved, (store, cache, commands, clock));
        }
    }
}

/// Reports all requests of one owner at once. `unsaved`: states that could not be written, by owner: without
/// them commands would be called for each failure instead of once in an hour.
fn report_all(
    owner: &str,
    reports: &[Report],
    unsaved: &mut BTreeMap<String, Value>,
    (store, cache, commands, clock): (&WorkStore, &Cache, &Commands, &dyn Clock),
) {
    let kept = unsaved.remove(owner);
    let is_known = kept.is_some();
    let mut stored = kept.or_else(|| store.read_json(WorkGroup::Ocsp, owner, JOB_FILE).unwrap_or_default());
    let staplings = stored.as_mut().and_then(|job| job.get_mut(STAPLINGS)).map(Value::take);
    let mut job = stored.and_then(|json| Job::from_json(owner, &json)).unwrap_or_else(|| Job::new(owner));
    let now = clock.now();
    let mut staplings = match staplings.and_then(|staplings| STAPLINGS_ROOM.take(&staplings)) {
        Some(Value::Object(staplings)) => staplings,
        _ => Map::new(),
    };
    let is_recent = |state: &Value| {
        let last = state.get("last-run").and_then(Value::as_str).and_then(Timestamp::parse_http_date);
        last.is_some_and(|last| now.since(last) < RECENT)
    };
    staplings.retain(|id, state| is_recent(state) || is_stapled(cache, id));
    let mut events = Vec::new();
    for report in reports {
        log(report, now);
        staplings.insert(report.subject.id_hex(), state(report, now));
        events.extend(note(&mut job, report, now));
    }
    for event in [Event::OcspRenewed, Event::OcspErrored] {
        if events.contains(&event) {
            // That a command failed is in the log; nothing depends on it.
            let _ = commands.fire(&event, &mut job, clock);
        }
    }
    let mut json = job.to_json();
    json[STAPLINGS] = Value::Object(staplings);
    if let Err(error) = store.write_json(WorkGroup::Ocsp, owner, JOB_FILE, &json) {
        if !is_known {
            crate::log!(
                Error,
                "md[{owner}]: cannot save the state of its OCSP requests, which is kept in memory until that works: {}",
                error.advised()
            );
        }
        unsaved.insert(owner.to_string(), json);
    }
}

/// `id`: of a certificate, in hex.
fn is_stapled(cache: &Cache, id: &str) -> bool {
    id_of_hex(id).is_some_and(|id| cache.find(&id).is_some())
}

/// Notes the end of one request in the job. Returns the event for the commands.
fn note(job: &mut Job, report: &Report, now: Timestamp) -> Option<Event> {
    job.last_run = Some(now);
    job.next_run = Some(report.next);
    match &report.end {
        End::Renewed(response) => {
            job.errors = 0;
            job.last = Outcome { valid_from: Some(response.from), ..Outcome::default() };
            let detail = format!(
                "got an OCSP response for the certificate with serial {}: {}, valid until {}",
                report.subject.serial_hex,
                response.status.word(),
                response.until.to_http_date()
            );
            job.note(now, "progress", None, Some(detail));
            Some(Event::OcspRenewed)
        }
        End::Same => {
            job.errors = 0;
            job.last = Outcome::default();
            None
        }
        End::Failed { reason, failures, .. } => {
            job.errors = *failures;
            job.last = Outcome {
                status: status::GENERAL,
                problem: Some("urn:org:apache:httpd:log:ocsp:".into()),
                detail: Some(reason.clone()),
                activity: Some(format!("Asking {} for OCSP", report.subject.responder)),
                ..Outcome::default()
            };
            job.note(now, "ocsp-error", None, Some(reason.clone()));
            Some(Event::OcspErrored)
        }
    }
}

/// The facts about a certificate that status pages show beside its response.
fn state(report: &Report, now: Timestamp) -> Value {
    let subject = &report.subject;
    let mut state = json!({
        "serial": subject.serial_hex,
        "responder": subject.responder,
        "next-run": report.next.to_http_date(),
        "last-run": now.to_http_date(),
        "errors": 0,
    });
    if let End::Failed { reason, failures, retry_after, .. } = &report.end {
        state["errors"] = json!(failures);
        state["detail"] = json!(reason);
        if let Some(at) = retry_after {
            state["retry-after"] = json!(at.to_http_date());
        }
    }
    state
}

fn log(report: &Report, now: Timestamp) {
    let Subject { owner, serial_hex, responder, .. } = report.subject.as_ref();
    match &report.end {
        End::Renewed(response) => {
            crate::log!(
                Info,
                "md[{owner}]: OCSP response for the certificate with serial {serial_hex}: {}, valid until {}",
                response.status.word(),
                response.until.to_http_date()
            );
            if let Status::Revoked(since) = response.status {
                crate::log!(
                    Error,
                    "AH10500: md[{owner}]: the certificate with serial {serial_hex} was revoked by its CA at {}. A managed one is renewed at \
                     once; find out why it was revoked, because others may have its private key",
                    since.to_http_date()
                );
            }
        }
        End::Same => {
            crate::log!(Debug, "md[{owner}]: {responder} has no newer OCSP response for serial {serial_hex}");
        }
        End::Failed { reason, current_until, .. } => {
            let meanwhile = match current_until {
                Some(until) => format!("The response in use holds until {}", until.to_http_date()),
                None => "Nothing is stapled meanwhile".to_string(),
            };
            let wait = format_duration(Duration::from_secs(report.next.since(now).as_secs().max(1)));
            crate::log!(
                Warn,
                "md[{owner}]: no new OCSP response for the certificate with serial {serial_hex} from {responder}: \
                 {reason}. {meanwhile}. Next try in {wait}. If this persists, try 'curl {responder}' on this machine: a firewall may \
                 have to let it out, or you configure MDHttpProxy."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ocsp::Entry;
    use crate::ocsp::fixture::{self, Responder};
    use crate::store::{Fuse, StartStore};
    use crate::time::{At, SystemClock};

    /// As where the disk is full.
    #[test]
    fn commands_run_once_an_hour_though_the_job_cannot_be_saved() {
        let dir = tempfile::tempdir().unwrap();
        let (path, calls) = (dir.path().join("md"), dir.path().join("calls"));
        let fuse = Fuse::after(usize::MAX);
        let store = StartStore::open_with(&path, None, fuse.clone()).unwrap().worker();
        fuse.blow();
        let message = Some(format!("/bin/sh -c 'echo \"$@\" >> {}' sh", calls.display()));
        let commands = Commands { message, notify: None };
        let subject = Arc::new(fixture::subject(&Responder::new(), "http://r.test/"));
        let owner = subject.owner.clone();
        let clock = SystemClock::default();
        let mut unsaved = BTreeMap::new();
        let mut fail = |failures| {
            let reason = String::from("no answer");
            let end = End::Failed { reason, failures, retry_after: None, current_until: None };
            let report = Report { subject: subject.clone(), end, next: clock.now() };
            report_all(&owner, &[report], &mut unsaved, (&store, &Cache::default(), &commands, &clock));
            unsaved.len()
        };
        assert_eq!([fail(1), fail(2)], [1, 1]);
        fuse.mend();
        assert_eq!(fail(3), 0);
        assert_eq!(std::fs::read_to_string(calls).unwrap(), format!("ocsp-errored {owner}\n"));
        let json = store.read_json(WorkGroup::Ocsp, &owner, JOB_FILE).unwrap().unwrap();
        assert_eq!((&json["errors"], json["staplings"].as_object().unwrap().len()), (&json!(3), 1));
    }

    #[test]
    fn states_of_certificates_that_are_stapled_no_more_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        let (clock, responder) = (SystemClock::default(), Responder::new());
        let subject = |number: u8| {
            let mut subject = fixture::subject(&responder, "http://r.test/");
            subject.id[0] = number;
            Arc::new(subject)
        };
        let (stapled, past, new) = (subject(1), subject(2), subject(3));
        let cache =
            Cache::new([&stapled, &new].map(|subject| Entry { subject: subject.clone(), response: None }));
        let known = || {
            let json = store.read_json(WorkGroup::Ocsp, &stapled.owner, JOB_FILE).unwrap().unwrap();
            json[STAPLINGS].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let report = |subject: &Arc<Subject>, at: Timestamp| {
            let report = Report { subject: subject.clone(), end: End::Same, next: at };
            let commands = Commands::default();
            report_all(&subject.owner, &[report], &mut BTreeMap::new(), (&store, &cache, &commands, &At(at)));
        };
        let now = clock.now();
        let ids =
            |subjects: &[&Arc<Subject>]| subjects.iter().map(|subject| subject.id_hex()).collect::<Vec<_>>();
        report(&stapled, now);
        report(&past, now);
        assert_eq!(known(), ids(&[&stapled, &past]));
        report(&new, now.plus(RECENT / 2));
        assert_eq!(known(), ids(&[&stapled, &past, &new]), "it may be known in a moment");
        report(&new, now.plus(RECENT));
        assert_eq!(known(), ids(&[&stapled, &new]));
    }
}
