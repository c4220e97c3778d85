// SPDX-License-Identifier: Apache-2.0
//! What a start knows between its two halves, while mod_ssl asks for certificates and loads them.

use super::module::Server;
use super::tls_hosts::TlsHosts;
use crate::config::{Host, Plan, ServerConfig};
use crate::managed::serve::OwnFile;
use crate::ocsp::{Cache, Subject};
use crate::startup::fallback::Fallbacks;
use crate::startup::reconcile;
use crate::startup::reconcile::SyncedMd;
use crate::startup::recover;
use crate::startup::recover::OnTrial;
use crate::store::{StartStore, StoreLock};
use crate::sync::lock;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Made by the first half, consumed by the second.
pub struct Startup {
    pub store: StartStore,
    pub now: Timestamp,
    pub fallbacks: Fallbacks,
    /// In the order of the plan's MDs.
    pub mds: Mutex<Vec<SyncedMd>>,
    pub(crate) servers: Vec<(ServerConfig, Host)>,
    pub(crate) plan: Mutex<Plan>,
    /// Server to its index in `servers`.
    pub(crate) index: HashMap<usize, usize>,
    /// Hosts that mod_ssl has asked certificates for.
    pub(crate) tls: Mutex<HashSet<usize>>,
    pub hosts: TlsHosts,
    /// Sets with which no start has succeeded yet.
    pub(crate) on_trial: OnTrial,
    /// Held while these are on trial.
    pub(crate) trial: Mutex<Option<StoreLock>>,
    /// Whether certificate files of hosts are usable, by path: thousands of hosts may inherit one.
    pub(crate) own_files: Mutex<HashMap<String, OwnFile>>,
    pub stapling: Primed,
}

impl Startup {
    /// Whether each of a host's own certificate files is usable.
    pub fn own_files(&self, paths: &[String]) -> Vec<OwnFile> {
        let mut known = lock(&self.own_files);
        let worth = |path: &String| match known.get(path) {
            Some(own) => *own,
            None => {
                let own = reconcile::own_file(&self.store, Path::new(path), self.now);
                known.insert(path.clone(), own);
                own
            }
        };
        paths.iter().map(worth).collect()
    }

    /// mod_ssl is about to load the certificates of this MD. If they are on trial and mod_ssl ends the start,
    /// the next start puts the previous ones back.
    pub fn note_loading(&self, name: &str) {
        if self.on_trial.contains_key(name)
            && lock(&self.trial).is_some()
            && let Err(error) = recover::note_loading(&self.store, name)
        {
            crate::log!(
                Warn,
                "md[{name}]: cannot note that its new certificates are being loaded: {}",
                error.advised()
            );
        }
    }

    /// mod_ssl has loaded all certificates of a host.
    pub fn note_loaded(&self) {
        if lock(&self.trial).is_some()
            && let Err(error) = recover::note_loaded(&self.store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// mod_ssl has loaded all certificates of all hosts.
    pub fn end_trial(&self) {
        if lock(&self.trial).take().is_some()
            && let Err(error) = recover::end_trial(&self.store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// Calls `run` with the plan and the server's index in it.
    pub fn with_plan<R>(&self, server: Server<'_>, run: impl FnOnce(&Plan, usize) -> R) -> Option<R> {
        let host = *self.index.get(&server.key())?;
        Some(run(&lock(&self.plan), host))
    }
}

/// What mod_ssl tells a start of the certificates that are stapled.
#[derive(Default)]
pub struct Primed {
    pub cache: Arc<Cache>,
    /// By the name that mod_ssl has for a certificate.
    pub subjects: Mutex<BTreeMap<Vec<u8>, Arc<Subject>>>,
    /// MDs of hosts with `SSLUseStapling on` and `MDStapling off`, whose certificates can go live.
    pub by_mod_ssl: Mutex<HashSet<usize>>,
}
