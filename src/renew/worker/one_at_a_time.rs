// SPDX-License-Identifier: Apache-2.0
//! One process at a time attempts a renewal of a domain: this child, the one before it that is ending, or
//! `a2md drive`. Refuses no renewal for long: any process of httpd's user can hold the lock.

use super::next::Next;
use crate::model::RequestState;
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::store::{AttemptLock, Holder};
use std::time::Duration;

/// How soon to look whether the other one is done.
const AGAIN: Duration = Duration::from_secs(2);
/// An attempt that takes longer than this has been forgotten.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Takes the lock of attempts at the domain. `Err`: when to look again.
pub(super) fn begin(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Result<Option<AttemptLock>, Next> {
    let now = renewal.now();
    let held = match renewal.context.store.lock_attempt(renewal.name(), &Holder::of_program("httpd", now)) {
        Ok(Ok(held)) => held,
        Ok(Err(holder)) => {
            running.answer(RequestState::Accepted, Some(format!("{holder} renews the domain at present")));
            return wait_for(renewal, &holder);
        }
        Err(error) => {
            // Not every network file system has locks.
            crate::log!(Debug, "md[{}]: the lock of attempts cannot be taken: {error}", renewal.name());
            return Ok(None);
        }
    };
    renewal.forget_other();
    // The other one may have changed the job after this look has read it.
    if running.is_outdated() { Err(Next::At(now)) } else { Ok(Some(held)) }
}

fn wait_for(renewal: &Renewal<'_>, holder: &Holder) -> Result<Option<AttemptLock>, Next> {
    let (now, name) = (renewal.now(), renewal.name());
    let (since, is_new) = renewal.note_other(holder);
    if now.since(since) >= PATIENCE {
        crate::log!(
            Warn,
            "md[{name}]: {holder} has held the lock of attempts for an hour, and the renewal begins beside it. End that \
             process if it hangs."
        );
        return Ok(None);
    }
    if is_new {
        crate::log!(
            Notice,
            "md[{name}]: {holder} renews this domain at present; the renewal here waits for it"
        );
    }
    Err(Next::At(now.plus(AGAIN)))
}
