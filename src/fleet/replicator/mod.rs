// SPDX-License-Identifier: Apache-2.0
//! Between the local store and the engine: keeps the lease, follows the engine's history, has the store follow
//! it, and writes what this node has to say. A value whose [`step`](Replicator::step) does what is due and says
//! when to call it again: a thread of the child runs one, a simulation ten. Serves nobody, and nothing that is
//! served waits for it. Imports `node`, and `decide` for all that it decides; its parts do not import each other.

mod accounts;
mod answers;
mod apply;
mod ends;
pub mod feed;
mod join;
mod lease;
mod meta;
mod operate;
mod outbox;
mod presence;
mod report;
mod save;
mod sets;
pub mod thread;
mod withdraw;

use super::decide::begin::Standing;
use super::decide::lease::Boot;
use super::engine::Error;
use super::node::state::ELSEWHERE;
use super::node::under_way::Store;
use super::node::{Failed, Node};
use feed::Feed;
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
    track: lease::Track,
    answers: answers::Answers,
    responses: apply::Responses,
    sets: sets::Sets,
    ends: ends::Ends,
    saver: save::Saver,
    reporter: report::Reporter,
    /// What the log says.
    is_told_away: bool,
    is_told_unjoined: bool,
    is_told_elsewhere: bool,
}

impl Replicator {
    pub fn new(node: Arc<Node>, feed: Box<dyn Feed>) -> Self {
        Replicator {
            node,
            feed,
            retry: (Boot::ZERO, 0),
            track: lease::Track::default(),
            answers: answers::Answers::default(),
            responses: apply::Responses::default(),
            sets: sets::Sets::default(),
            ends: ends::Ends::default(),
            saver: save::Saver::default(),
            reporter: report::Reporter::default(),
            is_told_away: false,
            is_told_unjoined: false,
            is_told_elsewhere: false,
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
        self.reporter.write(&self.node);
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
                self.node.warn("lock", None);
                self.saver.take_over(&self.node);
                withdraw::gather(&self.node);
                self.node.adopt();
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
                self.tell_elsewhere(&who, boot.saturating_sub(since));
                false
            }
            Err(error) => {
                drop(state);
                self.node.note_failure();
                let text = format!("the store's lock cannot be taken, and nothing is replicated: {error}");
                self.node.warn("lock", Some(text));
                false
            }
        }
    }

    fn replicate(&mut self) -> Boot {
        let boot = self.node.boot();
        if !self.node.state().is_joined {
            if boot < self.retry.0 {
                return self.retry.0;
            }
            if let Err(failed) = self.join() {
                return self.fail(&failed);
            }
        }
        if let Err(failed) = self.go_on() {
            return self.fail(&failed);
        }
        self.retry.1 = 0;
        self.saver.save(&self.node);
        let state = self.node.state();
        lease::next(&state).min(presence::next(&state, self.node.boot()))
    }

    fn join(&mut self) -> Result<(), Failed> {
        let revision = join::join(&self.node)?;
        self.feed.follow(revision)?;
        self.answers.clean(&self.node);
        self.sets = sets::Sets::default();
        self.responses = apply::Responses::default();
        accounts::publish(&self.node)?;
        join::settle(&self.node);
        self.saver.save_instance(&self.node);
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), Failed> {
        let node = &self.node;
        for (changes, revision) in self.feed.take()? {
            apply::take(node, &changes, revision);
        }
        meta::keep(node)?;
        accounts::publish(node)?;
        self.ends.look(node)?;
        let is_whole = self.answers.apply(node);
        self.responses.apply(node);
        apply::advice(node);
        apply::sets(node);
        if is_whole {
            apply::acknowledge(node);
        }
        self.track.keep_alive(node)?;
        presence::write(node)?;
        outbox::post(node)?;
        outbox::take_back(node)?;
        withdraw::withdraw(node)?;
        self.sets.publish(node)?;
        self.ends.tidy(node)?;
        operate::look(node)
    }

    /// The engine does not answer, or has lost track: everything is listed once more, later.
    fn fail(&mut self, failed: &Failed) -> Boot {
        let boot = self.node.boot();
        let is_at_once = matches!(failed, Failed::Engine(Error::Gap(_) | Error::LeaseGone) | Failed::Resync)
            && self.retry.1 == 0;
        self.feed.stop();
        self.track = lease::Track::default();
        let pause = RETRY_MIN.saturating_mul(1 << self.retry.1.min(4)).min(RETRY_MAX);
        self.retry = (if is_at_once { boot } else { boot + pause }, self.retry.1.saturating_add(1));
        crate::log!(Debug, "fleet: {failed}");
        self.node.note_failure();
        if !is_at_once {
            self.tell_unjoined(failed);
        }
        let mut state = self.node.state();
        state.is_joined = false;
        if matches!(failed, Failed::Engine(Error::LeaseGone)) {
            state.lease_is_over();
        }
        if !matches!(failed, Failed::Resync | Failed::Engine(Error::Stopped)) {
            state.problem = Some(failed.advised());
        }
        self.retry.0
    }

    fn tell_elsewhere(&mut self, who: &str, since: Duration) {
        if since >= ELSEWHERE && !std::mem::replace(&mut self.is_told_elsewhere, true) {
            crate::log!(
                Warn,
                "fleet: {who} replicates this store; this process serves and renews nothing. Two httpds must not have \
                 one store: give each its own MDStoreDir."
            );
        }
    }

    /// Says once what keeps this process from the engine. One that was there and fails is told once it is away,
    /// a refusal is told by itself.
    fn tell_unjoined(&mut self, failed: &Failed) {
        if self.node.state().was_joined
            || matches!(failed, Failed::Engine(Error::Stopped | Error::Denied(_)))
            || std::mem::replace(&mut self.is_told_unjoined, true)
        {
            return;
        }
        crate::log!(
            Warn,
            "fleet: the engine {} cannot be used yet, and is tried again: {}. Everything is served as before.",
            self.node.setup.engine.name(),
            failed.advised()
        );
    }

    /// Says once that the engine is away, and once that it is back.
    fn tell_away(&mut self) {
        let (now, boot) = (self.node.now(), self.node.boot());
        let (is_away, problem) = {
            let state = self.node.state();
            let is_away = matches!(state.standing(now, boot), Standing::Away { .. });
            (is_away, state.problem.clone().unwrap_or_default())
        };
        if std::mem::replace(&mut self.is_told_away, is_away) == is_away {
            return;
        }
        let name = self.node.setup.engine.name();
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

    /// The process ends. `is_last`: none follows it, so that others need not wait for the end of its lease.
    pub fn stop(&mut self, is_last: bool) {
        self.feed.stop();
        self.saver.save(&self.node);
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
