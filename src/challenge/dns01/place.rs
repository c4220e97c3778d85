// SPDX-License-Identifier: Apache-2.0
//! Where the TXT record of a challenge has to stand: where the CNAMEs of its name end, in the zone that has
//! an SOA record. Where no resolver answers, that is the name itself. Refuses loops of CNAMEs and those that
//! lead nowhere. Imports `dns`.

use crate::dns::{self, Name, Resolver};

/// The final name of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: Name,
    /// `None`: not asked for, or not known.
    pub zone: Option<Name>,
}

/// A place, and what could not be looked up for it.
#[derive(Debug)]
pub struct Found {
    pub place: Place,
    pub unknown: Option<dns::Error>,
}

/// Which zone the record is in.
#[derive(Clone, Copy, Debug)]
pub enum Zone<'a> {
    /// Nobody asks.
    Any,
    /// Configured.
    Known(&'a Name),
    /// To be looked up.
    Wanted,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server process is stopping")]
    Stopped,
    #[error("{0}")]
    Aliases(dns::Error),
    #[error("the CNAME records of {from} lead to {to}, and no zone is found there")]
    DeadEnd { from: Name, to: Name },
}

impl Error {
    /// Whole sentences.
    pub fn advice(&self) -> Option<String> {
        let name = match self {
            Error::Stopped => return None,
            Error::Aliases(dns::Error::Loop { name } | dns::Error::TooManyAliases { name, .. }) => name,
            Error::DeadEnd { from, .. } => from,
            Error::Aliases(_) => return Some("Check the DNS of the domain.".into()),
        };
        Some(format!(
            "Correct the CNAME record of {name} ('dig CNAME {name}' shows it), or remove it and have the TXT record set \
             at {name} itself."
        ))
    }
}

/// Follows CNAMEs from `start`, 8 at most.
pub fn find(start: &Name, zone: Zone<'_>, resolver: &Resolver<'_>) -> Result<Found, Error> {
    let name = match resolver.follow(start) {
        Ok(name) => name,
        Err(dns::Error::Stopped) => return Err(Error::Stopped),
        Err(error @ (dns::Error::Loop { .. } | dns::Error::TooManyAliases { .. })) => {
            return Err(Error::Aliases(error));
        }
        Err(unknown) => {
            let zone = if let Zone::Known(zone) = zone { Some(zone.clone()) } else { None };
            let place = Place { name: start.clone(), zone };
            return Ok(Found { place, unknown: Some(unknown) });
        }
    };
    let (zone, unknown) = match zone {
        Zone::Any => (None, None),
        Zone::Known(zone) => (Some(zone.clone()), None),
        Zone::Wanted => match resolver.zone_of(&name) {
            Ok(zone) => (Some(zone), None),
            Err(dns::Error::Stopped) => return Err(Error::Stopped),
            Err(dns::Error::NoZone { .. }) if name != *start => {
                return Err(Error::DeadEnd { from: start.clone(), to: name });
            }
            Err(unknown) => (None, Some(unknown)),
        },
    };
    Ok(Found { place: Place { name, zone }, unknown })
}
