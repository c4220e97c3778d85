// SPDX-License-Identifier: Apache-2.0
//! A renewal has succeeded: noted in the job and the ledger, saved and signed before any command is called.

use super::completed::after_renewal;
use super::go_live::sign;
use super::held_back::note_issued;
use super::next::Next;
use super::saving::save;
use crate::backoff;
use crate::managed::bundle::Bundle;
use crate::model::Outcome;
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::next::Attempt;
use crate::renew::decide::retry;
use crate::time::Timestamp;
use std::time::Duration;

/// How long after a renewal the new certificate is looked at.
const AFTERWARDS: Duration = Duration::from_secs(5);

pub(super) fn succeeded(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    attempt: &Attempt,
    sets: Vec<Bundle>,
) -> Next {
    renewal.context.metrics.renewed();
    note_issued(renewal, attempt, Some(&sets));
    let valid_from = sets.iter().map(|set| set.info.not_before).max().unwrap_or_default();
    note_success(renewal, running, valid_from);
    if let Ok(Some(ordered)) = renewal.staging().md() {
        sign(renewal, &mut running.job, &ordered, &sets);
    }
    // Before any command runs: one that reloads httpd ends this process and has the set activated.
    save(running);
    match after_renewal(renewal, running, Some(sets)) {
        (next, false) => next,
        // When the next one is due, the CA may have advice about; it need not be asked at once.
        (_, true) => {
            let pause = AFTERWARDS.min(renewal.settings().check_interval);
            Next::At(renewal.now().plus(backoff::spread(pause, renewal.context.random())))
        }
    }
}

pub(super) fn note_success(renewal: &Renewal<'_>, running: &mut Running<'_>, valid_from: Timestamp) {
    running.has_new_set = true;
    let (job, now) = (&mut running.job, renewal.now());
    job.finished = true;
    job.pending_notice = None;
    job.waiting = None;
    retry::succeeded(job, now);
    job.valid_from = Some(valid_from);
    job.last = Outcome { valid_from: Some(valid_from), ..Outcome::default() };
    let restart = match renewal.context.live() {
        Some(_) if renewal.target.live.is_attached() => "",
        _ => " A graceful server restart now is recommended.",
    };
    let text = format!(
        "The certificate for the managed domain has been renewed successfully and can be used (valid since \
         {}).{restart}",
        valid_from.to_http_date()
    );
    job.note(now, "progress", None, Some(text));
    job.note(now, "finished", None, None);
}
