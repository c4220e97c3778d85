// SPDX-License-Identifier: Apache-2.0
//! Calls the commands of the admin for a renewed set (`MDNotifyCmd`, `MDMessageCmd`), until they succeed, and
//! once when it has gone live.

use super::next::Next;
use super::saving::save_notified;
use crate::model::job::status;
use crate::model::{Job, Outcome};
use crate::notify::{self, Event};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::retry;
use crate::time::{DAY, Timestamp};

/// Calls the commands for a complete set, until they succeed. Returns when to call them again.
pub(super) fn notify_renewed(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Next {
    // A CA's demand to wait does not hold them back.
    if let Some(at) = retry::waits_for(&running.job, "", None, renewal.now()) {
        // They failed, and this look is for something else.
        return Next::At(at);
    }
    let commands = &renewal.settings().commands;
    let failure = notify_of_set(renewal, running).err();
    let job = &mut running.job;
    let next = match failure {
        None => {
            job.errors = 0;
            job.next_run = None;
            Next::Never
        }
        // The next child calls the command again: the job on disk says so.
        Some(failed) if failed.is_stopped => return Next::Never,
        Some(failed) => Next::At(note_failure(renewal, job, failed)),
    };
    if commands.are_any() {
        save_notified(renewal, running);
    }
    next
}

/// Returns when the commands are called again.
fn note_failure(renewal: &Renewal<'_>, job: &mut Job, failed: notify::Failed) -> Timestamp {
    job.errors += 1;
    let detail = Some(failed.advised());
    let (status, problem) = (status::GENERAL, Some(failed.problem));
    job.last = Outcome { status, problem, detail, ..Outcome::default() };
    let at = retry_at(renewal, job.errors);
    job.next_run = Some(at);
    at
}

fn retry_at(renewal: &Renewal<'_>, failures: u32) -> Timestamp {
    let (delay, random) = (renewal.settings().retry.delay, renewal.context.random());
    retry::retry_at(failures, delay, DAY, false, None, random, renewal.now())
}

/// Calls both commands, one after the other. That is on disk before it happens: a command that reloads httpd
/// must not be called for the same set again.
fn notify_of_set(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Result<(), notify::Failed> {
    let commands = &renewal.settings().commands;
    if !*running.job.notified_flags().0 {
        running.notify(commands)?;
    }
    if !*running.job.notified_flags().1 {
        *running.job.notified_flags().1 = true;
        if let Err(failed) = running.fire(commands, &Event::Renewed) {
            let (notified, renewed) = running.job.notified_flags();
            *renewed = false;
            // The next time both are called for the set, in their order.
            *notified &= failed.is_stopped;
            return Err(failed);
        }
    }
    Ok(())
}

/// Calls the commands for a set that a start has put into use before they were called. Returns when to go on.
pub(super) fn notify_of_started(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Option<Timestamp> {
    let pending_notice = running.job.pending_notice.as_ref()?;
    let now = renewal.now();
    if let Some(next) = pending_notice.next.filter(|next| *next > now && next.since(now) < DAY * 2) {
        return Some(next);
    }
    let outcome = notify_of_set(renewal, running);
    let next = match (outcome, &mut running.job.pending_notice) {
        (Err(failed), Some(pending_notice)) if !failed.is_stopped => {
            pending_notice.failures = pending_notice.failures.saturating_add(1);
            pending_notice.next = Some(retry_at(renewal, pending_notice.failures));
            pending_notice.next
        }
        (Err(_), _) => None,
        (Ok(()), pending_notice) => {
            *pending_notice = None;
            None
        }
    };
    save_notified(renewal, running);
    next
}

/// Once for each set, whatever the command makes of it.
pub(super) fn notify_activated(renewal: &Renewal<'_>, running: &mut Running<'_>) {
    if running.job.notified_activated {
        return;
    }
    running.job.notified_activated = true;
    let heard = running.fire(&renewal.settings().commands, &Event::Activated);
    // Prevented by the end of this process: the next child calls it.
    if heard.is_err_and(|failed| failed.is_stopped) {
        running.job.notified_activated = false;
    }
}
