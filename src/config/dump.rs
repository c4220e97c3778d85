// SPDX-License-Identifier: Apache-2.0
//! The configuration as other programs are told: what `apachectl -t -D DUMP_MD` knows. Values, their JSON
//! both ways ([`json`]) and their text for people ([`text`]).

mod json;
mod text;

pub use json::Unreadable;

use super::fleet::Fleet;
use super::planned::{Host, PlannedMd};
use crate::model::DnsService;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration of httpd, with everything resolved. Holds no secrets: bindings to external accounts have an
/// empty hmac, files are named and not read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// Of the module.
    pub version: String,
    /// The folder of the store, absolute.
    pub store: PathBuf,
    pub server_root: PathBuf,
    /// httpd's `User` and `Group`; `None` if root does not start httpd.
    pub user: Option<(u32, u32)>,
    /// In the order of the configuration.
    pub mds: Vec<PlannedMd>,
    /// All servers, the main one first. [`PlannedMd::hosts`] are indices into these.
    pub hosts: Vec<DumpedHost>,
    /// The ports that httpd listens to.
    pub ports: Vec<u16>,
    /// The local ports that the public ports 80 and 443 lead to (`MDPortMap`).
    pub http_port: Option<u16>,
    pub https_port: Option<u16>,
    /// `MDLiveActivation`.
    pub is_live: bool,
    /// `MDStoreLocks`: how long a start waits for the lock of the store; `None`: it does not take it.
    pub store_locks: Option<Duration>,
    /// `MDRetryDelay`, `MDRetryFailover` and `MDRenewParallel`; `None`: not known.
    pub retry_delay: Option<Duration>,
    pub retry_failover: Option<u32>,
    pub renew_parallel: Option<u32>,
    /// `MDDnsListen` and `MDDnsZone`.
    pub dns: DnsService,
    /// `MDFleet` and the directives beside it.
    pub fleet: Option<DumpedFleet>,
    /// `MDMessageCmd` and `MDNotifyCmd`.
    pub message_cmd: Option<String>,
    pub notify_cmd: Option<String>,
    /// What configtest says, each a whole text.
    pub findings: Vec<DumpedFinding>,
}

/// The fleet that httpd belongs to. Files are named and not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpedFleet {
    /// With the prefix.
    pub urls: Vec<String>,
    pub secret_files: Vec<PathBuf>,
    /// For TLS to the engine: trusted certificates, and those of this node.
    pub ca_file: Option<PathBuf>,
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// Name and file of the password.
    pub user: Option<(String, PathBuf)>,
    pub node: Option<String>,
}

impl DumpedFleet {
    pub fn of(fleet: &Fleet) -> Self {
        DumpedFleet {
            urls: fleet.urls().collect(),
            secret_files: fleet.secret_files.clone(),
            ca_file: fleet.ca_file.clone(),
            client_files: fleet.client_files.clone(),
            user: fleet.user.clone(),
            node: fleet.node.clone(),
        }
    }
}

/// What configtest says of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpedFinding {
    /// Of its kind.
    pub code: String,
    pub text: String,
}

/// A server of httpd.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DumpedHost {
    pub host: Host,
    /// `ADDRESS:PORT` of its `<VirtualHost>`; empty for the main server.
    pub address: String,
    /// It has TLS; `None`: that is known only after mod_ssl has started.
    pub has_tls: Option<bool>,
    /// Files of `SSLCertificateFile` are set for it.
    pub has_own_certificate: bool,
}
