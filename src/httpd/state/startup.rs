// SPDX-License-Identifier: Apache-2.0
//! The state of a start between its two halves, while mod_ssl requests certificates and loads them.

use super::module::Server;
use super::tls_hosts::TlsHosts;
use crate::config::{Host, Plan, ServerConfig};
use crate::managed::serve::OwnFile;
use crate::ocsp::{Cache, Subject};
use crate::startup::bring_up::BroughtUp;
use crate::startup::fallback::Fallbacks;
use crate::startup::fleet_files::Files;
use crate::startup::stored_md;
use crate::startup::stored_md::StoredMd;
use crate::startup::trial::LoadTrial;
use crate::store::StartStore;
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
    pub mds: Mutex<Vec<StoredMd>>,
    pub(crate) servers: Vec<(ServerConfig, Host)>,
    pub(crate) plan: Mutex<Plan>,
    /// Server to its index in `servers`.
    pub(crate) index: HashMap<usize, usize>,
    /// Hosts that mod_ssl has asked certificates for.
    pub(crate) tls: Mutex<HashSet<usize>>,
    pub hosts: TlsHosts,
    /// Sets with which no start has succeeded yet.
    trial: LoadTrial,
    /// Whether certificate files of hosts are usable, by path: thousands of hosts may inherit one.
    own_files: Mutex<HashMap<String, OwnFile>>,
    pub stapling: Primed,
    /// With `MDFleet`, where its files can be used.
    pub fleet: Mutex<Option<Files>>,
}

impl Startup {
    /// `index`: each server's place in `servers`.
    pub fn new(
        store: StartStore,
        now: Timestamp,
        plan: Plan,
        servers: Vec<(ServerConfig, Host)>,
        index: HashMap<usize, usize>,
        brought_up: BroughtUp,
    ) -> Self {
        Startup {
            hosts: TlsHosts::new(brought_up.mds.len(), plan.global.live_activation),
            trial: brought_up.trial,
            own_files: Mutex::default(),
            stapling: Primed::default(),
            fleet: Mutex::default(),
            store,
            now,
            fallbacks: Fallbacks::default(),
            mds: Mutex::new(brought_up.mds),
            index,
            servers,
            plan: Mutex::new(plan),
            tls: Mutex::default(),
        }
    }

    /// Whether each of a host's own certificate files is usable.
    pub fn own_files(&self, paths: &[String]) -> Vec<OwnFile> {
        let mut known = lock(&self.own_files);
        let worth = |path: &String| match known.get(path) {
            Some(own) => *own,
            None => {
                let own = stored_md::own_file(&self.store, Path::new(path), self.now);
                known.insert(path.clone(), own);
                own
            }
        };
        paths.iter().map(worth).collect()
    }

    /// mod_ssl is about to load the certificates of this MD. If they are on trial and mod_ssl ends the start,
    /// the next start puts the previous ones back.
    pub fn note_loading(&self, name: &str) {
        self.trial.note_loading(&self.store, name);
    }

    /// mod_ssl has loaded all certificates of a host.
    pub fn note_loaded(&self) {
        self.trial.note_loaded(&self.store);
    }

    /// mod_ssl has loaded all certificates of all hosts.
    pub fn end_trial(&self) {
        self.trial.end(&self.store);
    }

    /// Calls `run` with the plan and the server's index in it.
    pub fn with_plan<R>(&self, server: Server<'_>, run: impl FnOnce(&Plan, usize) -> R) -> Option<R> {
        let host = *self.index.get(&server.key())?;
        Some(run(&lock(&self.plan), host))
    }
}

/// The certificates to staple, as mod_ssl passes them to a start.
#[derive(Default)]
pub struct Primed {
    pub cache: Arc<Cache>,
    /// By the name that mod_ssl has for a certificate.
    pub subjects: Mutex<BTreeMap<Vec<u8>, Arc<Subject>>>,
    /// MDs of hosts with `SSLUseStapling on` and `MDStapling off`, whose certificates can go live.
    pub by_mod_ssl: Mutex<HashSet<usize>>,
}
