// SPDX-License-Identifier: Apache-2.0
//! Sets that this start has put into use and mod_ssl has not loaded yet. A note in the store says which they
//! are, so that the next start puts those before back where this one ends ([`super::recover`]). Without a
//! note the start goes on, with a warning.

use super::recover;
use super::recover::OnTrial;
use crate::store::{Error, StartStore, StoreLock};
use crate::sync::lock;
use std::sync::Mutex;

/// The trial of one start. Its lock is held until all is loaded, or the process ends.
#[derive(Default)]
pub struct LoadTrial {
    sets: OnTrial,
    lock: Mutex<Option<StoreLock>>,
}

impl LoadTrial {
    /// Notes the sets on trial.
    pub fn begin(store: &StartStore, sets: OnTrial) -> Self {
        if sets.is_empty() {
            return LoadTrial::default();
        }
        let begin = || {
            let lock = store.lock_trial()?;
            if lock.is_some() {
                recover::begin_trial(store, &sets)?;
            }
            Ok(lock)
        };
        let lock = begin().unwrap_or_else(|error: Error| {
            crate::log!(
                Warn,
                "should httpd not start with the new certificates, those before will not come back by themselves: {}",
                error.advised()
            );
            None
        });
        LoadTrial { sets, lock: Mutex::new(lock) }
    }

    /// mod_ssl is about to load the certificates of this MD. Where they are on trial and it ends the start,
    /// the next one puts those before back.
    pub fn note_loading(&self, store: &StartStore, name: &str) {
        if self.sets.contains_key(name)
            && lock(&self.lock).is_some()
            && let Err(error) = recover::note_loading(store, name)
        {
            crate::log!(
                Warn,
                "md[{name}]: cannot note that its new certificates are being loaded: {}",
                error.advised()
            );
        }
    }

    /// It has loaded all of a host.
    pub fn note_loaded(&self, store: &StartStore) {
        if lock(&self.lock).is_some()
            && let Err(error) = recover::note_loaded(store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// It has loaded all of all hosts.
    pub fn end(&self, store: &StartStore) {
        if lock(&self.lock).take().is_some()
            && let Err(error) = recover::end_trial(store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }
}
