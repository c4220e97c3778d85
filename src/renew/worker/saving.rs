// SPDX-License-Identifier: Apache-2.0
//! Saves the state of a renewal where nothing can be done about a disk that refuses: it is reported once, and
//! the renewal goes on in memory.

use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;

pub(super) fn save(running: &mut Running<'_>) {
    if let Err(error) = running.save() {
        running.report_unsaved(&error);
    }
}

/// The same after a command was called: where this process ends, a start may have purged a failing job, and
/// the notification is on disk already.
pub(super) fn save_notified(renewal: &Renewal<'_>, running: &mut Running<'_>) {
    let job = &running.job;
    if !renewal.clock().is_stopped() || job.finished || job.pending_notice.is_some() {
        save(running);
    }
}
