// SPDX-License-Identifier: Apache-2.0
//! Certificates that expire soon without a successor: the commands of the admin are called.

use super::saving::save_notified;
use crate::model::Outcome;
use crate::notify::{Event, MESSAGE_ERROR};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::{due, retry};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// The longest wait until a command that failed is called again for an expiring certificate.
const LONGEST: Duration = Duration::from_secs(3600);

/// Calls the command for a certificate that expires soon and has no successor, at the end of a look. Returns
/// when to look at that again.
pub(super) fn warn(renewal: &Renewal<'_>, running: &mut Running<'_>) -> Option<Timestamp> {
    let commands = &renewal.settings().commands;
    commands.message.as_ref()?;
    let clock = renewal.clock();
    if running.has_new_set || clock.is_stopped() {
        return None;
    }
    let from = due::warn_from(&renewal.target.md, &renewal.target.served())?;
    if from > clock.now() {
        return Some(from);
    }
    let newest = running.job.log.first().cloned();
    let called = running.fire(commands, &Event::Expiring);
    let job = &mut running.job;
    let next = match called {
        Ok(()) => {
            if job.has_failed_to_warn() {
                job.last = Outcome::default();
            }
            Some(clock.now().plus(DAY))
        }
        Err(failed) if failed.is_stopped => None,
        Err(failed) => {
            let detail = failed.advised();
            job.fail_to_warn(failed.problem, detail);
            let failures = job.log.iter().take_while(|entry| entry.kind == MESSAGE_ERROR).count();
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            let delay = renewal.settings().retry.delay;
            Some(retry::retry_at(
                failures,
                delay,
                LONGEST,
                false,
                None,
                renewal.context.random(),
                clock.now(),
            ))
        }
    };
    if running.job.log.first() != newest.as_ref() {
        save_notified(renewal, running);
    }
    next
}
