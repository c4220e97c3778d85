//! A complete set's turn: whether it goes live now, later or at a restart, and then does. The engine calls this at each
//! look at a renewal that is finished.

use super::Managed;
use super::engine::{Engine, Next};
use super::error::Error;
use super::job::Running;
use super::live::{self, Due, LiveSet, Published};
use super::set::{Flaw, KeyedSet};
use super::staging::Staging;
use super::{pace, policy};
use crate::crypto::CertInfo;
use crate::model::job::status;
use crate::model::{Job, Outcome};
use crate::notify::Event;
use crate::store;
use crate::time::{DAY, Timestamp};
use serde_json::json;
use std::time::Duration;

/// What has become of a complete set.
enum Turn {
    /// It is served.
    Live,
    /// It is complete and waits: look again then.
    Waiting(Timestamp),
    /// A restart brings it into use.
    Restart,
    /// It cannot be used, for this reason.
    Damaged(String),
}

/// How often to look for an OCSP response, and whether a disk is well again.
const PAUSE: Duration = Duration::from_secs(10);

/// In job.json: that the commands have heard of a set that went live.
const TOLD: &str = "notified-activated";

impl Engine {
    /// A complete set goes live, or waits; the commands hear of it. Tells when to look again, and whether it is in use.
    /// `new`: what has just been got; without, it was complete before.
    pub(super) fn after_renewal(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        new: Option<Vec<KeyedSet>>,
    ) -> (Next, bool) {
        let (name, is_new) = (&target.md.name, new.is_some());
        let turn = self.go_live(index, target, running, new);
        match &turn {
            Turn::Damaged(reason) => {
                crate::log!(Error, "AH10069: {name}: error loading staged set, it is got anew: {reason}");
                let begun = self.make_room(target, running);
                let error = begun.err().unwrap_or_else(|| Error::Unusable(reason.clone()));
                return (self.failed(target, running, None, &error), false);
            }
            Turn::Restart if is_new => crate::log!(
                Notice,
                "AH10059: The Managed Domain {name} has been setup and changes will be activated on next (graceful) \
                 server restart."
            ),
            Turn::Waiting(_) if is_new => {
                crate::log!(
                    Notice,
                    "AH10059: The Managed Domain {name} has been setup and goes live in due time."
                );
            }
            _ => {}
        }
        let told = self.tell_renewed(running);
        if let Turn::Live = turn {
            self.tell_activated(running);
        }
        if self.settings().commands.are_any() {
            self.save(running);
        } else if let Err(error) = running.show() {
            // Nobody is told twice where this is lost.
            self.report_unsaved(running, &error);
        }
        match turn {
            Turn::Live => (told, true),
            Turn::Waiting(at) => (earlier(told, Next::At(at)), false),
            Turn::Restart | Turn::Damaged(_) => (told, false),
        }
    }

    /// Has all workers serve the staged set, if it is time.
    fn go_live(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        new: Option<Vec<KeyedSet>>,
    ) -> Turn {
        let (name, now) = (&target.md.name, self.clock().now());
        let Some((workers, delay)) = self.live().filter(|_| target.live.is_attached()) else {
            return Turn::Restart;
        };
        if new.is_none()
            && live::staged_certs(self.store(), &target.md).is_some_and(|c| is_served(target, &c))
        {
            return Turn::Live;
        }
        let (ordered, sets) = match live::staged(self.store(), &target.md, new, now) {
            Ok(staged) => staged,
            Err(Flaw::Store(error @ store::Error::Io { .. })) => {
                crate::log!(Error, "{name}: the staged set cannot be read: {error}");
                return Turn::Waiting(now.plus(PAUSE));
            }
            Err(flaw) => return Turn::Damaged(flaw.to_string()),
        };
        let certs: Vec<CertInfo> = sets.iter().map(|set| set.info.clone()).collect();
        let have_staples = workers.have_staples(index, &certs);
        match live::due(&target.md, &target.served(), &certs, delay, have_staples, now) {
            Due::At(at) => return Turn::Waiting(at),
            Due::Stapled => return Turn::Waiting(now.plus(PAUSE)),
            Due::Now => {}
        }
        let published = Published::new(now, &ordered, &running.job, sets);
        let set = match LiveSet::new(&published) {
            Ok(set) => set,
            Err(error) => return Turn::Damaged(error.to_string()),
        };
        if let Err(error) = published.write(self.store(), name) {
            crate::log!(Error, "{name}: the new set cannot go live: {error}");
            return Turn::Waiting(now.plus(PAUSE));
        }
        workers.tell(index, set);
        if !is_served(target, &certs) {
            // Why stands in the log.
            return Turn::Restart;
        }
        crate::log!(Notice, "AH10059: The Managed Domain {name} has been setup and is live now.");
        running.job.note(now, "progress", None, Some("The new certificates are live.".into()));
        Turn::Live
    }

    /// Tells the commands about a complete set, until they have heard.
    fn tell_renewed(&self, running: &mut Running<'_>) -> Next {
        let clock = self.clock().as_ref();
        // What a CA has asked to wait for does not hold them back.
        if let Some(at) = pace::waits_for(&running.job, "", clock.now()) {
            // They have failed, and this look is for something else.
            return Next::At(at);
        }
        let commands = &self.settings().commands;
        let mut failure = None;
        if !running.job.notified {
            match commands.notify(&mut running.job, clock) {
                Ok(()) => {
                    running.job.notified = true;
                    if commands.notify.is_some() {
                        self.save(running);
                    }
                }
                Err(failed) => failure = Some(failed),
            }
        }
        if failure.is_none() && !running.job.notified_renewed {
            match commands.fire(&Event::Renewed, &mut running.job, clock) {
                Ok(()) => running.job.notified_renewed = true,
                Err(failed) => failure = Some(failed),
            }
        }
        let job = &mut running.job;
        let next = match failure {
            None => {
                job.errors = 0;
                job.next_run = None;
                Next::Never
            }
            // The next child tells the command again; what is on disk says so.
            Some(failed) if failed.is_stopped => return Next::Never,
            Some(failed) => {
                job.errors += 1;
                job.last = Outcome {
                    status: status::GENERAL,
                    problem: Some(failed.problem),
                    detail: Some(failed.detail),
                    ..Outcome::default()
                };
                let random = self.random();
                let at = policy::retry_at(
                    job.errors,
                    self.settings().retry.delay,
                    DAY,
                    false,
                    None,
                    random,
                    clock.now(),
                );
                job.next_run = Some(at);
                Next::At(at)
            }
        };
        if commands.are_any() {
            self.save(running);
        }
        next
    }

    /// Once for each set; what the command makes of it is its own business.
    fn tell_activated(&self, running: &mut Running<'_>) {
        if running.job.extra.contains_key(TOLD) {
            return;
        }
        let clock = self.clock().as_ref();
        let heard = self.settings().commands.fire(&Event::Activated, &mut running.job, clock);
        // Ended with this process: the next child tells it again.
        if heard.is_ok() || !clock.is_stopped() {
            running.job.extra.insert(TOLD.into(), json!(true));
        }
    }

    /// Makes room in staging for the renewal that follows a live set. That set stays, in a file of its own; so do
    /// the log, which says which command was called when, and what the CA has asked to wait for.
    pub(super) fn make_room(&self, target: &Managed, running: &mut Running<'_>) -> Result<(), Error> {
        let Job { log, pace, .. } = std::mem::take(&mut running.job);
        running.job = Job { log, pace, ..Job::new(&target.md.name) };
        // First: where this process dies now, the next one finds a renewal under way, whatever of it is left.
        running.save()?;
        Ok(Staging::new(self.store(), &target.md.name).reset()?)
    }
}

fn is_served(target: &Managed, certs: &[CertInfo]) -> bool {
    target.live.load().as_ref().is_some_and(|set| set.is_of(certs))
}

/// The earlier of two looks.
pub(super) fn earlier(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
        (Next::Never, next) | (next, Next::Never) => next,
    }
}
