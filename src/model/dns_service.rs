// SPDX-License-Identifier: Apache-2.0
//! What httpd answers DNS questions for, and where: `MDDnsListen` and `MDDnsZone`. Values only.

use std::net::SocketAddr;

/// Of the whole httpd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsService {
    /// Each for UDP and TCP, none twice.
    pub listen: Vec<SocketAddr>,
    /// None twice; one may be inside another.
    pub zones: Vec<DnsZone>,
}

impl DnsService {
    /// Whether it answers anything.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty() && !self.zones.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZone {
    /// In lower case, without the final dot.
    pub zone: String,
    /// Its name servers, in the same form: NS, and the first as MNAME of the SOA. Not empty in a plan.
    pub hosts: Vec<String>,
}
