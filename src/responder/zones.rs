// SPDX-License-Identifier: Apache-2.0
//! The zones that the responder serves (`MDDnsZone`), with their SOA and NS records as they stand in answers.
//! Refuses nothing: names are checked where they are read. Imports nothing of this room.

use super::question::first_label;
use crate::dns::Name;
use std::collections::HashMap;

/// What secondaries would go by, if there were any. The minimum is how long resolvers keep that there is no
/// record.
const REFRESH: u32 = 3600;
const RETRY: u32 = 600;
const EXPIRE: u32 = 86_400;
const MINIMUM: u32 = 0;

/// By their names in wire format and lower case.
pub struct Zones(HashMap<Vec<u8>, Zone>);

/// The data of the records at the zone's apex.
pub struct Zone {
    pub soa: Vec<u8>,
    pub name_servers: Vec<Vec<u8>>,
}

impl Zones {
    /// Each zone with its name servers, of which the first is the SOA's. `serial`: the time of the start.
    pub fn new(zones: impl IntoIterator<Item = (Name, Vec<Name>)>, serial: u32) -> Zones {
        let zone = |(name, hosts): (Name, Vec<Name>)| {
            let soa = soa(&name, hosts.first().unwrap_or(&name), serial);
            let name_servers = hosts.iter().map(|host| host.as_bytes().to_vec()).collect();
            (name.to_lowercase_bytes(), Zone { soa, name_servers })
        };
        Zones(zones.into_iter().map(zone).collect())
    }

    /// The zone that a name in lower case lies in, and how many bytes of the name are before the zone's: none
    /// at its apex.
    pub fn find(&self, name: &[u8]) -> Option<(&Zone, usize)> {
        let mut rest = name;
        loop {
            if let Some(zone) = self.0.get(rest) {
                return Some((zone, name.len() - rest.len()));
            }
            (_, rest) = first_label(rest)?;
        }
    }
}

fn soa(zone: &Name, host: &Name, serial: u32) -> Vec<u8> {
    let numbers = [serial, REFRESH, RETRY, EXPIRE, MINIMUM].map(u32::to_be_bytes).concat();
    // The mailbox of whoever is in charge, which RFC 2142 wants to be there.
    let mailbox = zone.child("hostmaster").unwrap_or_else(|_| host.clone());
    [host.as_bytes(), mailbox.as_bytes(), &numbers].concat()
}
