// SPDX-License-Identifier: Apache-2.0
//! A renewal that waits for a record only the admin can set, and records of which the end is near: log, job
//! and status have the exact line. Decides nothing; see `decide::record_wait`.

use super::next::Next;
use super::saving::save_notified;
use crate::challenge::dns_persist01;
use crate::managed::saved_order::Wait;
use crate::model::ledger::RecordEnd;
use crate::model::{RequestState, Waiting};
use crate::notify::Event;
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::persist::look_again;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::record_wait::{first_to_end, is_another_day};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// Where no certificate has a lifetime to take a part of.
const LIFETIME: Duration = DAY.saturating_mul(90);
/// More records than a ledger has: ends that change from look to look do not keep the worker.
const LOOKS_MAX: usize = 40;

/// Logs a wait that is new or has lasted another day. Returns when the record is looked up again.
pub(super) fn waiting_for_record(renewal: &Renewal<'_>, running: &mut Running<'_>, wait: Wait) -> Next {
    let (now, name) = (renewal.now(), renewal.name());
    let Wait { waiting, until } = wait;
    let job = &mut running.job;
    let (what, lines) = (&waiting.what, waiting.records.join("' and '"));
    let is_known = |known: &Waiting| known.what == *what && known.records == waiting.records;
    let before = job.waiting.as_ref().filter(|known| is_known(known));
    let text = format!("the renewal waits for {what}. Set in the DNS: '{lines}'");
    let is_told =
        before.is_some_and(|known| !is_another_day(waiting.since, known.next.unwrap_or(now).min(now), now));
    if is_told {
        crate::log!(Debug, "md[{name}]: {text}");
    } else {
        crate::log!(
            Warn,
            "md[{name}]: {text}. It is looked up again by itself, first at {}",
            until.to_http_date()
        );
    }
    if before.is_none() {
        job.note(now, "progress", None, Some(text));
    }
    job.last.detail = Some(format!(
        "Since {} the renewal waits for {what}. Set in the DNS: '{lines}'. It is looked up again at {}, and the renewal \
         goes on by itself.",
        waiting.since.to_http_date(),
        until.to_http_date()
    ));
    (job.waiting, job.next_run) = (Some(waiting), Some(until));
    // It goes on by itself, whenever the admin has set them.
    let detail = job.last.detail.clone();
    running.answer(RequestState::Failed, detail);
    // If this is lost, it costs one more look.
    if let Err(error) = running.show() {
        running.report_unsaved(&error);
    }
    Next::At(until)
}

/// Warns of a record that ends soon, as of a certificate that expires, unless the admin has set a later end
/// meanwhile. Returns when to look at that again.
pub(super) fn warn_of_ends(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Option<Timestamp> {
    let md = &renewal.target.md;
    if !md.ca.challenges.iter().any(|type_| type_ == dns_persist01::TYPE) || renewal.clock().is_stopped() {
        return None;
    }
    let now = renewal.now();
    let served = renewal.target.served();
    let lifetimes = served.iter().filter_map(|(_, cert)| cert.as_ref());
    let lifetime = lifetimes.map(|cert| cert.not_after.since(cert.not_before)).min().unwrap_or(LIFETIME);
    let (record, from) = first_end_by_now(renewal, md.warn_window.of(lifetime), now)?;
    if from > now {
        return Some(from);
    }
    if renewal.clock().is_stopped() {
        return None;
    }
    if renewal.is_new_end(now) {
        crate::log!(Warn, "md[{}]: {}", renewal.name(), described(&record, now));
    }
    if running.fire(&renewal.settings().commands, &Event::Expiring).is_ok() {
        save_notified(renewal, running);
    }
    Some(now.plus(DAY))
}

/// The record that ends first, looked up again where it is to be warned of: one that has a later end by now
/// makes room for the next. With the time from which to warn.
fn first_end_by_now(
    renewal: &Renewal<'_>,
    window: Duration,
    now: Timestamp,
) -> Option<(RecordEnd, Timestamp)> {
    let first = || -> Option<(RecordEnd, Timestamp)> {
        let ledger = renewal.staging().ledger();
        let (record, from) = first_to_end(ledger.records(), &renewal.target.md.domains, window)?;
        Some((record.clone(), from))
    };
    let mut known = first()?;
    for _ in 0..LOOKS_MAX {
        if known.1 > now {
            break;
        }
        look_again(renewal, &known.0);
        let before = std::mem::replace(&mut known, first()?);
        if before == known {
            break;
        }
    }
    Some(known)
}

fn described(record: &RecordEnd, now: Timestamp) -> String {
    let ends = if record.until > now { "ends" } else { "ended" };
    format!(
        "the TXT record of {} {ends} at {} (persistUntil): set a later date there, or remove it; renewals fail without the \
         record",
        record.name,
        record.until.to_http_date()
    )
}
