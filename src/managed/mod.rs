// SPDX-License-Identifier: Apache-2.0
//! The facts that a process has about a managed domain: its settings, the certificates in use and in staging,
//! the hosts that serve them. Reads, checks and writes files of the store. `renew::decide` decides about
//! them; `startup`, `renew` and `live` act on that, and this room never imports them.

pub mod bundle;
pub mod certificates;
pub mod fit;
#[cfg(test)]
pub mod fixture;
pub mod fleet_requests;
pub mod gate;
pub mod handed_in;
pub mod live_set;
pub mod peers;
pub mod published;
pub mod requests;
pub mod save_error;
pub mod saved_order;
pub mod serve;
pub mod slot;
pub mod staging;
pub mod withdrawn;

use crate::config::PlannedMd;
pub use crate::model::Route;
use crate::model::{Dns01, Md, State};
use crate::time::Timestamp;
use live_set::LiveSet;
use serve::Certs;
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

/// A managed domain as the running server knows it: settings complete, certificates in use read.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    pub md: Md,
    /// Those of the start.
    pub certs: Certs,
    /// The TLS hosts that have this MD, and the sources of their certificates at the start.
    pub hosts: Vec<Host>,
    /// Some host has this MD.
    pub in_use: bool,
    /// No host serves its certificates: none has TLS, and no other server terminates TLS for this httpd.
    pub lacks_tls: bool,
    /// Renewal looks after it.
    pub watched: bool,
    /// The command that answers dns-01, the server's or its own.
    pub dns01: Option<Dns01>,
    /// The DNS servers that are asked in place of the system's.
    pub dns_servers: Vec<String>,
    /// How its CA is reached: server-level settings resolved, which md.json does not show.
    pub route: Route,
    /// The set that came into use since the start.
    pub live: slot::Slot,
    /// What keeps the state of its renewal from the disk.
    pub save_error: save_error::SaveError,
    /// What operators have asked about it.
    pub requests: requests::Requests,
}

impl Managed {
    /// A planned one, with its certificates in use. Hosts and children are added later.
    pub fn new(planned: PlannedMd, certs: Certs) -> Self {
        let PlannedMd { md, hosts, defined_at: _, dns01, dns_servers, route, watched } = planned;
        Managed {
            md,
            certs,
            in_use: !hosts.is_empty(),
            dns01,
            dns_servers,
            route,
            watched,
            ..Managed::default()
        }
    }

    /// The MD with the CA that issued the certificates this process serves.
    pub fn current(&self) -> Cow<'_, Md> {
        match &*self.live.load() {
            Some(set) if set.ca_url != self.md.ca.url => {
                let mut md = self.md.clone();
                md.ca.url.clone_from(&set.ca_url);
                // The account was one at the CA before.
                md.ca.account = None;
                Cow::Owned(md)
            }
            _ => Cow::Borrowed(&self.md),
        }
    }

    /// Whether the start has found certificates that serve all its names at this time.
    pub fn started_well(&self, now: Timestamp) -> bool {
        self.md.state == State::Complete && self.certs.are_in_time(now)
    }

    /// The certificates that this process has for it.
    pub fn served(&self) -> Served<'_> {
        match &*self.live.load() {
            Some(set) => Served::Live(set.clone()),
            None => Served::Start(&self.certs),
        }
    }
}

/// A TLS host of an MD.
#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    /// `ADDRESS:PORT` of its `<VirtualHost>`.
    pub address: String,
    /// Whose certificate it was given at the start.
    pub source: serve::Source,
    /// Live sets are served by it.
    pub is_live: bool,
}

/// Certificates of an MD in a process.
pub enum Served<'a> {
    /// Since the start.
    Start(&'a Certs),
    Live(Arc<LiveSet>),
}

impl Deref for Served<'_> {
    type Target = Certs;

    fn deref(&self) -> &Certs {
        match self {
            Served::Start(certs) => certs,
            Served::Live(set) => &set.certs,
        }
    }
}
