// SPDX-License-Identifier: Apache-2.0
//! Follows up a renewal whose set is complete: it goes live, waits or is dropped, and the admin's commands
//! are called. Each look at a finished renewal comes here.

use super::failure::failed;
use super::go_live::{self, Activation, go_live};
use super::next::Next;
use super::notifications::{notify_activated, notify_renewed};
use super::saving::save_notified;
use crate::managed::bundle::Bundle;
use crate::managed::published;
use crate::managed::serve::Certs;
use crate::model::{Job, RequestState, Trial};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::due;
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::retry;

/// Returns when to look again, and whether the set is in use. `new`: the set that has just been issued;
/// without, it was complete before.
pub(super) fn after_renewal(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    new: Option<Vec<Bundle>>,
) -> (Next, bool) {
    let is_new = new.is_some();
    let was_refused = matches!(running.job.trial, Some(Trial::Refused(_)));
    let activation = go_live(renewal, running, new);
    if let Activation::Refused(reason) | Activation::Damaged(reason) = &activation {
        let is_damaged = matches!(activation, Activation::Damaged(_));
        return (drop_set(renewal, running, reason, is_damaged), false);
    }
    log_activation(renewal.name(), &activation, is_new, was_refused);
    answer(renewal, running, &activation);
    let notified = notify_renewed(renewal, running);
    if let Activation::Live = activation {
        notify_activated(renewal, running);
    }
    if renewal.settings().commands.are_any() {
        save_notified(renewal, running);
    } else if let Err(error) = running.show() {
        // No command is called twice where this is lost.
        running.report_unsaved(&error);
    }
    match activation {
        Activation::Live => (notified, true),
        Activation::Waiting(at) => (notified.or_sooner(Some(at)), false),
        Activation::Restart | Activation::Refused(_) | Activation::Damaged(_) => (notified, false),
    }
}

/// Tells the operator who has asked for the renewal what has become of it. A set that was live already is none
/// of a request that has not begun.
fn answer(renewal: &Renewal<'_>, running: &mut Running<'_>, activation: &Activation) {
    let text = match activation {
        Activation::Live if !running.has_begun_request() => return,
        _ if running.replaces_staged() => return,
        Activation::Live => "the new certificates are live".to_string(),
        // It is tried again at once.
        Activation::Waiting(at) if at.since(renewal.now()) <= go_live::PAUSE => return,
        Activation::Waiting(at) => {
            format!("the new certificates are staged, and go live at {}", at.to_http_date())
        }
        _ => "the new certificates are staged: restart httpd gracefully to bring them into use".into(),
    };
    running.answer(RequestState::Done, Some(text));
}

/// The staged set is not used. One that the hosts refuse is kept until it would have been replaced anyway:
/// then another one may be better.
fn drop_set(renewal: &Renewal<'_>, running: &mut Running<'_>, reason: &str, is_damaged: bool) -> Next {
    let name = renewal.name();
    if !is_damaged && !is_staged_set_due(renewal) {
        running.job.trial = Some(Trial::Refused(reason.into()));
        running.job.last.activity = Some(format!("Trying the new certificates of {name} on its hosts"));
        return failed(renewal, running, None, &Error::Refused(reason.into()));
    }
    crate::log!(
        Error,
        "AH10069: md[{name}]: cannot use the staged certificates, requesting new ones: {reason}"
    );
    let begun = make_room(renewal, running);
    let error = begun.err().unwrap_or_else(|| Error::Unusable(reason.into()));
    failed(renewal, running, None, &error)
}

fn log_activation(name: &str, activation: &Activation, is_new: bool, was_refused: bool) {
    match activation {
        Activation::Restart if is_new || was_refused => crate::log!(
            Notice,
            "AH10059: The Managed Domain {name} has been setup and changes will be activated on next (graceful) \
             server restart."
        ),
        Activation::Waiting(at) if is_new => crate::log!(
            Notice,
            "AH10059: The Managed Domain {name} has been setup and goes live in due time, at {} at the earliest.",
            at.to_http_date()
        ),
        _ => {}
    }
}

/// Whether the staged set itself would be renewed by now.
fn is_staged_set_due(renewal: &Renewal<'_>) -> bool {
    let target = renewal.target;
    let certs = published::staged_certs(&renewal.context.store, &target.md.name).unwrap_or_default();
    let certs = Certs::arrange(&target.md.keys(), certs);
    matches!(due::need(&target.md, &certs, None, renewal.now()), Decision::Now(_))
}

/// Makes room in staging for the renewal that follows a live set. That set stays, in a file of its own;
/// so do its part of the log, which shows the calls of commands, and the waits that the CA has demanded.
pub(super) fn make_room(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Result<(), Error> {
    let Job { log, retry_state, .. } = std::mem::take(&mut running.job);
    let log = retry::log_of_the_next_renewal(&log, renewal.now());
    running.job = Job { log, retry_state, ..Job::new(renewal.name()) };
    // First: where this process dies now, the next one finds a renewal under way, whatever of it is left.
    running.save()?;
    Ok(renewal.staging().reset()?)
}
