// SPDX-License-Identifier: Apache-2.0
//! A renewal among the nodes of a fleet: whether it is this node's, the wait while it is not, and its end where
//! another node may go on. Without a fleet nothing here does anything. Imports run to `attempt` and `decide`.

use super::next::Next;
use crate::managed::peers::{Lost, Need, NotNow, SharedJob};
use crate::model::{HeldBack, HeldBy, RequestState};
use crate::renew::attempt::context::{Context, Renewal};
use crate::renew::attempt::progress::Running;
use crate::renew::attempt::sharing::Sharing;
use crate::time::Timestamp;
use std::time::Duration;

/// How soon to look whether the fleet is known.
const UNREADY: Duration = Duration::from_secs(1);
/// No look at what others renew is sooner.
const SOONEST: Duration = Duration::from_secs(1);
/// How soon to look who renews, after it was no longer this node.
const AFTER_LOSS: Duration = Duration::from_secs(5);

/// When to look again, where it is not known yet what the fleet has.
pub(super) fn not_ready(context: &Context) -> Option<Next> {
    let peers = context.peers()?;
    (!peers.is_ready()).then(|| Next::At(context.clock.now().plus(UNREADY)))
}

/// Whether other nodes ask the CA for its advice on this domain.
pub(super) fn others_ask(renewal: &Renewal<'_>) -> bool {
    renewal.context.peers().is_some_and(|peers| !peers.asks(renewal.name()))
}

/// Begins a renewal that is due. `Err`: when to look again. Called with the lock of attempts held: that one is
/// this machine's and never waits, while this one costs the engine requests.
pub(super) fn begin<'c>(
    renewal: &Renewal<'c>,
    running: &mut Running<'_>,
    need: &Need,
) -> Result<Sharing<'c>, Next> {
    let Some(peers) = renewal.context.peers() else { return Ok(Sharing::none()) };
    let turn = match peers.begin(renewal.name(), need) {
        Ok(turn) => turn,
        Err(not_now) => return Err(wait(renewal, running, not_now)),
    };
    running.job.held_back = None;
    let sharing = Sharing::new(peers, turn);
    if let Some(found) = sharing.found() {
        resume(running, found);
    }
    Ok(sharing)
}

/// Counts the failures of other nodes like own ones.
fn resume(running: &mut Running<'_>, found: &SharedJob) {
    let job = &mut running.job;
    if found.errors >= job.errors && found.errors > 0 {
        (job.errors, job.retry_state) = (found.errors, found.retry_state.clone());
    }
}

/// Notes that the renewal is not this node's, and logs each reason once.
fn wait(renewal: &Renewal<'_>, running: &mut Running<'_>, not_now: NotNow) -> Next {
    let NotNow { until, reason, node } = not_now;
    let (name, now) = (renewal.name(), renewal.now());
    renewal.context.order_queue().leave(name);
    let until = until.max(now.plus(SOONEST)).ceil();
    let text = format!("the renewal waits: {reason}");
    running.answer(RequestState::Accepted, Some(text.clone()));
    let held = HeldBack { reason, until, by: HeldBy::Fleet(node) };
    let known = running.job.held_back.replace(held.clone());
    if known.as_ref().is_none_or(|known| (&known.reason, &known.by) != (&held.reason, &held.by)) {
        crate::log!(Info, "md[{name}]: {text}");
        running.job.note(
            now,
            "progress",
            None,
            Some(format!("The renewal is due, but waits: {}.", held.reason)),
        );
    }
    show(running);
    Next::At(until)
}

/// Another node may renew now, which is no failure. What this one has got stays in staging, unserved.
pub(super) fn lost(renewal: &Renewal<'_>, running: &mut Running<'_>, why: &str) -> Next {
    let (name, now) = (renewal.name(), renewal.now());
    let text =
        format!("this node stops renewing, and what it has got so far stays in staging, unserved: {why}");
    crate::log!(Notice, "md[{name}]: {text}");
    running.end_wait();
    running.job.note(now, "progress", None, Some(text.clone()));
    running.answer(RequestState::Accepted, Some(text));
    show(running);
    Next::At(now.plus(AFTER_LOSS))
}

/// Has other nodes wait for the next try as well.
pub(super) fn save_outcome(
    running: &Running<'_>,
    sharing: &mut Sharing<'_>,
    next_try: Timestamp,
) -> Result<(), Lost> {
    sharing.save_outcome(&running.job, next_try).inspect_err(|lost| {
        crate::log!(
            Info,
            "md[{}]: other nodes do not learn how the attempt has ended: {lost}",
            running.job.name
        );
    })
}

fn show(running: &mut Running<'_>) {
    if let Err(error) = running.show() {
        running.report_unsaved(&error);
    }
}
