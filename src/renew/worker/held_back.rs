// SPDX-License-Identifier: Apache-2.0
//! A renewal that is due but does not begin yet: because of recent issuances, because other domains order
//! first, or because a CA wants no requests. Logged once for each wait, and noted in the job.

use super::saving::save;
use crate::acme::published_limits;
use crate::managed::bundle::Bundle;
use crate::model::ledger::Cause;
use crate::model::{HeldBack, Outcome};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::brake;
use crate::renew::decide::next::{Attempt, Issuance, request};
use crate::renew::decide::urgency::{Urgency, pressure};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// Of a certificate that cannot be used.
const UNKNOWN_LIFETIME: Duration = DAY.saturating_mul(90);

/// Looks up recent issuances, and where the CA limits orders, takes a place among those that order there. A
/// renewal continues an order that it has, also while others come first.
pub(super) fn look_up_issuance(renewal: &Renewal<'_>, attempt: &Attempt) -> Issuance {
    let ledger = renewal.staging().ledger();
    let Attempt { ca, cause } = attempt;
    if published_limits::of(ca).is_none() || matches!(renewal.staging().order(), Ok(Some(_))) {
        return Issuance { ledger, queued: None };
    }
    let (md, served, now) = (renewal.target.current(), renewal.target.served(), renewal.now());
    let mut queue = renewal.context.order_queue();
    let held = queue.take_place(&request(&md, &served, ca, *cause), now);
    let queued = held.map(|held| (held, queue.waits_since(ca, renewal.name()).unwrap_or(now)));
    Issuance { ledger, queued }
}

/// Logs once, and notes in the job, that the renewal is held back. `is_queued`: by others that order first.
pub(super) fn hold_back(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    held: HeldBack,
    (is_queued, cause): (bool, Cause),
) {
    let job = &mut running.job;
    let until = held.until;
    let is_noted = job.held_back.as_ref().is_some_and(|known| known.until == until);
    if !renewal.is_new_wait(until) && is_noted {
        return;
    }
    let text = format!("it is held back until {}, because {}", until.to_http_date(), held.reason);
    let advice = advice_on_hold(is_queued, cause);
    let message = format!(
        "md[{}]: its certificates are due for renewal, but {text}. What to do: {advice}",
        renewal.name()
    );
    // There may be thousands of these, and nothing is wrong.
    if is_queued {
        crate::log!(Info, "{message}");
    } else {
        crate::log!(Warn, "{message}");
    }
    if !is_noted {
        job.note(renewal.now(), "progress", None, Some(format!("The renewal is due, but {text}.")));
    }
    if !job.finished && job.errors == 0 {
        let detail = Some(format!("The renewal is due, but {text}. What to do: {advice}"));
        job.last = Outcome { detail, ..Outcome::default() };
        job.next_run = Some(until);
    } else if !job.finished {
        job.next_run = job.next_run.max(Some(until));
    }
    job.held_back = Some(held);
    save(running);
}

/// Logs once that the renewal waits until then. Where its certificate is missing or expires soon, the admin
/// should know: the wait is noted in a file, and there is no error.
pub(super) fn log_wait(renewal: &Renewal<'_>, until: Timestamp, why: &str) {
    if !renewal.is_new_wait(until) {
        return;
    }
    let (target, name, now) = (renewal.target, renewal.name(), renewal.now());
    let until_date = until.to_http_date();
    let pressure = pressure(&target.md, &target.served(), now);
    let state = match (pressure.urgency, pressure.end) {
        (Urgency::Usual, _) => {
            crate::log!(Info, "md[{name}]: Waiting until {until_date}: {why}");
            return;
        }
        (_, Some(end)) if end <= now => format!("its certificate has expired at {}", end.to_http_date()),
        (_, Some(end)) => format!("its certificate expires at {}", end.to_http_date()),
        (_, None) => "it has no usable certificate".into(),
    };
    crate::log!(
        Warn,
        "md[{name}]: {state}, and its renewal waits until {until_date}: {why}, says job.json in staging, of this domain \
         or of another one. Should that be wrong, remove it and restart httpd gracefully."
    );
}

/// The renewal is no longer held back.
pub(super) fn release(running: &mut Running<'_>) {
    let job = &mut running.job;
    if job.held_back.take().is_some() {
        if !job.finished && job.errors == 0 {
            (job.last, job.next_run) = (Outcome::default(), None);
        }
        save(running);
    }
}

/// Notes an issuance in the ledger. Without `sets`, it was issued in vain.
pub(super) fn note_issued(renewal: &Renewal<'_>, attempt: &Attempt, sets: Option<&[Bundle]>) {
    let staging = renewal.staging();
    let lifetimes = sets.into_iter().flatten().map(|set| set.info.not_after.since(set.info.not_before));
    let lifetime = lifetimes.min().unwrap_or(UNKNOWN_LIFETIME);
    let mut ledger = staging.ledger();
    let (md, served) = (renewal.target.current(), renewal.target.served());
    let request = request(&md, &served, &attempt.ca, attempt.cause);
    ledger.add(brake::issued(&request, lifetime, sets.map_or(1, <[_]>::len), renewal.now()));
    if let Err(error) = staging.save_ledger(&ledger) {
        crate::log!(
            Warn,
            "md[{}]: cannot save what was issued, which then does not count for limits: {error}",
            renewal.name()
        );
    }
}

/// The advice to admins on a renewal that is held back.
fn advice_on_hold(is_queued: bool, cause: Cause) -> &'static str {
    match cause {
        _ if is_queued => "Nothing needs to be done: it begins by itself then.",
        Cause::Missing => {
            "Find out why what was issued did not come into use: the error log has the failures."
        }
        Cause::FormerCa => {
            "Compare MDCertificateAuthority with the issuer of the certificate. What is in use stays in use."
        }
        Cause::Requested => "Ask for a new certificate again after that time.",
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
