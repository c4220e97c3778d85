// SPDX-License-Identifier: Apache-2.0
//! The glue to httpd: performs its hooks with what the layers below decide.
//!
//! - `sys` is the room for `unsafe`; everything else here is safe code over its wrappers.
//! - `startup` runs in the parent, as root where httpd is started by root: plan, store, activation.
//! - `advice` tells what is wrong with the configuration, at configtest and at each start.
//! - `starting` is what a start knows while mod_ssl asks; `tls` answers mod_ssl's questions for certificates;
//!   `tls_hosts` has what is learned of hosts on the way.
//! - `alpn` answers tls-alpn-01 challenges in TLS handshakes.
//! - `guest` is an httpd without MDs, which answers challenges that others have put into the store.
//! - `request` answers challenges, `pages` the questions of people and monitors.
//! - `renewal` runs the jobs in the one child that mod_watchdog chose.
//! - `stapling` has OCSP responses fetched and hands them to handshakes.
//! - `live` has new certificates served without a restart; `refresh` runs it in every child, `news` tells
//!   them.

mod advice;
mod alpn;
mod guest;
mod live;
mod news;
mod pages;
mod primed;
mod refresh;
mod renewal;
mod request;
mod stapling;
mod starting;
mod startup;
mod sys;
mod takeover;
mod tls;
mod tls_hosts;

use crate::config;
use crate::managed::Managed;
use crate::metrics::Tally;
use crate::model::RequireHttps;
use crate::renew::attempt::settings::Settings;
use crate::renew::worker::pool::Driver;
use crate::stapling::snapshot::States;
use crate::status::Snapshots;
use crate::store::WorkStore;
use crate::time::StopFlag;
use live::Live;
use stapling::Stapling;
use starting::Startup;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tls_hosts::Contexts;

/// What hangs at httpd's record of a server: what its directives said, and once the start is through,
/// what all servers share.
#[derive(Default)]
pub struct ServerConf {
    config: Mutex<config::ServerConfig>,
    /// Between the two halves of post_config.
    startup: Mutex<Option<Arc<Startup>>>,
    state: OnceLock<Arc<State>>,
}

impl ServerConf {
    /// Once the start is through, where anything is stapled.
    fn stapling(&self) -> Option<&Stapling> {
        self.state.get()?.stapling.as_deref()
    }
}

/// What the directives in a section say that applies to some requests only (`<If>`).
#[derive(Default)]
pub struct DirConf {
    require_https: Mutex<Option<RequireHttps>>,
}

impl DirConf {
    fn set_require_https(&self, mode: RequireHttps) {
        *lock(&self.require_https) = Some(mode);
    }

    fn require_https(&self) -> Option<RequireHttps> {
        *lock(&self.require_https)
    }
}

/// Runs a directive on the configuration of its server.
fn directive_conf<R>(conf: &ServerConf, run: impl FnOnce(&mut config::ServerConfig) -> R) -> R {
    run(&mut lock(&conf.config))
}

/// What is known once the start is through. Children inherit it by fork and never change it, but for the
/// driver of the one child that renews.
pub struct State {
    mds: Arc<[Managed]>,
    /// Any DNS name of an MD, and `*.rest` for wildcards, to the MD's index.
    by_name: HashMap<String, usize>,
    /// By server: what `MDRequireHttps` asks of hosts that have an MD.
    require_https: HashMap<usize, RequireHttps>,
    store: WorkStore,
    settings: Settings,
    /// Tells this httpd from others on the same store.
    instance: u64,
    /// The admin knows that others use the store: they are kept apart by `MDStoreLocks` and a command.
    is_store_shared: bool,
    /// Raised when a child ends. Whatever works beside httpd's own threads is counted there.
    stop: StopFlag,
    driver: Mutex<Option<Driver>>,
    /// By server: what its directives say about pages.
    pages: HashMap<usize, pages::Settings>,
    snapshots: Snapshots,
    /// Counted by the child that renews, seen by all.
    tally: Tally,
    /// With `MDLiveActivation on`.
    live: Option<Arc<Live>>,
    /// Where new sets are tried out.
    contexts: Arc<Contexts>,
    /// Where anything is stapled.
    stapling: Option<Arc<Stapling>>,
    /// How asking for responses goes, for pages.
    staplings: States,
    /// In the child that renews.
    staples: Mutex<Option<stapling::Runner>>,
}

impl State {
    /// The MD that a host name belongs to: its own, or that of a wildcard over it.
    fn find(&self, name: &str) -> Option<&Managed> {
        self.mds.get(self.index_of(name)?)
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(|| self.by_name.get(&wildcard()?)).copied()
    }
}

/// A lock whose holder panicked is still good here: every holder leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
