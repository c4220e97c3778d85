// SPDX-License-Identifier: Apache-2.0
//! Shared by all renewals of a process to answer challenges: the lock of the answers, the keys of
//! certificates that answer tls-alpn-01, and the DNS servers that did not answer lately.

use crate::challenge::dns01::server::Silent;
use crate::crypto::PrivateKey;
use crate::model::KeySpec;
use crate::sync::lock;
use std::sync::{Arc, Mutex, MutexGuard};

/// Shared by all renewals.
#[derive(Default)]
pub struct Answering {
    changing: Arc<Mutex<()>>,
    /// Keys of certificates that answer tls-alpn-01.
    keys: Mutex<Vec<(KeySpec, PrivateKey)>>,
    silent: Mutex<Silent>,
}

impl Answering {
    /// With a lock that others hold as well while they change answers.
    pub(super) fn under(changing: Arc<Mutex<()>>) -> Self {
        Answering { changing, ..Answering::default() }
    }

    /// Held while answers are changed: several MDs may have a name in common.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        lock(self.lock())
    }

    /// The lock of the answers.
    pub(super) fn lock(&self) -> &Mutex<()> {
        &self.changing
    }

    pub(super) fn silent(&self) -> &Mutex<Silent> {
        &self.silent
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Vec<(KeySpec, PrivateKey)>> {
        lock(&self.keys)
    }
}
