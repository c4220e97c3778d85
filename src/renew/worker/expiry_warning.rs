// SPDX-License-Identifier: Apache-2.0
//! Certificates that end soon without a new one: the commands are told.

use super::check::Engine;
use crate::managed::Managed;
use crate::model::Outcome;
use crate::notify::{Event, MESSAGE_ERROR};
use crate::renew::attempt::progress::Running;
use crate::renew::decide::due;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// The longest wait until a command that failed is told again of an expiring certificate.
const LONGEST: Duration = Duration::from_secs(3600);

impl Engine {
    /// Tells of a certificate that ends soon and has no successor, at the end of a look. The answer is when
    /// to look at that again.
    pub(crate) fn warn(&self, target: &Managed, running: &mut Running<'_>) -> Option<Timestamp> {
        let commands = &self.settings().commands;
        commands.message.as_ref()?;
        let clock = self.clock().as_ref();
        if running.has_new_set || clock.is_stopped() {
            return None;
        }
        let from = due::warn_from(&target.md, &target.served())?;
        if from > clock.now() {
            return Some(from);
        }
        let newest = running.job.log.first().cloned();
        let told = running.tell(commands, &Event::Expiring);
        let job = &mut running.job;
        let next = match told {
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
                let delay = self.settings().retry.delay;
                Some(due::retry_at(failures, delay, LONGEST, false, None, self.random(), clock.now()))
            }
        };
        if running.job.log.first() != newest.as_ref() {
            self.save_told(running);
        }
        next
    }
}
