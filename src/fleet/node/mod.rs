// SPDX-License-Identifier: Apache-2.0
//! This node of the fleet, as its renewals (`member`) and the thread that replicates its store (`replicator`)
//! share it: the engine, the local store, and what is known. The state is locked for work in memory alone, never
//! over a request. Decides nothing; imports `local`, `view` and `codec`.

mod adopt;
mod bring;
pub mod known;
mod listing;
mod replace;
pub mod state;
pub mod under_way;

use super::codec::Codec;
use super::decide::lease::Boot;
use super::engine::{Alive, Committed, Engine, Error, LeaseId, Revision, Transaction, Write};
use super::key::Key;
use super::local::Local;
use super::record::{NodeMd, Record, Written};
use super::sealed::{Flaw, Secrets};
use super::view::{Mark, Put};
use crate::sync::lock;
use crate::time::{Clock, DAY, Timestamp};
use state::State;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The kind of a warning: the engine refuses this node.
const DENIED: &str = "denied";
/// A right that is missing shows itself again in that time.
const REFUSED: Duration = Duration::from_secs(20);

/// What a node is made of.
#[derive(Clone)]
pub struct Setup {
    pub engine: Arc<dyn Engine>,
    pub local: Arc<dyn Local>,
    pub clock: Arc<dyn Clock>,
    pub secrets: Secrets,
    /// In the engine's URL.
    pub prefix: String,
    /// For people.
    pub name: String,
    /// Of mod_md.
    pub version: String,
    /// The MDs that this httpd renews.
    pub mds: Vec<NodeMd>,
}

pub struct Node {
    pub setup: Setup,
    state: Mutex<State>,
    /// Whether there is something to do for the thread that replicates.
    woken: Mutex<bool>,
    wakes: Condvar,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Engine(#[from] Error),
    #[error("the engine's value of {what} {1}", what = known::described(.0))]
    Value(Key, Flaw),
    /// What the fleet has was not read yet.
    #[error("the fleet's data was not read yet")]
    NotJoined,
    /// Everything is to be read once more.
    #[error("everything is read from the engine once more")]
    Resync,
}

impl Failed {
    /// What happened and what to do about it, for people.
    pub fn advised(&self) -> String {
        match self {
            Failed::Engine(error) => error.advised(),
            Failed::Value(_, flaw) => format!("{self}{}", flaw.advice()),
            other => other.to_string(),
        }
    }
}

/// Of a request that the next step repeats. `Err`: this step is over.
pub fn unless_passing(error: Error) -> Result<(), Failed> {
    match error {
        Error::LeaseGone | Error::Stopped | Error::Gap(_) => Err(error.into()),
        _ => Ok(()),
    }
}

impl Node {
    pub fn new(setup: Setup) -> Self {
        let began = setup.clock.boot();
        let own = setup.mds.iter().map(|md| md.name.clone());
        let state = Mutex::new(State::new(own, began));
        Node { setup, state, woken: Mutex::default(), wakes: Condvar::new() }
    }

    pub fn now(&self) -> Timestamp {
        self.setup.clock.now()
    }

    pub fn boot(&self) -> Boot {
        self.setup.clock.boot()
    }

    /// Never held over a request.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// There is something to do for the thread that replicates.
    pub fn wake(&self) {
        *lock(&self.woken) = true;
        self.wakes.notify_all();
    }

    /// Waits until then, or until there is something to do; a tenth of a second at most.
    pub fn rest(&self, until: Boot) {
        const SLICE: Duration = Duration::from_millis(100);
        let left = until.saturating_sub(self.boot()).min(SLICE);
        let woken = lock(&self.woken);
        if *woken || left.is_zero() {
            return;
        }
        drop(self.wakes.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether there was something to do since the last call.
    pub fn take_wake(&self) -> bool {
        std::mem::take(&mut *lock(&self.woken))
    }

    /// Something is wrong that people have to mend: shown while it is, and logged once a day.
    pub fn warn(&self, kind: &'static str, text: Option<String>) {
        let boot = self.boot();
        let mut state = self.state();
        let Some(text) = text else {
            state.warnings.remove(kind);
            return;
        };
        let logged = state.warnings.get(kind).map(|(_, logged)| *logged).filter(|at| boot < *at + DAY);
        if logged.is_none() {
            crate::log!(Warn, "fleet: {text}");
        }
        state.warnings.insert(kind, (text, logged.unwrap_or(boot)));
    }

    /// The engine answers and takes writes: what was wrong with it is over. A refusal may be of other requests.
    pub fn is_well(&self) {
        let boot = self.boot();
        let is_refused = {
            let mut state = self.state();
            state.problem = None;
            state.denied.is_some_and(|at| boot < at + REFUSED)
        };
        if !is_refused {
            self.warn(DENIED, None);
        }
    }

    /// A step on the way to a write in the engine has failed.
    pub fn note_failure(&self) {
        let boot = self.boot();
        self.state().failing.get_or_insert(boot);
    }

    /// Makes a request, and counts it.
    pub fn ask<T>(&self, request: impl FnOnce(&dyn Engine) -> Result<T, Error>) -> Result<T, Error> {
        let (answer, boot) = (request(self.setup.engine.as_ref()), self.boot());
        if let Err(error @ Error::Denied(_)) = &answer {
            // Time does not mend it.
            let named = format!("the engine {} refuses", self.setup.engine.name());
            let text = error.advised().replacen("the engine refuses", &named, 1);
            self.warn(DENIED, Some(text));
            self.state().denied = Some(self.boot());
        }
        let mut state = self.state();
        match &answer {
            Ok(_) => state.requests_ok += 1,
            Err(Error::Stopped) => {}
            Err(error) => {
                state.requests_failed += 1;
                state.failing.get_or_insert(boot);
                state.problem = Some(error.advised());
            }
        }
        answer
    }

    /// Confirms the lease. The time of the call counts.
    pub fn keep_alive(&self) -> Result<Alive, Error> {
        let sent = self.boot();
        let lease = {
            let mut state = self.state();
            state.tried = Some(sent);
            state.lease
        };
        let answer = self.ask(|engine| engine.keep_alive(lease));
        let mut state = self.state();
        if state.lease == lease {
            match &answer {
                Ok(_) => state.kept = state.kept.max(Some(sent)),
                Err(Error::LeaseGone) => state.kept = None,
                Err(_) => {}
            }
        }
        answer
    }

    /// Carries out a transaction, and notes what it shows about the lease and the engine.
    pub fn commit(&self, transaction: &Transaction) -> Result<Committed, Error> {
        let answer = self.ask(|engine| engine.commit(transaction));
        if let Err(Error::LeaseGone) = answer {
            self.state().kept = None;
            self.wake();
        }
        answer
    }

    /// Needed for everything that is written.
    pub fn codec(&self) -> Result<Codec, Failed> {
        self.state().codec.clone().ok_or(Failed::NotJoined)
    }

    /// The text of a key in the engine.
    pub fn text(&self, key: &Key) -> Result<String, Failed> {
        self.codec()?.text(key).map_err(|flaw| Failed::Value(key.clone(), flaw))
    }

    /// A value of this node, sealed.
    pub fn sealed(&self, key: &Key, record: &Record, lease: Option<LeaseId>) -> Result<Write, Failed> {
        let failed = |flaw| Failed::Value(key.clone(), flaw);
        let (codec, by) = (self.codec()?, self.written());
        let value = codec.seal(key, record, &by).map_err(failed)?;
        Ok(Write::Put { key: codec.text(key).map_err(failed)?, value, lease })
    }

    /// By this node, now.
    pub fn written(&self) -> Written {
        Written { node: self.state().me.clone(), at: self.now() }
    }

    /// Notes what this node has written. The watch tells it as well, later.
    pub fn note(&self, key: &Key, record: Record, at: Revision, created: Revision, lease: Option<LeaseId>) {
        let by = Some(self.written());
        let mark = Mark { created, changed: at, lease };
        let mut state = self.state();
        if let Key::Set(name) = key {
            state.unadvised.insert(name.clone());
        }
        state.view.put(Put { key: key.clone(), record, by, mark });
    }
}
