// SPDX-License-Identifier: Apache-2.0
//! Between the local store and the engine: keeps the lease, follows the engine's history, has the store follow
//! it, and writes what this node has to say. A value whose [`step`](Replicator::step) does what is due and says
//! when to call it again: a thread of the child runs one, a simulation ten. Serves nobody, and nothing that is
//! served waits for it. Imports `node`, and `decide` for all that it decides.

mod apply;
pub mod feed;
mod join;
mod report;
pub mod thread;
mod write;

use super::decide::begin::Standing;
use super::decide::course::has_lost_track;
use super::decide::lease::{self, Boot};
use super::decide::state::State as Saved;
use super::engine::{Error, Revision};
use super::node::state::Store;
use super::node::{Failed, Node};
use crate::model::fleet_report::FleetReport;
use feed::Feed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two steps where nothing else is due.
const IDLE: Duration = Duration::from_secs(1);
/// Between two tries to take the store's lock.
const STORE_LOOK: Duration = Duration::from_secs(1);
/// How long the end of a child may wait for the engine to end the lease.
const FAREWELL: Duration = Duration::from_millis(400);
/// Between two tries to reach the engine, at first and at last.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

pub struct Replicator {
    node: Arc<Node>,
    feed: Box<dyn Feed>,
    /// The next try to reach the engine, and how many have failed.
    retry: (Boot, u32),
    /// The answers to challenges that this node gives for others.
    mirrored: BTreeMap<super::key::Key, crate::managed::peers::SharedAnswer>,
    /// Answers that could not be written, and are tried again.
    unwritten: bool,
    /// The state as it was last written.
    saved: Saved,
    report: (FleetReport, Option<Boot>),
    /// What the log says of the engine: since when it is away.
    told_away: bool,
    told_store: bool,
    told_problem: Option<String>,
    looked_for_track: Option<(Revision, Boot)>,
    /// When everything was listed.
    since_joined: Option<Boot>,
    /// Sets that the store has lost.
    unpublishable: BTreeSet<String>,
    tidied: Boot,
}

impl Replicator {
    pub fn new(node: Arc<Node>, feed: Box<dyn Feed>) -> Self {
        Replicator {
            node,
            feed,
            retry: (Boot::ZERO, 0),
            mirrored: BTreeMap::new(),
            unwritten: false,
            saved: Saved::default(),
            report: (FleetReport::default(), None),
            told_away: false,
            told_store: false,
            told_problem: None,
            looked_for_track: None,
            since_joined: None,
            unpublishable: BTreeSet::new(),
            tidied: Boot::ZERO,
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Does what is due. The answer: when there is more to do, if nothing happens before.
    pub fn step(&mut self) -> Boot {
        let boot = self.node.boot();
        let next = match self.has_store() {
            true => self.replicate(),
            false => boot + STORE_LOOK,
        };
        self.tell_away();
        self.write_report();
        next.min(boot + IDLE)
    }

    /// Whether this is the process that replicates the store.
    fn has_store(&mut self) -> bool {
        let (now, boot) = (self.node.now(), self.node.boot());
        let taken = self.node.setup.local.take(now);
        let mut state = self.node.state();
        match taken {
            Ok(Ok(())) if state.store == Store::Ours => true,
            Ok(Ok(())) => {
                state.store = Store::Ours;
                drop(state);
                self.take_over();
                true
            }
            Ok(Err(who)) => {
                let since = match &state.store {
                    Store::Others { since, .. } => *since,
                    _ => boot,
                };
                state.store = Store::Others { who: who.clone(), since };
                (state.is_joined, state.kept) = (false, None);
                drop(state);
                self.tell_store(&who, boot.saturating_sub(since));
                false
            }
            Err(error) => {
                if state.problem.as_ref() != Some(&error) {
                    crate::log!(
                        Error,
                        "fleet: the store's lock cannot be taken, and nothing is replicated: {error}"
                    );
                }
                state.problem = Some(error);
                false
            }
        }
    }

    fn tell_store(&mut self, who: &str, since: Duration) {
        if since >= super::node::state::ELSEWHERE && !std::mem::replace(&mut self.told_store, true) {
            crate::log!(
                Warn,
                "fleet: {who} replicates this store; this process serves and renews nothing. Two httpds must not have \
                 one store: give each its own MDStoreDir."
            );
        }
    }

    fn replicate(&mut self) -> Boot {
        let boot = self.node.boot();
        if !self.node.state().is_joined {
            if boot < self.retry.0 {
                return self.retry.0;
            }
            let joined = self.join();
            if let Err(failed) = joined {
                return self.fail(&failed);
            }
            self.retry.1 = 0;
        }
        let outcome = self.follow().and_then(|()| self.keep_alive()).and_then(|()| self.write());
        if let Err(failed) = outcome {
            return self.fail(&failed);
        }
        self.save();
        self.next_step()
    }

    /// Takes what the engine tells.
    fn follow(&mut self) -> Result<(), Failed> {
        for (changes, revision) in self.feed.take()? {
            self.take(changes, revision);
        }
        self.apply();
        Ok(())
    }

    /// Confirms the lease when that is due; what the answer shows is compared with the watch.
    fn keep_alive(&mut self) -> Result<(), Failed> {
        let boot = self.node.boot();
        let due = {
            let state = self.node.state();
            lease::next_keep_alive(state.kept, state.tried, state.is_at_work())
        };
        if boot < due {
            return Ok(());
        }
        match self.node.keep_alive() {
            Ok(alive) => self.compare(alive.revision, alive.time),
            // While it may still be in force, others go on.
            Err(Error::LeaseGone) => Err(Failed::Engine(Error::LeaseGone)),
            Err(error @ (Error::Gap(_) | Error::Stopped)) => Err(error.into()),
            Err(_) if self.node.state().phase(self.node.boot()) > lease::Phase::Over => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the watch has lost track of the engine.
    fn compare(&mut self, told: Revision, time: Option<crate::time::Timestamp>) -> Result<(), Failed> {
        let (now, boot) = (self.node.now(), self.node.boot());
        self.node.state().clock_off = time.map(|time| (now.unix_millis() - time.unix_millis()) / 1000);
        if let Some(warning) = time.and_then(|time| super::decide::health::skew(time, now)) {
            self.tell_problem(warning);
        }
        let state = self.node.state();
        let seen = state.view.revision();
        let (_, since) = match self.looked_for_track.filter(|(at, _)| *at > seen || told < seen) {
            Some(known) => known,
            None => (told, boot),
        };
        let lost = has_lost_track(&state.view, told, boot.saturating_sub(since));
        drop(state);
        self.looked_for_track = (told > seen).then_some((told, since));
        match lost {
            Some(reason) => Err(Failed::Engine(Error::Gap(reason))),
            None => Ok(()),
        }
    }

    /// The engine does not answer, or has lost track: everything is listed anew, later.
    fn fail(&mut self, failed: &Failed) -> Boot {
        let boot = self.node.boot();
        let is_at_once =
            matches!(failed, Failed::Engine(Error::Gap(_) | Error::LeaseGone)) && self.retry.1 == 0;
        self.feed.stop();
        self.looked_for_track = None;
        let pause = RETRY_MIN.saturating_mul(1 << self.retry.1.min(4)).min(RETRY_MAX);
        self.retry = (if is_at_once { boot } else { boot + pause }, self.retry.1.saturating_add(1));
        let mut state = self.node.state();
        state.is_joined = false;
        if state.kept.is_none() || matches!(failed, Failed::Engine(Error::LeaseGone)) {
            state.lease_is_over();
        }
        state.problem = Some(failed.to_string());
        crate::log!(Debug, "fleet: {failed}");
        self.retry.0
    }

    fn next_step(&self) -> Boot {
        let state = self.node.state();
        let keep = lease::next_keep_alive(state.kept, state.tried, state.is_at_work());
        keep.min(self.next_write(&state))
    }

    /// Says once that the engine is away, and once that it is back.
    fn tell_away(&mut self) {
        let (now, boot) = (self.node.now(), self.node.boot());
        let state = self.node.state();
        let is_away = matches!(state.standing(now, boot), Standing::Away { .. });
        let problem = state.problem.clone().unwrap_or_default();
        let name = self.node.setup.engine.name();
        drop(state);
        if is_away == self.told_away {
            return;
        }
        self.told_away = is_away;
        if is_away {
            crate::log!(
                Error,
                "fleet: the engine {name} is away: {problem}. Everything is served as before; certificates are renewed \
                 by this node alone, and only where they would expire."
            );
        } else {
            crate::log!(Notice, "fleet: the engine {name} is back");
        }
    }

    /// Something is wrong that people have to mend; said once.
    fn tell_problem(&mut self, text: String) {
        if self.told_problem.as_ref() != Some(&text) {
            crate::log!(Warn, "fleet: {text}");
            self.told_problem = Some(text);
        }
    }

    /// The process ends. `is_last`: none follows it, so that others need not wait for the end of its lease.
    pub fn stop(&mut self, is_last: bool) {
        self.feed.stop();
        self.save();
        let (lease, is_kept) = {
            let state = self.node.state();
            (state.lease, state.kept.is_some())
        };
        if is_last
            && is_kept
            && let Err(error) = self.node.setup.engine.revoke(lease, FAREWELL)
        {
            crate::log!(Debug, "fleet: the lease of this node ends by itself: {error}");
        }
        self.node.setup.local.release();
    }
}
