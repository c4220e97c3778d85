// SPDX-License-Identifier: Apache-2.0
//! The registration of an account that all nodes use: one registers, the others wait and find it.

use super::requests::{confirm, persist};
use crate::fleet::engine::{Committed, Condition, LeaseId, Revision, Transaction, Write};
use crate::fleet::key::Key;
use crate::fleet::node::{Failed, Node};
use crate::fleet::record::{Account, Lock, Record};
use crate::managed::peers::{Lost, Registering, SharedAccount};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How long one waits while another node registers.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Registers {
    node: Arc<Node>,
    hash: String,
    /// `None`: the account was there, and the CA has not been asked for another.
    lock: Cell<Option<Taken>>,
    account: Option<SharedAccount>,
    /// When it was written.
    changed: Option<Revision>,
}

/// The lock, under the lease that it was taken with.
#[derive(Clone, Copy)]
struct Taken {
    token: Revision,
    lease: LeaseId,
}

impl Registers {
    pub(super) fn begin(node: Arc<Node>, ca: &str, eab_kid: Option<&str>) -> Result<Self, Lost> {
        let hash = Key::account_hash(ca, eab_kid);
        let mut registers = Registers { node, hash, lock: Cell::new(None), account: None, changed: None };
        let begin = registers.node.boot();
        loop {
            (registers.account, registers.changed) = registers.known();
            if registers.account.is_some() || registers.lock()? {
                return Ok(registers);
            }
            if registers.node.boot().saturating_sub(begin) >= PATIENCE {
                return Err(Lost(format!(
                    "another node has been registering an account at {ca} for a minute"
                )));
            }
            let stopped = |stopped: crate::time::Stopped| Lost(stopped.to_string());
            registers.node.setup.clock.sleep(LOOK).map_err(stopped)?;
        }
    }

    fn known(&self) -> (Option<SharedAccount>, Option<Revision>) {
        let state = self.node.state();
        let account = state.view.account(&self.hash).map(|account| account.value.0.clone());
        (account, state.view.mark(&self.key()).map(|mark| mark.changed))
    }

    /// Whether this node has the lock from now on, and the account is the one that was found at the begin.
    fn lock(&self) -> Result<bool, Lost> {
        let what = "the fleet's lock for a new account cannot be taken";
        self.lock.set(persist(&self.node, what, || self.take_lock())?);
        Ok(self.lock.get().is_some())
    }

    /// Whether the lock may be this node's no more.
    fn check(&self, taken: Taken) -> Result<(), Lost> {
        let state = self.node.state();
        let is_ours = state.view.may_be_lock_of(&self.lock_key(), taken.token, &state.me);
        match is_ours && state.lease == taken.lease {
            true => Ok(()),
            false => Err(Lost("the lease of the fleet's lock for a new account has ended".into())),
        }
    }

    fn lock_key(&self) -> Key {
        Key::AccountLock(self.hash.clone())
    }

    fn key(&self) -> Key {
        Key::Account(self.hash.clone())
    }

    /// `None`: another node has it, or has registered meanwhile.
    fn take_lock(&self) -> Result<Option<Taken>, Failed> {
        let node = &self.node;
        let (lease, mark, is_own) = {
            let state = node.state();
            let lock = state.view.account_lock(&self.hash);
            let is_own = lock.is_some_and(|lock| lock.value.node == state.me);
            (state.lease, state.view.mark(&self.lock_key()), is_own)
        };
        // One of this node was left by a process before.
        let mark = mark.filter(|_| is_own);
        let record = Record::Lock(Lock { node: node.written().node, since: node.now() });
        let when = vec![
            node.unchanged(&self.lock_key(), mark.map(|mark| mark.changed))?,
            node.unchanged(&self.key(), self.changed)?,
        ];
        let then = vec![node.sealed(&self.lock_key(), &record, Some(lease))?];
        match node.commit(&Transaction { when, then })? {
            Committed::Done(at) => {
                let token = mark.map_or(at, |mark| mark.created);
                node.note(&self.lock_key(), record, at, token, Some(lease));
                Ok(Some(Taken { token, lease }))
            }
            Committed::Refused => {
                node.look_up(&self.key())?;
                node.look_up(&self.lock_key())?;
                Ok(None)
            }
        }
    }

    fn fence(&self, token: Revision) -> Result<Condition, Failed> {
        Ok(Condition::CreatedAt(self.node.text(&self.lock_key())?, token))
    }

    fn try_publish(&self, account: &SharedAccount) -> Result<Committed, Failed> {
        let (key, record) = (self.key(), Record::Account(Account(account.clone())));
        let base = self.node.state().view.mark(&key).map(|mark| mark.changed);
        let mut when = vec![self.node.unchanged(&key, base)?];
        let mut then = vec![self.node.sealed(&key, &record, None)?];
        if let Some(Taken { token, .. }) = self.lock.get() {
            when.push(self.fence(token)?);
            then.push(Write::Delete { key: self.node.text(&self.lock_key())? });
        }
        let done = self.node.commit(&Transaction { when, then })?;
        if let Committed::Done(at) = done {
            let mark = crate::fleet::view::Mark { created: at, changed: at, lease: None };
            let by = Some(self.node.written());
            let now = self.node.now();
            let mut state = self.node.state();
            state.put(crate::fleet::view::Put { key, record, by, mark }, now);
            if self.lock.get().is_some() {
                state.view.gone(&self.lock_key(), at);
            }
        }
        Ok(done)
    }
}

impl Registering for Registers {
    fn account(&self) -> Option<SharedAccount> {
        self.account.clone()
    }

    fn may_ask(&self) -> Result<(), Lost> {
        // The CA does not know the account of the fleet any more: of all nodes that find that, one registers.
        let is_locked = self.lock.get().is_some() || self.lock()?;
        let Some(taken) = self.lock.get().filter(|_| is_locked) else {
            return Err(Lost("another node registers an account, or has registered one".into()));
        };
        self.check(taken)?;
        confirm(&self.node)?;
        self.check(taken)
    }

    fn publish(&self, account: &SharedAccount) -> Result<(), Lost> {
        let what = "the new account cannot be given to the fleet";
        match persist(&self.node, what, || self.try_publish(account))? {
            Committed::Done(_) => Ok(()),
            Committed::Refused => Err(Lost("another node has registered an account meanwhile".into())),
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        let Some(Taken { token, .. }) = self.lock.get() else { return };
        let release = || {
            let key = self.lock_key();
            let then = vec![Write::Delete { key: self.node.text(&key)? }];
            if let Committed::Done(at) =
                self.node.commit(&Transaction { when: vec![self.fence(token)?], then })?
            {
                self.node.state().view.gone(&key, at);
            }
            Ok::<_, Failed>(())
        };
        if let Err(failed) = release() {
            crate::log!(Debug, "the fleet's lock for a new account cannot be released: {failed}");
        }
    }
}
