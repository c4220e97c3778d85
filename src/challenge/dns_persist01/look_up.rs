// SPDX-License-Identifier: Apache-2.0
//! Looks up the records of dns-persist-01: at the SERVERs of `MDDnsPropagation` where there are any, else at
//! the name servers of the zone. CNAMEs are followed. Reads, and writes nothing. Imports `dns`, and of the
//! room what dns-01 asks name servers with.

use super::{Expected, Verdict, judge, names_above, record_name};
use crate::challenge::dns01::propagation::{Answer, ask};
use crate::challenge::dns01::server;
use crate::dns::{self, Dns, Name, Recursion, Resolver};
use crate::time::{Stopped, Timestamp};
use std::net::SocketAddr;

/// TXT records, the strings of each joined.
type Records = Vec<Vec<u8>>;

/// Whom to ask.
pub struct LookUp<'a> {
    dns: &'a dyn Dns,
    /// Of the system.
    resolvers: &'a [SocketAddr],
    /// Of `MDDnsPropagation`.
    servers: Vec<SocketAddr>,
}

/// The records of a name are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server process is stopping")]
    Stopped,
    #[error("{0}")]
    Unknown(String),
}

impl From<dns::Error> for Error {
    fn from(error: dns::Error) -> Self {
        match error {
            dns::Error::Stopped => Error::Stopped,
            error => Error::Unknown(error.to_string()),
        }
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Error::Stopped
    }
}

/// What was found, and the domain whose record that is.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub verdict: Verdict,
    pub domain: String,
}

impl<'a> LookUp<'a> {
    /// `configured`: the SERVERs of `MDDnsPropagation`.
    pub fn new(dns: &'a dyn Dns, resolvers: &'a [SocketAddr], configured: &[String]) -> Self {
        let system = Resolver::new(dns, resolvers);
        let known = configured.iter().filter_map(|text| server::addresses(text, &system).ok());
        LookUp { dns, resolvers, servers: known.flatten().collect() }
    }

    /// Judges the record of a name, or the one of a name above it that holds for names below, where the name
    /// itself has none for this CA.
    pub fn judge(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Found, Error> {
        let verdict = self.verdict(expected, now)?;
        if matches!(verdict, Verdict::Missing(_)) {
            for domain in names_above(expected.domain) {
                let above = Expected { domain, is_for_names_below: true, ..*expected };
                match self.verdict(&above, now) {
                    Ok(verdict @ Verdict::Fine { .. }) => {
                        return Ok(Found { verdict, domain: domain.into() });
                    }
                    Err(Error::Stopped) => return Err(Error::Stopped),
                    _ => {}
                }
            }
        }
        Ok(Found { verdict, domain: expected.domain.into() })
    }

    /// The worst of all servers: the CA may ask any.
    fn verdict(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Verdict, Error> {
        let name =
            Name::parse(&record_name(expected.domain)).map_err(|error| Error::Unknown(error.to_string()))?;
        let verdicts = self.records(&name)?.into_iter().map(|records| judge(&records, expected, now));
        let worst = verdicts.max_by_key(|verdict| match verdict {
            Verdict::Fine { .. } => 0,
            Verdict::Wrong { .. } => 1,
            Verdict::Missing(_) => 2,
        });
        worst.ok_or_else(|| Error::Unknown(format!("no name server answers for {name}")))
    }

    /// What each server has that answers.
    fn records(&self, name: &Name) -> Result<Vec<Records>, Error> {
        let own = if self.servers.is_empty() { self.resolvers } else { &self.servers };
        let resolver = Resolver::new(self.dns, own);
        let target = resolver.follow(name)?;
        if !self.servers.is_empty() {
            return self.ask_each(self.servers.iter().map(std::slice::from_ref), &target, Recursion::Desired);
        }
        let found = resolver.authoritative(&resolver.zone_of(&target)?)?;
        self.ask_each(found.iter().map(|server| server.addresses.as_slice()), &target, Recursion::No)
    }

    /// Each server is asked at the first of its addresses that answers.
    fn ask_each<'s>(
        &self,
        servers: impl Iterator<Item = &'s [SocketAddr]>,
        name: &Name,
        recursion: Recursion,
    ) -> Result<Vec<Records>, Error> {
        let (mut found, mut reason) = (Vec::new(), None);
        for addresses in servers {
            for address in addresses {
                match ask(self.dns, *address, name, recursion)? {
                    Answer::Values(records) => {
                        found.push(records);
                        break;
                    }
                    Answer::Refusal(text) | Answer::Silence(text) => _ = reason.get_or_insert(text),
                }
            }
        }
        match reason {
            Some(reason) if found.is_empty() => Err(Error::Unknown(reason)),
            _ => Ok(found),
        }
    }
}
