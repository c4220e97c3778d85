// SPDX-License-Identifier: Apache-2.0
//! The parts of a plan: servers as httpd knows them, global values, managed domains, and hosts with the
//! settings in force for each. [`plan`](super::plan) makes it, [`tls`](super::tls) completes it after mod_ssl.

use super::finding::Finding;
use super::fleet::Fleet;
use super::{Globals, HostSettings, MatchNames, PortMap, ServerConfig, Settings};
use crate::model::{Dns01, DnsService, Md, RequireHttps, Route};
use crate::time::{DAY, TimeSlice};
use std::time::Duration;

/// One `server_rec`.
pub struct Server<'a> {
    pub config: &'a ServerConfig,
    pub host: Host,
}

/// A server as httpd itself knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    pub server_name: String,
    /// As written, wildcards included.
    pub aliases: Vec<String>,
    pub is_main: bool,
    /// `ServerAdmin`.
    pub admin: Option<String>,
    pub defined_at: (String, u32),
    /// The port of `ServerName`, 0 without one.
    pub port: u16,
    /// The ports in `<VirtualHost ADDRESS:PORT …>`; 0 is any, as is an empty list.
    pub ports: Vec<u16>,
}

impl Host {
    /// Where it was defined, for the log.
    pub(super) fn place(&self) -> String {
        if self.is_main {
            return "main server".to_string();
        }
        format!("{}:{}", self.defined_at.0, self.defined_at.1)
    }
}

/// Everything the whole httpd has once, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// As configured: relative to httpd's state directory.
    pub store_dir: String,
    /// How long to wait for the lock of the store; `None`: do not lock.
    pub store_locks: Option<Duration>,
    pub port_map: PortMap,
    pub base_server: bool,
    pub match_names: MatchNames,
    pub dns01_version: u8,
    pub notify_cmd: Option<String>,
    pub message_cmd: Option<String>,
    pub retry_delay: Duration,
    pub retry_failover: u32,
    pub initial_delay: Duration,
    pub check_interval: Duration,
    pub activation_delay: Duration,
    pub live_activation: bool,
    pub renew_parallel: u32,
    pub dns: DnsService,
    pub fleet: Option<Fleet>,
}

impl Global {
    pub(super) fn resolve(set: Globals, dns: DnsService, fleet: Option<Fleet>) -> Self {
        Global {
            store_dir: set.store_dir.unwrap_or_else(|| "md".into()),
            store_locks: set.store_locks.flatten(),
            port_map: PortMap {
                http: set.port_http.unwrap_or(Some(80)),
                https: set.port_https.unwrap_or(Some(443)),
            },
            base_server: set.base_server.unwrap_or(false),
            match_names: set.match_names.unwrap_or_default(),
            dns01_version: set.dns01_version.unwrap_or(1),
            notify_cmd: set.notify_cmd.filter(|c| !c.is_empty()),
            message_cmd: set.message_cmd.filter(|c| !c.is_empty()),
            retry_delay: set.retry_delay.unwrap_or(Duration::from_secs(30)),
            retry_failover: set.retry_failover.unwrap_or(13),
            initial_delay: set.initial_delay.unwrap_or_default(),
            check_interval: set.check_interval.unwrap_or(DAY / 2),
            activation_delay: set.activation_delay.unwrap_or_default(),
            live_activation: set.live_activation.unwrap_or(true),
            renew_parallel: set.renew_parallel.unwrap_or(16),
            dns,
            fleet,
        }
    }
}

/// A managed domain with everything in force for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedMd {
    pub md: Md,
    /// Hosts it matches: indices into the servers, ascending.
    pub hosts: Vec<usize>,
    pub defined_at: (String, u32),
    /// The way of dns-01 in force, be it of the MD or of the server; [`Md`] has only the MD's own.
    pub dns01: Option<Dns01>,
    /// The servers of `MDDnsPropagation` in force, for look-ups that need no way of dns-01.
    pub dns_servers: Vec<String>,
    /// In force likewise.
    pub route: Route,
    /// Whether it is renewed at all; known after [`Plan::after_tls`].
    pub watched: bool,
}

/// The settings in force for one host. A plan has them in the order of the servers.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPlan {
    /// MDs that match: indices into [`Plan::mds`].
    pub mds: Vec<usize>,
    /// Of the virtual host itself, else of its MD; off without an MD.
    pub require_https: RequireHttps,
    /// Staple for a certificate of this host that belongs to no MD.
    pub staple_others: bool,
    pub staple_keep: TimeSlice,
    pub staple_renew_window: TimeSlice,
    /// `None`: for this machine and for users who have logged in.
    pub server_status: Option<bool>,
    pub certificate_status: bool,
    /// Name and URL of the certificate monitor.
    pub certificate_check: (String, String),
    /// For OCSP requests on behalf of certificates without MD.
    pub proxy_url: Option<String>,
    pub proxy_ca_certs: Option<String>,
}

impl HostPlan {
    pub(super) fn resolve(settings: &Settings, host: HostSettings) -> Self {
        HostPlan {
            mds: Vec::new(),
            require_https: RequireHttps::Off,
            staple_others: settings.stapling.unwrap_or(false) && host.staple_others.unwrap_or(true),
            staple_keep: host.staple_keep.unwrap_or(TimeSlice::Length(DAY * 7)),
            staple_renew_window: host.staple_renew_window.unwrap_or(TimeSlice::Percent(33)),
            server_status: host.server_status,
            certificate_status: host.certificate_status.unwrap_or(true),
            certificate_check: host
                .certificate_check
                .unwrap_or_else(|| ("crt.sh".into(), "https://crt.sh?q=".into())),
            proxy_url: settings.proxy_url.clone(),
            proxy_ca_certs: settings.proxy_ca_certs.clone().flatten(),
        }
    }
}

/// The outcome of reading the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub global: Global,
    /// Whether requests to the public port 80 arrive.
    pub can_http: bool,
    /// Whether connections to the public port 443 arrive.
    pub can_https: bool,
    /// In the order of the servers, then of their definition.
    pub mds: Vec<PlannedMd>,
    pub hosts: Vec<HostPlan>,
    /// For the log.
    pub findings: Vec<Finding>,
}
