// SPDX-License-Identifier: Apache-2.0
//! A renewal has failed, was put off, or waits for its CA: log, job and events say so, and when the next try
//! is.

use super::next::Next;
use super::peers::save_outcome;
use super::saving::{save, save_notified};
use crate::acme;
use crate::acme::error::out_of_reach;
use crate::backoff;
use crate::managed::saved_order::Wait;
use crate::model::outcome::quoted;
use crate::model::{Job, Outcome, RequestState};
use crate::notify::{self, Event};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::attempt::sharing::Sharing;
use crate::renew::decide::error::Error;
use crate::renew::decide::remedies;
use crate::renew::decide::remedies::Facts;
use crate::renew::decide::retry;
use crate::renew::decide::retry::Failure;
use crate::renew::decide::urgency::pressure;
use crate::time::Timestamp;
use std::time::Duration;

/// A wait for the next try so long that a restart is worth it once the cause is mended.
const LONG: Duration = Duration::from_secs(3600);

/// Records a failure in log, job and events. `ca` is the one that was asked. Returns when to try
/// again.
pub(super) fn failed(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    ca: Option<&str>,
    error: &Error,
) -> Next {
    failed_for_all(renewal, running, ca, error, &mut Sharing::none())
}

/// The same for all nodes of a fleet.
pub(super) fn failed_for_all(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    ca: Option<&str>,
    error: &Error,
    sharing: &mut Sharing<'_>,
) -> Next {
    let (now, target) = (renewal.now(), renewal.target);
    let failure = Failure::of(error, ca, &target.md.domains, now);
    if let Some(rate_limit) = &failure.rate_limit {
        renewal.limit(rate_limit);
    }
    let pressure = pressure(&target.md, &target.served(), now);
    let (urls, random) = (&target.md.ca.urls, renewal.context.random());
    let job = &mut running.job;
    job.waiting = None;
    let at = retry::failed(job, &failure, urls, pressure, renewal.settings().retry, random, now);
    let is_for_validations = retry::validation_pause(&job.retry_state, now) == Some(at);
    let facts = Facts { ca, until: failure.rate_limit.map(|limit| limit.until), ..Facts::of(target) };
    let detail = described(error, &facts, is_for_validations, at.since(now));
    job.last = Outcome {
        status: error.status(),
        problem: error.problem(),
        detail: Some(detail.clone()),
        activity: job.last.activity.take(),
        valid_from: None,
        subproblems: error.subproblems(),
    };
    renewal.context.metrics.failed(job.last.problem.as_deref());
    log_failure(job, error, &detail, now, at);
    job.note(now, "renewal-error", job.last.problem.clone(), Some(detail.clone()));
    running.answer(RequestState::Failed, Some(detail));
    save(running);
    // A node that may not say so any more has logged that.
    let _ = save_outcome(running, sharing, at);
    // The failure is recorded already; the log shows that this command failed, too.
    let _ = running.fire(&renewal.settings().commands, &Event::Errored);
    save_notified(renewal, running);
    Next::At(at)
}

/// The failure and the advice on it, as text. `wait`: until the next try.
fn described(error: &Error, facts: &Facts<'_>, is_for_validations: bool, wait: Duration) -> String {
    let mut detail = remedies::explain(error, facts);
    if is_for_validations {
        detail.push_str(
            " Five validations failed within an hour, and CAs allow no more: the next try waits for that.",
        );
    } else if facts.until.is_none() && wait >= LONG {
        detail.push_str(" Once that is mended, a graceful restart of httpd has it tried at once.");
    }
    // The words of the C module that people search for: they are long, and the same for all causes.
    if let Some(known) = in_known_words(error) {
        detail.push(' ');
        detail.push_str(&quoted(&known));
    }
    detail
}

fn log_failure(job: &Job, error: &Error, detail: &str, now: Timestamp, at: Timestamp) {
    let name = &job.name;
    crate::log!(
        Warn,
        status = error.os_error(),
        "md[{name}] while[{}] {}detail[{error}]",
        job.last.activity.as_deref().unwrap_or_default(),
        job.last.problem.as_ref().map(|p| format!("problem[{p}] ")).unwrap_or_default()
    );
    let wait = readable(at.since(now));
    crate::log!(
        Error,
        status = error.os_error(),
        "AH10056: processing {name}: {detail} Next try in {wait}, at {}.",
        at.to_http_date()
    );
    crate::log!(Info, "AH10057: {name}: encountered error for the {}. time, next run in {wait}", job.errors);
}

/// The command for `renewing` refuses a renewal for now, which is no error. Returns when it is called again:
/// at the next regular check, and by no look before that.
pub(super) fn postponed(renewal: &Renewal<'_>, running: &mut Running<'_>, veto: notify::Failed) -> Next {
    let now = renewal.now();
    let at = now.plus(backoff::spread(renewal.settings().check_interval, renewal.context.random()));
    let job = &mut running.job;
    crate::log!(
        Info,
        "AH10060: {}: the command for 'renewing' failed, the renewal is postponed until {}: {veto}",
        job.name,
        at.to_http_date()
    );
    let until = at.to_http_date();
    let detail = format!(
        "{}: the renewal is postponed until {until}. A graceful restart of httpd has the command called at once.",
        veto.detail
    );
    job.postpone(veto.problem, detail.clone(), at);
    running.answer(RequestState::Failed, Some(detail));
    save(running);
    Next::At(at)
}

/// The CA is at work on the order, which is no error. Returns when it is asked again.
pub(super) fn waiting(renewal: &Renewal<'_>, running: &mut Running<'_>, wait: Wait) -> Next {
    let now = renewal.now();
    let Wait { waiting, until } = wait;
    let (until, what) = (until.ceil(), waiting.what.as_str());
    let job = &mut running.job;
    let [took, left] = [now.since(waiting.since), until.since(now)].map(readable);
    let text =
        format!("the CA has been {what} for {took} and is asked again in {left}; nothing needs to be done");
    job.last.detail = Some(format!(
        "The CA has been {what} since {}, and is asked again at {}. Nothing needs to be done.",
        waiting.since.to_http_date(),
        until.to_http_date()
    ));
    let is_new = job.waiting.as_ref().is_none_or(|known| known.what != waiting.what);
    if is_new {
        crate::log!(Notice, "md[{}]: {text}", job.name);
        job.note(now, "progress", None, Some(text));
    } else {
        crate::log!(Debug, "md[{}]: {text}", job.name);
    }
    (job.waiting, job.next_run) = (Some(waiting), Some(until));
    let detail = job.last.detail.clone();
    running.answer(RequestState::Running, detail);
    // If this is lost, it costs one more look.
    if let Err(error) = running.show() {
        running.report_unsaved(&error);
    }
    Next::At(until)
}

fn in_known_words(error: &Error) -> Option<String> {
    match (error, error.acme()) {
        (Error::ChallengeSetup { offered, domain, .. }, _) => Some(format!(
            "None of the offered challenge types {offered} offered for domain {domain} could be setup successfully. \
             Please check the log for errors."
        )),
        (_, Some(acme::Error::Transport { url, .. })) => Some(out_of_reach(url)),
        _ => None,
    }
}

/// A wait at a glance, rounded up: in seconds, from two minutes on in minutes, from two hours on in hours.
fn readable(wait: Duration) -> String {
    let seconds = wait.as_secs().max(1);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_written_in_the_unit_that_fits() {
        let written = |secs| readable(Duration::from_secs(secs));
        assert_eq!(
            [written(0), written(59), written(601), written(35_990)],
            ["1 second", "59 seconds", "11 minutes", "10 hours"]
        );
        assert_eq!(written(124_721), "35 hours");
    }
}
