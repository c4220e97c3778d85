// SPDX-License-Identifier: Apache-2.0
//! Shared by all renewals of a process to answer challenges: the lock of the answers, and the keys of
//! certificates that answer tls-alpn-01.

use crate::crypto::PrivateKey;
use crate::model::KeySpec;
use crate::sync::lock;
use std::sync::{Mutex, MutexGuard};

/// Shared by all renewals.
#[derive(Default)]
pub struct Answering {
    changing: Mutex<()>,
    /// Keys of certificates that answer tls-alpn-01.
    keys: Mutex<Vec<(KeySpec, PrivateKey)>>,
}

impl Answering {
    /// Held while answers are changed: several MDs may have a name in common.
    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Vec<(KeySpec, PrivateKey)>> {
        lock(&self.keys)
    }
}
