// SPDX-License-Identifier: Apache-2.0
//! The state that `start`, `serve` and `child` share: the settings of each server, and the result of a
//! complete start. Contains data only; of `httpd` it imports `sys` alone.

mod module;
pub mod startup;
pub mod tls_hosts;

pub use module::{Connection, Module, Request, Server};

use crate::config::{self, HostPlan};
use crate::fleet::inherited::Inherited;
use crate::fleet::replicator::thread::{Ending, Running};
use crate::httpd::sys::Office;
use crate::live::bell::Bell;
use crate::live::distribution::Distribution;
use crate::managed::Managed;
use crate::managed::peers::Peers;
use crate::metrics::Metrics;
use crate::model::RequireHttps;
use crate::renew::attempt::settings::Settings;
use crate::renew::worker::pool::Driver;
use crate::responder::Responder;
use crate::stapling::runner::Runner;
use crate::stapling::service::Service;
use crate::stapling::snapshot::States;
use crate::status::{Monitor, Snapshots};
use crate::store::WorkStore;
use crate::sync::atomic::AtomicU64;
use crate::sync::lock;
use crate::time::StopFlag;
use startup::Startup;
use tls_hosts::Contexts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The module's part of httpd's record of a server: the settings of its directives, and once the start is
/// complete, the state that all servers share.
#[derive(Default)]
pub struct ServerConf {
    pub config: Mutex<config::ServerConfig>,
    /// Between the two halves of post_config.
    pub startup: Mutex<Option<Arc<Startup>>>,
    pub state: OnceLock<Arc<State>>,
}

impl ServerConf {
    /// Once the start is complete, if anything is stapled.
    pub fn stapling(&self) -> Option<&Service> {
        self.state.get()?.stapling.as_deref()
    }
}

/// The settings of directives in a section that applies to some requests only (`<If>`).
#[derive(Default)]
pub struct DirConf {
    pub require_https: Mutex<Option<RequireHttps>>,
}

impl DirConf {
    pub fn set_require_https(&self, mode: RequireHttps) {
        *lock(&self.require_https) = Some(mode);
    }

    pub fn require_https(&self) -> Option<RequireHttps> {
        *lock(&self.require_https)
    }
}

/// Runs a directive on the configuration of its server.
pub fn directive_conf<R>(conf: &ServerConf, run: impl FnOnce(&mut config::ServerConfig) -> R) -> R {
    run(&mut lock(&conf.config))
}

/// The state of the server once the start is complete. Children inherit it by fork and never change it,
/// except for the drivers in the one child that renews.
pub struct State {
    pub mds: Arc<[Managed]>,
    /// Any DNS name of an MD, and `*.rest` for wildcards, to the MD's index.
    pub by_name: HashMap<String, usize>,
    /// By server: the `MDRequireHttps` setting of hosts that have an MD.
    pub require_https: HashMap<usize, RequireHttps>,
    pub store: WorkStore,
    pub settings: Settings,
    /// Distinguishes this httpd from others on the same store.
    pub instance: u64,
    /// The admin has declared that others use the store: `MDStoreLocks` and a command keep them apart.
    pub is_store_shared: bool,
    /// Raised when a child ends. It counts the threads at work beside httpd's own.
    pub stop: StopFlag,
    /// Wakes the threads of all children that look for news.
    pub bell: Arc<Bell>,
    /// When this child tried last to start its thread, in seconds of the clock; 0: it runs, or has nothing to do.
    pub watch_tried: AtomicU64,
    /// Who has it renews. `None`: there is nothing to do, or no such lock.
    pub office: Option<Office>,
    pub driver: Mutex<Option<Driver>>,
    /// By server: the settings of its pages.
    pub pages: HashMap<usize, PageSettings>,
    pub snapshots: Snapshots,
    /// Counted by the child that renews, seen by all.
    pub metrics: Metrics,
    /// By server, with `MDLiveActivation on`: the MD of a host that began with a self-signed certificate.
    pub self_signed: HashMap<usize, usize>,
    /// `MDActivationDelay`.
    pub activation_delay: Duration,
    /// With `MDLiveActivation on`.
    pub live: Option<Arc<Distribution>>,
    /// The TLS contexts on which new sets are tried out.
    pub contexts: Arc<Contexts>,
    /// If anything is stapled.
    pub stapling: Option<Arc<Service>>,
    /// The states of requests for OCSP responses, for pages.
    pub stapling_states: States,
    /// In the child that renews.
    pub stapling_runner: Mutex<Option<Runner>>,
    /// With `MDDnsListen`.
    pub responder: Option<Arc<Responder>>,
    /// With `MDFleet`, where its files can be used.
    pub fleet: Option<Inherited>,
    /// In the child that renews, with `MDFleet`.
    pub joined: Mutex<Option<Joined>>,
    /// How the child ends, as far as the fleet needs to know.
    pub fleet_ending: Ending,
}

impl State {
    /// The MD that a host name belongs to: its own, or that of a wildcard over it.
    pub fn find(&self, name: &str) -> Option<&Managed> {
        self.mds.get(self.index_of(name)?)
    }

    /// Whether a host has no other certificate to show than a self-signed one.
    pub fn is_without_certificate(&self, server: Server<'_>) -> bool {
        let md = self.self_signed.get(&server.key()).and_then(|md| self.mds.get(*md));
        md.is_some_and(|managed| managed.live.load().is_none())
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(|| self.by_name.get(&wildcard()?)).copied()
    }
}

/// `None` before the start is complete.
pub fn state_of(server: Server<'_>) -> Option<Arc<State>> {
    server.conf()?.state.get().cloned()
}

/// The fleet as the child that renews has it.
pub struct Joined {
    pub peers: Arc<dyn Peers>,
    pub running: Running,
}

/// The page settings of one server.
pub struct PageSettings {
    pub in_server_status: Option<bool>,
    pub certificate_status: bool,
    pub monitor: Monitor,
}

impl PageSettings {
    pub fn new(host: &HostPlan) -> Self {
        let (name, url) = host.certificate_check.clone();
        PageSettings {
            in_server_status: host.server_status,
            certificate_status: host.certificate_status,
            monitor: Monitor { name, url },
        }
    }
}
