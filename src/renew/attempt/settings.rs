// SPDX-License-Identifier: Apache-2.0
//! The configuration of all renewals.

use crate::challenge::dns01::solver;
use crate::challenge::selection::Means;
use crate::dns::Name;
use crate::managed::Managed;
use crate::notify::Commands;
use crate::renew::decide::retry::Retry;
use std::time::Duration;

/// The global settings of renewals.
#[derive(Clone, Debug)]
pub struct Settings {
    pub retry: Retry,
    pub check_interval: Duration,
    pub initial_delay: Duration,
    /// Renewals in flight at once.
    pub parallel: usize,
    /// Requests from outside reach us as http, on whatever local port.
    pub reachable_by_http: bool,
    /// The same for https.
    pub reachable_by_https: bool,
    pub commands: Commands,
    /// That httpd answers for itself (`MDDnsZone`); none without `MDDnsListen`.
    pub dns_zones: Vec<Name>,
}

impl Settings {
    /// The facts that the choice of challenges of `target` depends on.
    pub fn means<'a>(&self, target: &'a Managed) -> Means<'a> {
        Means {
            configured: &target.md.ca.challenges,
            http: self.reachable_by_http,
            https: self.reachable_by_https,
            acme_tls: &target.md.acme_tls_1,
            dns01: target.dns01.is_some(),
            names_records: target.dns01.as_ref().is_some_and(|dns01| solver::takes_final_name(&dns01.way)),
        }
    }
}
