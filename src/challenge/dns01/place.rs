// SPDX-License-Identifier: Apache-2.0
//! Where the TXT record of a challenge has to stand: where the CNAMEs of its name end, in the zone that has
//! an SOA record. Where no resolver answers, that is the name itself. Refuses loops of CNAMEs and those that
//! lead nowhere, or to names that could be more than a name to a hook. Imports `dns`.

use crate::dns::{self, Name, Resolver};

/// Before the name that is validated.
const LABEL: &str = "_acme-challenge.";

/// The final name of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: Name,
    /// `None`: not asked for, or not known.
    pub zone: Option<Name>,
}

/// A place, and the reason where its look-up failed.
#[derive(Debug)]
pub struct Found {
    pub place: Place,
    pub unknown: Option<dns::Error>,
}

/// Which zone the record is in.
#[derive(Clone, Copy, Debug)]
pub enum Zone<'a> {
    /// Not needed.
    Any,
    /// Configured.
    Known(&'a Name),
    /// To be looked up.
    Wanted,
    /// The nearest of these, which httpd answers for itself. Nobody is asked about names in them: this machine
    /// may not reach the address that the world asks.
    Ours(&'a [Name]),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server process is stopping")]
    Stopped,
    #[error("{0}")]
    Aliases(dns::Error),
    #[error("the CNAME records of {from} lead to {to}, and no zone is found there")]
    DeadEnd { from: Name, to: Name },
    #[error(
        "the CNAME records of {from} lead to {to}, and records are set up at names of letters, digits, '-' and '_' only"
    )]
    Odd { from: Name, to: Name },
    #[error("{}", outside(.name, .zones))]
    Outside { from: Name, name: Name, zones: Vec<Name> },
}

fn outside(name: &Name, zones: &[Name]) -> String {
    let zones: Vec<String> = zones.iter().map(ToString::to_string).collect();
    match zones.as_slice() {
        [] => "httpd answers no DNS questions, as MDDnsListen or MDDnsZone is missing".into(),
        _ => format!(
            "validators look for the TXT record at {name}, which is in no zone of MDDnsZone ({})",
            zones.join(", ")
        ),
    }
}

impl Error {
    /// Whole sentences.
    pub fn advice(&self) -> Option<String> {
        let name = match self {
            Error::Stopped => return None,
            Error::Aliases(dns::Error::Loop { name } | dns::Error::TooManyAliases { name, .. }) => name,
            Error::DeadEnd { from, .. } | Error::Odd { from, .. } => from,
            Error::Outside { from, zones, .. } => return Some(into_zone(from, zones)),
            Error::Aliases(_) => return Some("Check the DNS of the domain.".into()),
        };
        Some(format!(
            "Correct the CNAME record of {name} ('dig CNAME {name}' shows it), or remove it and have the TXT record set \
             at {name} itself."
        ))
    }
}

/// The record that leads from a name into the first of these zones. Two names have two of them.
fn into_zone(from: &Name, zones: &[Name]) -> String {
    // A zone that is one such name fits that name alone, as far as its owner is concerned.
    let is_shared = |zone: &&Name| !zone.to_string().starts_with(LABEL);
    let Some(zone) = zones.iter().find(is_shared).or(zones.first()) else {
        return "Add 'MDDnsListen ADDRESS:53' and 'MDDnsZone ZONE', and reload httpd.".into();
    };
    let text = from.to_string();
    // Before it stands the account's label, if any.
    let domain = text.split_once(LABEL).map_or(text.as_str(), |(_, domain)| domain);
    format!(
        "Set this record once at the name servers of {domain}, in place of any other there: '{from}. CNAME {domain}.{zone}.' \
         The renewal is tried again by itself."
    )
}

/// Follows CNAMEs from `start`, 8 at most.
pub fn find(start: &Name, zone: Zone<'_>, resolver: &Resolver<'_>) -> Result<Found, Error> {
    let ours = if let Zone::Ours(zones) = zone { zones } else { &[] };
    let name = match resolver.follow_into(start, ours) {
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
    if !super::is_plain(&name.to_string()) {
        return Err(Error::Odd { from: start.clone(), to: name });
    }
    let (zone, unknown) = match zone {
        Zone::Any => (None, None),
        Zone::Known(zone) => (Some(zone.clone()), None),
        Zone::Ours(zones) => match nearest(&name, zones) {
            Some(zone) => (Some(zone.clone()), None),
            None => {
                let (from, zones) = (start.clone(), zones.to_vec());
                return Err(Error::Outside { from, name, zones });
            }
        },
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

fn nearest<'a>(name: &Name, zones: &'a [Name]) -> Option<&'a Name> {
    zones.iter().filter(|zone| name.is_in(zone)).max_by_key(|zone| zone.as_bytes().len())
}
