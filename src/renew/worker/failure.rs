// SPDX-License-Identifier: Apache-2.0
//! A renewal has failed, waits or is held back: what is told to whom, and when the next try is.

use super::check::{Engine, Next};
use crate::acme;
use crate::acme::error::out_of_reach;
use crate::acme::limits;
use crate::managed::Managed;
use crate::managed::bundle::Bundle;
use crate::managed::saved_order::Wait;
use crate::managed::staging::Staging;
use crate::model::ledger::Cause;
use crate::model::{HeldBack, Job, Outcome, RetryState};
use crate::notify::{self, Event};
use crate::renew::attempt::progress::Running;
use crate::renew::decide::brake;
use crate::renew::decide::brake::Request;
use crate::renew::decide::due;
use crate::renew::decide::error::Error;
use crate::renew::decide::order_queue::OrderQueue;
use crate::renew::decide::rate_limits::RateLimits;
use crate::renew::decide::remedies;
use crate::renew::decide::remedies::Facts;
use crate::renew::decide::retry;
use crate::renew::decide::retry::Failure;
use crate::renew::decide::urgency;
use crate::renew::decide::urgency::{Pressure, Urgency};
use crate::store::{WorkGroup, WorkStore};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// A wait for the next try that who has mended the cause need not sit out.
const LONG: Duration = Duration::from_secs(3600);

/// Of a certificate that cannot be used.
const UNKNOWN_LIFETIME: Duration = DAY.saturating_mul(90);

impl Engine {
    /// Records a failure in log, job and events. `ca` is the one that was asked. The answer is when to try
    /// again.
    pub(crate) fn failed(
        &self,
        target: &Managed,
        running: &mut Running<'_>,
        ca: Option<&str>,
        error: &Error,
    ) -> Next {
        let clock = self.clock().as_ref();
        let now = clock.now();
        let name = &target.md.name;
        let failure = Failure::of(error, ca, &target.md.domains, now);
        if let Some(hold) = &failure.hold {
            self.holds().add(hold, now);
        }
        let pressure = urgency::pressure(&target.md, &target.served(), now);
        let job = &mut running.job;
        job.waiting = None;
        let retry = self.settings().retry;
        let at = retry::failed(job, &failure, &target.md.ca.urls, pressure, retry, self.random(), now);
        let apr_status = error.status();
        let until = failure.hold.as_ref().map(|hold| hold.until);
        let mut detail = remedies::explain(error, &Facts { ca, until, ..Facts::of(target) });
        if retry::validation_pause(&job.pace, now) == Some(at) {
            detail.push_str(" Five validations failed within an hour, and CAs allow no more: the next try waits for that.");
        } else if failure.hold.is_none() && at.since(now) >= LONG {
            detail.push_str(" Once that is mended, a graceful restart of httpd has it tried at once.");
        }
        // What people search for in the words of the C module: it is long, and the same for all causes.
        if let Some(known) = in_known_words(error) {
            detail.push(' ');
            detail.push_str(&known);
        }
        job.last = Outcome {
            status: apr_status,
            problem: error.problem(),
            detail: Some(detail.clone()),
            activity: job.last.activity.take(),
            valid_from: None,
            subproblems: error.subproblems(),
        };
        let problem = job.last.problem.as_deref();
        self.tally().failed(problem);
        crate::log!(
            Warn,
            status = error.os_error(),
            "md[{name}] while[{}] {}detail[{error}]",
            job.last.activity.as_deref().unwrap_or_default(),
            problem.map(|p| format!("problem[{p}] ")).unwrap_or_default()
        );
        let wait = readable(at.since(now));
        crate::log!(
            Error,
            status = error.os_error(),
            "AH10056: processing {name}: {detail} Next try in {wait}, at {}.",
            at.to_http_date()
        );
        crate::log!(
            Info,
            "AH10057: {name}: encountered error for the {}. time, next run in {wait}",
            job.errors
        );
        job.note(now, "renewal-error", job.last.problem.clone(), Some(detail));
        self.save(running);
        // The failure is recorded already; that this command failed too stands in the log.
        let _ = running.tell(&self.settings().commands, &Event::Errored);
        self.save_told(running);
        Next::At(at)
    }

    /// The command for `renewing` wants no renewal here and now, which is no error. The answer is when it is
    /// called again: at the next regular check, and by no look before that.
    pub(crate) fn postponed(&self, running: &mut Running<'_>, veto: notify::Failed) -> Next {
        let now = self.clock().now();
        let at = now.plus(due::spread(self.settings().check_interval, self.random()));
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
        job.postpone(veto.problem, detail, at);
        self.save(running);
        Next::At(at)
    }

    /// The CA is at work on the order, which is no error. The answer is when it is asked again.
    pub(crate) fn waiting(&self, running: &mut Running<'_>, wait: Wait) -> Next {
        let now = self.clock().now();
        let Wait { waiting, until } = wait;
        let (until, what) = (until.ceil(), waiting.what.as_str());
        let job = &mut running.job;
        let [took, left] = [now.since(waiting.since), until.since(now)].map(readable);
        let text = format!(
            "the CA has been {what} for {took} and is asked again in {left}; nothing needs to be done"
        );
        job.last.detail = Some(format!(
            "The CA has been {what} since {}, and is asked again at {}. Nothing needs to be done.",
            waiting.since.to_http_date(),
            until.to_http_date()
        ));
        let is_news = job.waiting.as_ref().is_none_or(|known| known.what != waiting.what);
        if is_news {
            crate::log!(Notice, "md[{}]: {text}", job.name);
            job.note(now, "progress", None, Some(text));
        } else {
            crate::log!(Debug, "md[{}]: {text}", job.name);
        }
        (job.waiting, job.next_run) = (Some(waiting), Some(until));
        // What is lost of this costs one more look.
        if let Err(error) = running.show() {
            running.report_unsaved(&error);
        }
        Next::At(until)
    }

    /// Until when a renewal that is due does not begin, because so much was issued lately. One that has begun
    /// is finished.
    pub(crate) fn held_back(
        &self,
        target: &Managed,
        running: &mut Running<'_>,
        cause: Cause,
    ) -> Option<Timestamp> {
        let now = self.clock().now();
        let name = &target.md.name;
        // The CA that is asked first: what another one has issued counts all the same.
        let ca = running.job.pace.ca.as_ref().or(target.md.ca.urls.first()).cloned().unwrap_or_default();
        let request = self.request(target, &ca, cause);
        let ledger = Staging::new(self.store(), name).ledger();
        // What has begun is finished, unless something has been issued since: in vain, then.
        let latest = ledger.entries().iter().map(|issued| issued.at).filter(|at| *at <= now).max();
        let begun = running.job.last_run.filter(|_| !running.job.finished);
        let is_begun = begun.is_some_and(|begun| latest.is_none_or(|latest| latest.unix() < begun.unix()));
        let held = brake::brake(&ledger, &request, now).filter(|_| !is_begun);
        // Whoever writes in staging can write a ledger.
        let end = urgency::pressure(&target.md, &target.served(), now).end;
        let held = held.zip(latest).map(|(held, latest)| {
            let until = held.until.min(latest.plus(urgency::patience(end, latest).max(DAY)));
            HeldBack { until, ..held }
        });
        let turn = self.turn(&request, end);
        let is_turn =
            turn.as_ref().is_some_and(|turn| held.as_ref().is_none_or(|held| held.until < turn.until));
        let held = if is_turn { turn } else { held };
        let Some(held) = held.filter(|held| held.until > now) else {
            self.release(running);
            return None;
        };
        let job = &mut running.job;
        let until = held.until;
        let is_noted = job.held_back.as_ref().is_some_and(|known| known.until == until);
        if self.is_news(name, until) || !is_noted {
            let text = format!("it is held back until {}, because {}", until.to_http_date(), held.reason);
            let advice = advice_on_brake(is_turn, cause);
            let message =
                format!("md[{name}]: its certificates are due for renewal, but {text}. What to do: {advice}");
            // There may be thousands of these, and nothing is wrong.
            if is_turn {
                crate::log!(Info, "{message}");
            } else {
                crate::log!(Warn, "{message}");
            }
            if !is_noted {
                job.note(now, "progress", None, Some(format!("The renewal is due, but {text}.")));
            }
            if !job.finished && job.errors == 0 {
                let detail = Some(format!("The renewal is due, but {text}. What to do: {advice}"));
                job.last = Outcome { detail, ..Outcome::default() };
                job.next_run = Some(until);
            } else if !job.finished {
                job.next_run = job.next_run.max(Some(until));
            }
            job.held_back = Some(held);
            self.save(running);
        }
        Some(until)
    }

    /// Until when this renewal is not to place orders, as others come first. An order that it has is gone on
    /// with, and a certificate that would end meanwhile does not wait for that.
    fn turn(&self, request: &Request<'_>, end: Option<Timestamp>) -> Option<HeldBack> {
        let (now, name) = (self.clock().now(), request.md.name.as_str());
        limits::of(request.ca)?;
        if matches!(Staging::new(self.store(), name).order(), Ok(Some(_))) {
            return None;
        }
        let mut queue = self.queue();
        let held = queue.take_place(request, now)?;
        let since = queue.waits_since(request.ca, name).unwrap_or(now);
        let until =
            end.map_or(held.until, |end| held.until.min(since.plus(urgency::patience(Some(end), since))));
        (until > now).then_some(HeldBack { until, ..held })
    }

    /// An order is about to be placed at this CA: it counts, whatever comes of it.
    pub(crate) fn note_order(&self, name: &str, ca: &str) {
        if limits::of(ca).is_none() {
            return;
        }
        let now = self.clock().now();
        self.queue().place(ca, name, now);
        let staging = Staging::new(self.store(), name);
        let mut ledger = staging.ledger();
        ledger.place(ca, now);
        if let Err(error) = staging.save_ledger(&ledger) {
            crate::log!(Warn, "md[{name}]: that an order was placed cannot be noted: {error}");
        }
    }

    /// A renewal waits, and so far this process has not told that it does until then. Where its certificate
    /// is missing or soon ends, somebody should know: the wait is what a file says, and there is no error.
    pub(crate) fn tell_wait(&self, name: &str, pressure: &Pressure, until: Timestamp, whose: &str) {
        let now = self.clock().now();
        let until_date = until.to_http_date();
        if !self.is_news(name, until) {
            return;
        }
        let state = match (pressure.urgency, pressure.end) {
            (Urgency::Usual, _) => {
                crate::log!(Info, "md[{name}]: Waiting until {until_date}: {whose}");
                return;
            }
            (_, Some(end)) if end <= now => format!("its certificate has expired at {}", end.to_http_date()),
            (_, Some(end)) => format!("its certificate expires at {}", end.to_http_date()),
            (_, None) => "it has no usable certificate".into(),
        };
        crate::log!(
            Warn,
            "md[{name}]: {state}, and its renewal waits until {until_date}: {whose}, says job.json in staging, of this domain \
             or of another one. Should that be wrong, remove it and restart httpd gracefully."
        );
    }

    /// The renewal is not held back any more.
    pub(crate) fn release(&self, running: &mut Running<'_>) {
        let job = &mut running.job;
        if job.held_back.take().is_some() {
            if !job.finished && job.errors == 0 {
                (job.last, job.next_run) = (Outcome::default(), None);
            }
            self.save(running);
        }
    }

    fn request<'r>(&self, target: &'r Managed, ca: &'r str, cause: Cause) -> Request<'r> {
        let served = target.served();
        let is_known = served.iter().any(|(_, cert)| cert.as_ref().is_some_and(|c| c.ari_cert_id.is_some()));
        let is_of_this_ca = target.current().ca.url.as_deref() == Some(ca);
        let is_replacement = target.md.ari_renewals && is_known && is_of_this_ca;
        Request { md: &target.md, ca, cause, is_replacement }
    }

    /// `sets`: what was got; without, it was issued in vain.
    pub(crate) fn note_issued(&self, target: &Managed, ca: &str, cause: Cause, sets: Option<&[Bundle]>) {
        let staging = Staging::new(self.store(), &target.md.name);
        let lifetimes = sets.into_iter().flatten().map(|set| set.info.not_after.since(set.info.not_before));
        let lifetime = lifetimes.min().unwrap_or(UNKNOWN_LIFETIME);
        let mut ledger = staging.ledger();
        let request = self.request(target, ca, cause);
        ledger.add(brake::issued(&request, lifetime, sets.map_or(1, <[_]>::len), self.clock().now()));
        if let Err(error) = staging.save_ledger(&ledger) {
            crate::log!(
                Warn,
                "md[{}]: what was issued cannot be saved, and does not count for limits: {error}",
                target.md.name
            );
        }
    }

    pub(crate) fn save(&self, running: &mut Running<'_>) {
        if let Err(error) = running.save() {
            running.report_unsaved(&error);
        }
    }

    /// A bug ended the job's thread: an error of that job like any other. The answer is the next try.
    pub fn record_panic(&self, index: usize) -> Timestamp {
        let clock = self.clock().as_ref();
        let Some(target) = self.targets().get(index) else { return clock.now().plus(due::RETRY_MAX) };
        let mut running = Running::load(target, self.store(), clock);
        match self.failed(target, &mut running, None, &Error::Panicked) {
            Next::At(at) => at,
            Next::Never => clock.now().plus(due::RETRY_MAX),
        }
    }
}

/// What jobs on disk know of CAs that are to be spared.
pub(crate) fn stored_holds(targets: &[Managed], store: &WorkStore, now: Timestamp) -> RateLimits {
    let mut holds = RateLimits::default();
    let names = targets.iter().map(|target| target.md.name.as_str());
    for name in store.present(WorkGroup::Staging, names).unwrap_or_default() {
        // A job that cannot be read is reported when its turn comes.
        if let Ok(Some(Job { pace: RetryState { hold: Some(hold), .. }, .. })) =
            Staging::new(store, &name).job()
        {
            holds.add_stored(&hold, now);
        }
    }
    holds
}

/// The orders that earlier processes have placed at CAs which limit them.
pub(crate) fn stored_orders(targets: &[Managed], store: &WorkStore, now: Timestamp) -> OrderQueue {
    let mut queue = OrderQueue::default();
    let is_limited = |target: &&Managed| target.md.ca.urls.iter().any(|url| limits::of(url).is_some());
    let names = targets.iter().filter(is_limited).map(|target| target.md.name.as_str());
    let mut placed = Vec::new();
    for name in store.present(WorkGroup::Staging, names).unwrap_or_default() {
        let ledger = Staging::new(store, &name).ledger();
        placed.extend(ledger.placed().iter().map(|placed| (placed.at, placed.ca.clone())));
    }
    placed.sort();
    placed.iter().for_each(|(at, ca)| queue.add_placed(ca, *at, now));
    queue
}

/// What an admin can do about a renewal that is held back.
fn advice_on_brake(is_turn: bool, cause: Cause) -> &'static str {
    match cause {
        _ if is_turn => "Nothing needs to be done: it begins by itself then.",
        Cause::Missing => {
            "Find out why what was issued did not come into use: the error log has the failures."
        }
        Cause::FormerCa => {
            "Compare MDCertificateAuthority with the issuer of the certificate. What is in use stays in use."
        }
        Cause::Names | Cause::MustStaple => {
            "Compare what the CA issues with MDomain and MDMustStaple. What is in use stays in use."
        }
        Cause::Revoked => "Ask the CA why it revokes what it has just issued. What is in use stays in use.",
        Cause::Expired | Cause::Advice | Cause::Window => {
            "Check the clock of this machine, MDRenewWindow, and what the CA advises ('ari' in md-status; MDRenewViaARI off \
             leaves that out). What is in use stays in use."
        }
    }
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

/// What one reads at a glance, rounded up: seconds, from two minutes on minutes, from two hours on hours.
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
    fn a_wait_is_told_in_the_unit_that_fits() {
        let told = |secs| readable(Duration::from_secs(secs));
        assert_eq!(
            [told(0), told(59), told(601), told(35_990)],
            ["1 second", "59 seconds", "11 minutes", "10 hours"]
        );
        assert_eq!(told(124_721), "35 hours");
    }
}
