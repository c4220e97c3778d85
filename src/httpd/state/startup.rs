// SPDX-License-Identifier: Apache-2.0
//! What a start knows between its two halves: while mod_ssl, in between, asks for certificates and loads
//! them.

use super::module::Server;
use super::tls_hosts::TlsHosts;
use crate::config::{Host, Plan, ServerConfig};
use crate::httpd::start::before_tls::{config_servers, report};
use crate::httpd::start::stapled::Primed;
use crate::managed::serve::OwnFile;
use crate::startup::fallback::Fallbacks;
use crate::startup::reconcile;
use crate::startup::reconcile::SyncedMd;
use crate::startup::recover;
use crate::startup::recover::OnTrial;
use crate::store::{StartStore, StoreLock};
use crate::sync::lock;
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

/// What is known between the two halves.
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
    /// Sets that no start has come up with yet.
    pub(crate) on_trial: OnTrial,
    /// Held while these are on trial.
    pub(crate) trial: Mutex<Option<StoreLock>>,
    /// What certificate files of hosts are worth, by path: thousands of hosts may inherit one.
    pub(crate) own_files: Mutex<HashMap<String, OwnFile>>,
    pub stapling: Primed,
}

impl Startup {
    /// What each of the files of a host's own is worth.
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

    /// mod_ssl is about to load the certificates of this MD. Where they are on trial and it ends the start,
    /// the next one puts those before back.
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

    /// It has loaded all of a host.
    pub fn note_loaded(&self) {
        if lock(&self.trial).is_some()
            && let Err(error) = recover::note_loaded(&self.store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// It has loaded all of all hosts.
    pub fn end_trial(&self) {
        if lock(&self.trial).take().is_some()
            && let Err(error) = recover::end_trial(&self.store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// Hands over the plan, and the server's index in it.
    pub fn with_plan<R>(&self, server: Server<'_>, run: impl FnOnce(&Plan, usize) -> R) -> Option<R> {
        let host = *self.index.get(&server.key())?;
        Some(run(&lock(&self.plan), host))
    }

    /// Hands over the MD of a TLS host and its index, noting that it is one. `None` where it has none, or
    /// several: then the second half stops the start.
    pub fn with_md_of_tls_host<R>(
        &self,
        server: Server<'_>,
        run: impl FnOnce(usize, &SyncedMd) -> R,
    ) -> Option<R> {
        let host = *self.index.get(&server.key())?;
        let is_new = lock(&self.tls).insert(host);
        let plan = lock(&self.plan);
        match plan.hosts.get(host)?.mds.as_slice() {
            [one] => lock(&self.mds).get(*one).map(|md| run(*one, md)),
            [] => None,
            // mod_ssl asks twice.
            _ if !is_new => None,
            _ => {
                report(plan.conflict(&config_servers(&self.servers), host));
                None
            }
        }
    }
}
