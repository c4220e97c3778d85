//! Certificates that end soon without a new one: the commands are told.

use super::engine::Engine;
use super::job::Running;
use super::{Managed, policy};
use crate::notify::Event;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// After a command failed that tells of an expiring certificate, it is called again.
const WARN_AGAIN: Duration = Duration::from_secs(3600);

impl Engine {
    /// Tells of a certificate that ends soon and has no successor, at the end of a look. The answer is when to look at that
    /// again.
    pub(super) fn warn(&self, target: &Managed, running: &mut Running<'_>) -> Option<Timestamp> {
        let commands = &self.settings().commands;
        commands.message.as_ref()?;
        let clock = self.clock().as_ref();
        if running.has_new_set || clock.is_stopped() {
            return None;
        }
        let from = policy::warn_from(&target.md, &target.served())?;
        if from > clock.now() {
            return Some(from);
        }
        let newest = running.job.log.first().cloned();
        let told = commands.fire(&Event::Expiring, &mut running.job, clock);
        if running.job.log.first() != newest.as_ref() {
            self.save(running);
        }
        match told {
            Ok(()) => Some(clock.now().plus(DAY)),
            Err(failed) if failed.is_stopped => None,
            Err(_) => Some(clock.now().plus(WARN_AGAIN)),
        }
    }
}
