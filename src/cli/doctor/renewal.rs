// SPDX-License-Identifier: Apache-2.0
//! Checks how renewals go, by their jobs in the store: the last error, waits that a CA demanded, the tries left
//! before the certificate expires, commands that refuse, records that are waited for, OCSP, and whether a
//! process renews at all. The functions below [`look`] are pure.

use super::finding::{Finding, Subject, Verdict, split_advice};
use crate::backoff;
use crate::cli::console::call::Call;
use crate::cli::site::Site;
use crate::cli::site::server;
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::{Job, RenewMode};
use crate::renew::decide::due::Decision;
use crate::renew::decide::urgency::{self, Pressure};
use crate::status::renewal_need::RenewalNeed;
use crate::store::WorkGroup;
use crate::time::{Timestamp, format_duration};
use serde_json::Value;
use std::time::Duration;

/// Of `MDRetryDelay`, where httpd's configuration is not known.
const RETRY_DELAY: Duration = Duration::from_secs(30);
/// Fewer tries than these before the end are few.
const TRIES_FEW: usize = 4;
const TRIES_MAX: usize = 1000;

/// Looks at the renewal of one domain. Returns whether new certificates are due.
pub fn look(site: &Site, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) -> bool {
    let Some(managed) = &subject.managed else { return false };
    let store = site.store.worker();
    let staging = Staging::new(&store, &subject.name);
    // Files that cannot be read have findings of their own.
    let job = staging.job().unwrap_or_default();
    let need = RenewalNeed::new(managed, &staging.ari().unwrap_or_default(), now);
    let is_renewed = managed.md.left_alone().is_none();
    let is_due = is_renewed && matches!(need.decision, Decision::Now(_));
    let before = out.len();
    out.extend(of_manual(managed, matches!(need.decision, Decision::Now(_))));
    if let Some(job) = job.as_ref().filter(|_| is_renewed) {
        let delay = site.configuration.as_ref().and_then(|known| known.retry_delay);
        of_job(managed, job, delay.unwrap_or(RETRY_DELAY), now, out);
    }
    let ocsp = store.read_json(WorkGroup::Ocsp, &subject.name, "job.json").unwrap_or_default();
    out.extend(ocsp.as_ref().and_then(|job| of_ocsp(&subject.name, job)));
    if out.len() == before && is_renewed {
        let when = need.renew_at.filter(|_| !is_due).map(|at| format!(", next at {}", at.to_http_date()));
        let evidence = format!("No renewal has failed or waits{}.", when.unwrap_or_default());
        out.push(Finding::works("renewal", &subject.name, evidence));
    }
    is_due && !job.is_some_and(|job| job.finished)
}

/// `MDRenewMode manual`, which leaves the certificates to the administrator.
fn of_manual(managed: &Managed, is_due: bool) -> Option<Finding> {
    let md = &managed.md;
    if md.renew_mode != RenewMode::Manual || md.has_static_files() {
        return None;
    }
    let finding = Finding::fails(
        "renew-manual",
        &md.name,
        "'MDRenewMode manual' is set, so nobody renews its certificates.",
        "Set 'MDRenewMode auto', or renew by hand: a2md drive.",
    );
    Some(if is_due { finding } else { Finding { verdict: Verdict::Works, ..finding } })
}

fn of_job(managed: &Managed, job: &Job, delay: Duration, now: Timestamp, out: &mut Vec<Finding>) {
    let name = managed.md.name.as_str();
    let pressure = urgency::pressure(&managed.md, &managed.certs, now);
    if job.is_vetoed() {
        let (evidence, _) = text_of(job);
        let next = job.next_run.map(|at| format!(" It is called again at {}.", at.to_http_date()));
        out.push(Finding::fails(
            "renewal-vetoed",
            name,
            format!("A command refused the renewal: {evidence}{}", next.unwrap_or_default()),
            "Find out why MDMessageCmd fails for the event 'renewing': run it as httpd's User.",
        ));
    } else if job.errors > 0 && !job.finished {
        let (evidence, remedy) = text_of(job);
        let evidence = format!("{} failed in a row. The last one: {evidence}", tries(job.errors as usize));
        out.push(Finding::fails("renewal-failing", name, evidence, remedy));
        out.extend(of_tries(name, job, delay, pressure, now));
    }
    out.extend(of_rate_limit(name, job, pressure.end, now));
    out.extend(of_held_back(name, job, pressure.end, now));
    out.extend(of_records(name, job));
}

/// The last error, and what to do.
fn text_of(job: &Job) -> (String, String) {
    let detail = job.last.detail.clone().or_else(|| job.last.problem.clone());
    let detail = detail.unwrap_or_else(|| "it left no reason.".into());
    let (evidence, advice) = split_advice(&detail);
    let look = || "Do what the text says; the error log of httpd has more (LogLevel md:debug).".to_string();
    (evidence, advice.unwrap_or_else(look))
}

fn tries(count: usize) -> String {
    if count == 1 { "1 try".into() } else { format!("{count} tries") }
}

/// How many more tries there are before `end`, by the schedule of retries: the first comes `delay` after an
/// error.
fn tries_left(job: &Job, delay: Duration, longest: Duration, end: Timestamp, now: Timestamp) -> usize {
    let mut at = job.next_run.unwrap_or(now).max(now);
    let mut errors = job.errors;
    for count in 0..TRIES_MAX {
        if at >= end {
            return count;
        }
        errors = errors.saturating_add(1);
        at = at.plus(backoff::delay(errors, delay, longest));
    }
    TRIES_MAX
}

fn of_tries(name: &str, job: &Job, delay: Duration, pressure: Pressure, now: Timestamp) -> Option<Finding> {
    let end = pressure.end.filter(|end| *end > now)?;
    let left = tries_left(job, delay, pressure.longest, end, now);
    let evidence = format!(
        "{} left before the certificate expires in {}, at {}.",
        if left == TRIES_MAX { "Many tries are".into() } else { format!("About {} are", tries(left)) },
        format_duration(end.since(now)),
        end.to_http_date()
    );
    Some(match left < TRIES_FEW {
        true => Finding::fails(
            "tries-left",
            name,
            evidence,
            "Mend the cause now, then try at once: a2md renew --wait.",
        ),
        false => Finding::works("tries-left", name, evidence),
    })
}

/// A wait: it fails where it is longer than the certificate lasts.
fn wait(
    check: &'static str,
    name: &str,
    evidence: String,
    until: Timestamp,
    end: Option<Timestamp>,
    remedy: &str,
) -> Finding {
    let finding = Finding::fails(check, name, evidence, remedy);
    match end {
        Some(end) if end > until => Finding { verdict: Verdict::Works, ..finding },
        _ => finding,
    }
}

fn of_rate_limit(name: &str, job: &Job, end: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let limit = job.retry_state.rate_limit.as_ref().filter(|limit| limit.is_in_force(now))?;
    let until = limit.until.to_http_date();
    let evidence = format!("The CA {} wants no requests for this before {until} (rate limit).", limit.ca);
    let remedy = "Wait: nothing overrides a limit of the CA. Another CA can be named beside it in MDCertificateAuthority.";
    Some(wait("rate-limited", name, evidence, limit.until, end, remedy))
}

fn of_held_back(name: &str, job: &Job, end: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let held = job.held_back.as_ref().filter(|held| held.until > now && !held.is_by_fleet())?;
    let until = held.until.to_http_date();
    let evidence = format!("The renewal is held back until {until}: {}.", held.reason.trim_end_matches('.'));
    let remedy = "Wait, or name another CA beside it in MDCertificateAuthority.";
    Some(wait("renewal-held-back", name, evidence, held.until, end, remedy))
}

fn of_records(name: &str, job: &Job) -> Option<Finding> {
    let waiting = job.waiting.as_ref().filter(|waiting| !waiting.records.is_empty())?;
    Some(Finding::fails(
        "renewal-waits-for-record",
        name,
        format!("The renewal waits since {}: {}", waiting.since.to_http_date(), waiting.what),
        format!("Set in the DNS:\n{}", waiting.records.join("\n")),
    ))
}

/// By `ocsp/NAME/job.json`.
fn of_ocsp(name: &str, job: &Value) -> Option<Finding> {
    let staplings = job.get("staplings").and_then(Value::as_object)?;
    let errors = |state: &&Value| state.get("errors").and_then(Value::as_u64).unwrap_or(0) > 0;
    let failed = staplings.values().find(errors)?;
    let text = |key: &str| failed.get(key).and_then(Value::as_str).unwrap_or("?").to_string();
    Some(Finding::fails(
        "ocsp-failing",
        name,
        format!("The OCSP responder {} gives no response: {}.", text("responder"), text("detail")),
        format!(
            "Try 'curl {}' on this machine: a firewall may have to let it out, or MDHttpProxy is needed.",
            text("responder")
        ),
    ))
}

/// Whether a process renews in this store. `due`: the domains whose certificates are due.
pub fn process(call: &Call, site: &Site, due: &[String], out: &mut Vec<Finding>) {
    let subject = site.dir.display().to_string();
    let (is_ours, renewer) = (site.configuration.is_some(), site.store.renewer());
    out.push(match renewer {
        Ok(Some(holder)) => Finding::works(
            "renewing-process",
            subject,
            format!("Process {} on {} renews in this store.", holder.pid, holder.host),
        ),
        Ok(None) if due.is_empty() => {
            Finding::works("renewing-process", subject, "No process renews now, and none has to.")
        }
        Ok(None) => none_renews(is_ours, server::pid(call, site), subject, due),
        Err(error) => Finding::cannot_be_told(
            "renewing-process",
            subject,
            format!("{error}."),
            error.advice().unwrap_or_else(|| "Call a2md as root.".into()),
        ),
    });
}

/// Nobody renews, and somebody has to. `running`: an httpd of which the store says nothing.
fn none_renews(is_ours: bool, running: Option<u32>, subject: String, due: &[String]) -> Finding {
    let due = due.join(", ");
    match (is_ours, running) {
        (true, Some(pid)) => Finding::fails(
            "renewing-process",
            subject,
            format!(
                "New certificates are due, and the httpd that runs (process {pid}) renews nothing: {due}."
            ),
            "Restart it, if it was started with another module or configuration. Its error log says why no child renews \
             (AH10062, or another MDStoreDir).",
        ),
        (true, None) => Finding::fails(
            "renewing-process",
            subject,
            format!("New certificates are due, and no httpd renews: {due}."),
            "Start httpd. Where it runs, its error log says why no child renews (AH10062, or another MDStoreDir).",
        ),
        (false, Some(pid)) => Finding::cannot_be_told(
            "renewing-process",
            subject,
            format!(
                "New certificates are due, and httpd runs (process {pid}) without a word that it renews: {due}."
            ),
            "Its error log says what it does: mod_md 2.x renews and does not say so here.",
        ),
        (false, None) => Finding::cannot_be_told(
            "renewing-process",
            subject,
            format!("New certificates are due, and no process says that it renews: {due}."),
            "Start httpd if it does not run. mod_md 2.x does not say so.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::HeldBack;
    use crate::model::{RateLimit, RetryState, Scope};
    use crate::time::DAY;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn failed(errors: u32, next: Duration) -> Job {
        Job { errors, next_run: Some(NOW.plus(next)), ..Job::new("a.test") }
    }

    #[test]
    fn tries_left_follow_the_schedule_of_retries() {
        for (errors, delay, next, left, expected) in [
            // 30 s doubled up to a day: 0, 60, 180, 420, …
            (1, RETRY_DELAY, Duration::ZERO, Duration::from_secs(200), 3),
            (1, RETRY_DELAY * 10, Duration::ZERO, Duration::from_secs(200), 1),
            (20, RETRY_DELAY, Duration::ZERO, DAY * 3, 3),
            (20, RETRY_DELAY, DAY * 5, DAY * 3, 0),
            (20, RETRY_DELAY, DAY, DAY * 30, 29),
        ] {
            let left = tries_left(&failed(errors, next), delay, DAY, NOW.plus(left), NOW);
            assert_eq!(left, expected, "{errors} {delay:?}");
        }
    }

    #[test]
    fn few_tries_fail_and_many_do_not() {
        let of = |left: u32| {
            let end = Some(NOW.plus(DAY * left));
            let pressure = Pressure { urgency: urgency::Urgency::Late, late_at: None, longest: DAY, end };
            of_tries("a.test", &failed(20, DAY), RETRY_DELAY, pressure, NOW).map(|finding| finding.verdict)
        };
        assert_eq!([of(3), of(30)], [Some(Verdict::Fails), Some(Verdict::Works)]);
    }

    #[test]
    fn a_wait_fails_where_it_lasts_longer_than_the_certificate() {
        let (since, until) = (NOW, NOW.plus(DAY * 2));
        let rate_limit = Some(RateLimit { ca: "https://ca.test/".into(), scope: Scope::Ca, since, until });
        let job = Job {
            held_back: Some(HeldBack::new("limit", until)),
            retry_state: RetryState { rate_limit, ..RetryState::default() },
            ..Job::new("a.test")
        };
        for (end, verdict) in [
            (None, Verdict::Fails),
            (Some(NOW.plus(DAY)), Verdict::Fails),
            (Some(NOW.plus(DAY * 3)), Verdict::Works),
        ] {
            assert_eq!(of_rate_limit("a.test", &job, end, NOW).unwrap().verdict, verdict);
            assert_eq!(of_held_back("a.test", &job, end, NOW).unwrap().verdict, verdict);
        }
        assert_eq!(of_rate_limit("a.test", &job, None, until), None);
        assert_eq!(of_held_back("a.test", &job, None, until), None);
    }

    #[test]
    fn the_error_of_a_job_is_split_from_its_advice() {
        let mut job = failed(1, DAY);
        job.last.detail = Some("the CA says: no. What to do: Ask it.".into());
        assert_eq!(text_of(&job), ("the CA says: no.".into(), "Ask it.".into()));
    }

    #[test]
    fn a_failing_responder_is_named() {
        let job = json!({"staplings": {"aa": {"errors": 0}, "bb": {"errors": 3, "detail": "refused", "responder": "http://o"}}});
        let found = of_ocsp("a.test", &job).unwrap();
        assert!(found.evidence.contains("http://o") && found.evidence.contains("refused"), "{found:?}");
        assert_eq!(of_ocsp("a.test", &json!({"staplings": {"aa": {"errors": 0}}})), None);
    }
}
