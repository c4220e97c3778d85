// SPDX-License-Identifier: Apache-2.0
//! What operators have asked about one managed domain: shared by the thread that reads requests and the one
//! that renews, which both write `request` in job.json. Decides nothing.

use super::staging::Staging;
use crate::model::{Job, Renew, Requested};
use crate::store::{Error, WorkStore};
use crate::sync::lock;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Of one managed domain, in one process.
#[derive(Clone, Default)]
pub struct Requests(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether the job on disk has been looked at: what an earlier process has accepted goes on.
    is_known: bool,
    requested: Option<Requested>,
    /// The renewing thread has not seen the latest request yet.
    is_new: bool,
}

/// Held while a job is written: the two threads do not write over each other's part.
pub struct Held<'r>(MutexGuard<'r, State>);

impl Requests {
    pub fn hold(&self) -> Held<'_> {
        Held(lock(&self.0))
    }

    /// Whether the renewing thread has not seen the latest request yet.
    pub fn is_new(&self) -> bool {
        lock(&self.0).is_new
    }

    /// Changes the answers, and writes them into the job on disk.
    pub fn write(
        &self,
        store: &WorkStore,
        name: &str,
        change: impl FnOnce(Option<Requested>) -> Option<Requested>,
    ) -> Result<(), Error> {
        let mut held = self.hold();
        let store = store.unsynced();
        let staging = Staging::new(&store, name);
        // The renewing thread reports a job that cannot be read, and begins again.
        let job = staging.job().unwrap_or_default().unwrap_or_else(|| Job::new(name));
        held.know(&job);
        let before = held.0.requested.clone();
        let requested = change(before.clone());
        if requested == before {
            return Ok(());
        }
        held.0.requested.clone_from(&requested);
        held.0.is_new = true;
        staging.save_job(&Job { request: requested, ..job })
    }
}

impl Held<'_> {
    /// Takes over what the job of an earlier process says.
    pub fn know(&mut self, job: &Job) {
        if !std::mem::replace(&mut self.0.is_known, true) {
            self.0.requested.clone_from(&job.request);
        }
    }

    /// The renewing thread has seen the latest request.
    pub fn take(&mut self) {
        self.0.is_new = false;
    }

    pub fn get(&self) -> Option<&Requested> {
        self.0.requested.as_ref()
    }

    pub fn get_mut(&mut self) -> Option<&mut Requested> {
        self.0.requested.as_mut()
    }

    /// How to renew, where that was asked for and is not over.
    pub fn renewal(&self) -> Option<&Renew> {
        self.get().and_then(Requested::renewal)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Requests").field(&lock(&self.0).requested).finish()
    }
}
