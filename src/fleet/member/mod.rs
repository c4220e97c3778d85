// SPDX-License-Identifier: Apache-2.0
//! What renewals see of the fleet: `managed::peers` for this node. Locks, jobs, sets and answers are requests to
//! the engine, made by the thread that renews; all else is left to the one that replicates. Decides nothing:
//! `decide` does. Imports `node`.

mod registering;
mod requests;
mod turn;

use super::decide::begin::{Begin, Situation, Takes, begin, takes};
use super::decide::{asks, cleanup, presence};
use super::engine::{Committed, Error, Transaction};
use super::key::Key;
use super::node::state::State;
use super::node::under_way::Posted;
use super::node::{Failed, Node};
use super::record::{Challenge, Hold, Lock, Ocsp, Record};
use crate::crypto::PrivateKey;
use crate::managed::peers::{Lost, Need, NotNow, Peers, Registering, SharedAnswer, Turn};
use crate::model::RateLimit;
use crate::time::Timestamp;
use registering::Registers;
use requests::persist;
use std::sync::Arc;
use std::time::Duration;
use turn::HeldTurn;

/// Between two looks at what other nodes have acknowledged.
const LOOK: Duration = Duration::from_millis(20);
/// When to look again after the engine has not answered.
const AGAIN: Duration = Duration::from_secs(5);
/// A lock that waits for its end is looked at as often: an engine may not tell.
const LOCK_LOOK: Duration = Duration::from_secs(5);

pub struct Member {
    node: Arc<Node>,
}

impl Member {
    pub fn new(node: Arc<Node>) -> Self {
        Member { node }
    }

    fn decide(&self, name: &str, need: Need) -> Begin {
        let (now, boot, in_use) = (self.node.now(), self.node.boot(), self.node.setup.local.in_use(name));
        let state = self.node.state();
        let situation = Situation {
            name,
            me: &state.me,
            standing: state.standing(now, boot),
            need,
            in_use,
            is_pending: state.pending.contains_key(name),
            alone: state.alone(name, &need),
        };
        begin(&situation, &state.view, now)
    }

    /// Takes the lock of an MD, if set and job are still those that are known. `None`: they are not, or it is
    /// taken.
    fn take_lock(&self, name: &str) -> Result<Option<HeldTurn>, Failed> {
        let node = &self.node;
        let key = Key::Lock(name.into());
        let (lease, takes, conditions) = {
            let state = node.state();
            (
                state.lease,
                takes(&state.view, name, &state.me),
                [Key::Set(name.into()), Key::Job(name.into())].map(|key| (state.view.mark(&key), key)),
            )
        };
        let former = match takes {
            Takes::Free => None,
            Takes::Over(mark) => Some(mark),
            Takes::Not => return Ok(None),
        };
        let record = Record::Lock(Lock { node: node.written().node, since: node.now() });
        let condition = node.unchanged(&key, former.map(|mark| mark.changed))?;
        let mut transaction = Transaction { when: vec![condition], then: Vec::new() };
        for (mark, key) in conditions {
            transaction.when.push(node.unchanged(&key, mark.map(|mark| mark.changed))?);
        }
        transaction.then.push(node.sealed(&key, &record, Some(lease))?);
        let Committed::Done(at) = node.commit(&transaction)? else { return Ok(None) };
        let token = former.map_or(at, |mark| mark.created);
        node.note(&key, record, at, token, Some(lease));
        Ok(Some(HeldTurn::held(node.clone(), name, token)))
    }

    /// What the engine has of an MD now.
    fn look_up(&self, name: &str) -> Result<(), Failed> {
        let of = |key: fn(String) -> Key| self.node.look_up(&key(name.into()));
        of(Key::Lock)
            .and_then(|()| of(Key::Withdrawn))
            .and_then(|()| of(Key::Set))
            .and_then(|()| of(Key::Job))
    }

    /// As decided. `None`: what was known is not what the engine has.
    fn try_begin(&self, name: &str, need: Need) -> Result<Option<Box<dyn Turn>>, NotNow> {
        match self.decide(name, need) {
            Begin::Solo => Ok(Some(Box::new(HeldTurn::solo(self.node.clone(), name, need.errors)))),
            Begin::Not(mut not_now) => {
                if not_now.node.is_some() {
                    not_now.until = not_now.until.min(self.node.now().plus(LOCK_LOOK));
                    self.look_at_lock(name);
                }
                Err(not_now)
            }
            Begin::Lock
                if self.node.state().turns.get(name).is_some_and(|held| held.kept_until.is_none()) =>
            {
                Err(not_now(self.node.now().plus(AGAIN), "this process renews it already".into()))
            }
            Begin::Lock => match self.take_lock(name) {
                Ok(Some(turn)) => Ok(Some(Box::new(turn))),
                Ok(None) => Ok(None),
                Err(failed) => Err(self.failed(failed)),
            },
        }
    }

    /// The end of a lease may be untold: then the next look finds the lock free.
    fn look_at_lock(&self, name: &str) {
        if let Err(failed) = self.node.look_up(&Key::Lock(name.into())) {
            crate::log!(Debug, "md[{name}]: the fleet's lock cannot be looked at: {failed}");
        }
    }

    fn failed(&self, failed: Failed) -> NotNow {
        not_now(self.node.now().plus(AGAIN), format!("the fleet's lock cannot be taken: {failed}"))
    }
}

fn not_now(until: Timestamp, reason: String) -> NotNow {
    NotNow { until, reason, node: None }
}

impl Peers for Member {
    fn is_ready(&self) -> bool {
        self.node.state().is_ready(self.node.boot())
    }

    fn names_of_others(&self, name: &str) -> Vec<String> {
        let state = self.node.state();
        asks::names_of_others(&state.view, &state.me, name)
    }

    fn asks(&self, name: &str) -> bool {
        let boot = self.node.boot();
        let state = self.node.state();
        match state.is_joined && state.away_since(boot).is_none() {
            true => asks::asks(&state.view, &state.me, name),
            // Without the engine, nobody asks for this node.
            false => state.was_joined || boot >= state.began + AGAIN,
        }
    }

    fn begin(&self, name: &str, need: &Need) -> Result<Box<dyn Turn>, NotNow> {
        for _ in 0..3 {
            if let Some(turn) = self.try_begin(name, *need)? {
                return Ok(turn);
            }
            self.look_up(name).map_err(|failed| self.failed(failed))?;
        }
        Err(not_now(self.node.now().plus(AGAIN), "other nodes change what the fleet has of it".into()))
    }

    fn registering(&self, ca: &str, eab_kid: Option<&str>) -> Result<Box<dyn Registering>, Lost> {
        Ok(Box::new(Registers::begin(self.node.clone(), ca, eab_kid)?))
    }

    fn account_key(&self, ca: &str, eab_kid: Option<&str>) -> Option<PrivateKey> {
        let state = self.node.state();
        let account = state.view.account(&Key::account_hash(ca, eab_kid))?;
        Some(account.value.0.key.clone())
    }

    fn present(&self, answer: &SharedAnswer) -> Result<(), Lost> {
        let key = Key::challenge(answer);
        let record = Record::Challenge(Challenge(answer.clone()));
        let at = persist(&self.node, "the answer to a challenge cannot be given to the fleet", || {
            let lease = self.node.state().lease;
            let other = "an answer to a challenge is another than the engine has told";
            let written = self.node.replace(&key, &record, Some(lease), None)?;
            written.ok_or_else(|| Failed::Engine(Error::Gap(other.into())))
        })?;
        let mut state = self.node.state();
        state.withdrawn_answers.remove(&key);
        state.presented.insert(key, (answer.clone(), at));
        drop(state);
        // Acknowledgements may be there already.
        self.node.wake();
        Ok(())
    }

    fn await_presented(&self, name: &str) -> Vec<String> {
        let begin = self.node.boot();
        loop {
            let behind = {
                let state = self.node.state();
                let of_md = state.presented.values().filter(|(answer, _)| answer.owner == name);
                let latest = of_md.map(|(_, at)| *at).max().unwrap_or_default();
                presence::behind(&state.view, &state.me, latest)
            };
            let is_over = self.node.boot().saturating_sub(begin) >= presence::PATIENCE;
            if behind.is_empty() || is_over || self.node.setup.clock.sleep(LOOK).is_err() {
                return behind;
            }
        }
    }

    fn withdraw_answers(&self, name: &str) {
        let mut state = self.node.state();
        let State { me, view, presented, withdrawn_answers, .. } = &mut *state;
        let of_md = presented.iter().filter(|(_, (answer, _))| answer.owner == name);
        withdrawn_answers.extend(of_md.map(|(key, _)| key.clone()));
        // Those of a process before this one, too.
        let of_node = view.challenges().filter(|(_, item)| item.by.as_ref().is_some_and(|by| by.node == *me));
        let of_md = of_node.filter(|(_, item)| item.value.0.owner == name);
        withdrawn_answers.extend(of_md.map(|(key, _)| key.clone()));
        drop(state);
        self.node.wake();
    }

    fn hold(&self, limit: &RateLimit, name: Option<&str>) {
        self.post(Posted::Hold(Hold { limit: limit.clone(), md: name.map(String::from) }));
    }

    fn holds(&self, now: Timestamp) -> Vec<(RateLimit, Option<String>)> {
        cleanup::holds(&self.node.state().view, now)
    }

    fn share_renew_at(&self, name: &str, at: Timestamp) {
        self.post(Posted::RenewAt { name: name.into(), at });
    }

    fn share_response(&self, name: &str, file: &str, response: &[u8]) {
        self.post(Posted::Response(Ocsp { md: name.into(), file: file.into(), der: response.into() }));
    }

    fn bring_in(&self, name: &str) {
        self.node.bring_in(name);
    }

    fn take_news(&self) -> Vec<String> {
        let boot = self.node.boot();
        self.node.state().take_news(boot)
    }
}

impl Member {
    fn post(&self, posted: Posted) {
        self.node.state().post(posted);
        self.node.wake();
    }
}
