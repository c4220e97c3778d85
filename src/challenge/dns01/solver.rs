// SPDX-License-Identifier: Apache-2.0
//! The contract of all ways to set TXT records: find the place, set up, know which servers have to have the
//! record, remove. Whoever calls has noted the record before it is set up. Imports the ways; none of them
//! imports this.

use super::place::{self, Found, Place, Zone};
use super::propagation::{Server, Wanted, Watch};
use super::server::{self, Unknown};
use super::{Record, acme_dns, hook, responder, rfc2136};
use crate::challenge::answers::Noted;
use crate::dns::{self, Change, Dns, Name, Recursion, Resolver};
use crate::exec;
use crate::http::{self, Transport};
use crate::model::Dns01;
use crate::model::dns01::{HookKind, Rfc2136, Way};
use crate::store::{WorkGroup, WorkStore};
use crate::sync::lock;
use crate::time::Clock;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// The tools of all ways.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub dns: &'a dyn Dns,
    /// Of the system.
    pub resolvers: &'a [SocketAddr],
    /// That httpd answers for itself.
    pub zones: &'a [Name],
    pub clock: &'a dyn Clock,
    pub store: &'a WorkStore,
    /// Held while answers are changed.
    pub changing: &'a Mutex<()>,
    /// Opens a way to servers other than CAs.
    pub connect: &'a dyn Fn() -> Result<Arc<dyn Transport>, http::Error>,
}

/// The way of one MD.
pub struct Solver<'a> {
    dns01: &'a Dns01,
    owner: &'a str,
    tools: Tools<'a>,
    /// Of `MDDnsPropagation`, else those of the system.
    resolvers: Vec<SocketAddr>,
}

/// Why a record is not (known to be) set up or removed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("the server process is stopping")]
    Stopped,
    #[error("{0}")]
    Command(#[from] exec::Error),
    #[error("{0}")]
    Place(#[from] place::Error),
    #[error("{0}")]
    Update(#[from] rfc2136::Error),
    #[error("{0}")]
    Responder(#[from] responder::Error),
    #[error("{0}")]
    Name(#[from] dns::BadName),
    #[error("{0}")]
    Hook(#[from] hook::Error),
    #[error("{0}")]
    AcmeDns(#[from] acme_dns::Error),
    #[error("acme-dns: {found} is where the record has to be for validators, and not {wanted}")]
    NoDelegation { domain: String, found: String, wanted: String, line: String },
    #[error("{0}")]
    Route(#[from] http::Error),
}

impl Failed {
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Failed::Stopped
                | Failed::Command(exec::Error::Stopped { .. })
                | Failed::Place(place::Error::Stopped)
                | Failed::Update(rfc2136::Error::Stopped)
                | Failed::Route(http::Error::Stopped)
        ) || matches!(self, Failed::Hook(error) if error.is_stopped())
            || matches!(self, Failed::AcmeDns(error) if error.is_stopped())
    }

    /// There is no record to remove, as no request was sent.
    pub fn has_not_begun(&self) -> bool {
        match self {
            Failed::Command(error) => matches!(error, exec::Error::Empty | exec::Error::Start { .. }),
            Failed::Update(error) => !matches!(error, rfc2136::Error::Update(_)),
            Failed::Hook(error) => error.has_not_begun(),
            Failed::Place(_) | Failed::Name(_) | Failed::Route(_) | Failed::NoDelegation { .. } => true,
            // acme-dns keeps the values until others come, whatever we note.
            Failed::AcmeDns(_) => true,
            Failed::Responder(_) | Failed::Stopped => false,
        }
    }

    /// Another try may remove the record.
    pub fn is_unreached(&self) -> bool {
        matches!(self, Failed::Update(error) if error.is_unreached())
    }

    /// Whole sentences, where they do not depend on the command.
    pub fn advice(&self) -> Option<String> {
        match self {
            Failed::Place(error) => error.advice(),
            Failed::Update(error) => error.advice(),
            Failed::Hook(error) => Some(error.advice()),
            Failed::AcmeDns(_) | Failed::Route(_) => Some(
                "Check that the server of MDChallengeDns01 answers this machine (curl, MDHttpProxy).".into(),
            ),
            Failed::NoDelegation { domain, line, .. } => Some(format!(
                "Set this record once in the DNS of {domain}, in place of any other there: '{line}'. The renewal is tried \
                 again by itself."
            )),
            _ => None,
        }
    }
}

/// Whether records are added one by one, so that several stand at one name at once. Commands may replace the
/// record that is there, and the C module calls them for one after the other. Hooks have all values of an order
/// from their clients before the CA looks at the first; APIs of acme.sh often remove them together.
pub fn adds_one_by_one(way: &Way) -> bool {
    match way {
        Way::Rfc2136(_) | Way::AcmeDns(_) | Way::Responder => true,
        Way::Hook(hook) => hook.kind != HookKind::AcmeSh,
        Way::Command(_) => false,
    }
}

/// Whether one record is removed, and not all of its name.
pub fn removes_one_by_one(way: &Way) -> bool {
    match way {
        Way::Command(command) => command.knows_records(),
        Way::Hook(hook) => hook.kind != HookKind::AcmeSh,
        Way::Rfc2136(_) | Way::AcmeDns(_) | Way::Responder => true,
    }
}

/// Whether it gets the final name of a record, and not the domain.
pub fn takes_final_name(way: &Way) -> bool {
    match way {
        Way::Command(_) => false,
        Way::Hook(hook) => !matches!(hook.kind, HookKind::Dehydrated | HookKind::Certbot),
        Way::Rfc2136(_) | Way::AcmeDns(_) | Way::Responder => true,
    }
}

/// As the status shows it.
pub fn described(way: &Way) -> String {
    match way {
        Way::Command(_) => "by the command of MDChallengeDns01".into(),
        Way::Rfc2136(update) => format!("by a dynamic update at {}", update.server),
        Way::AcmeDns(url) => format!("at {url}"),
        Way::Responder => "in httpd's own DNS responder".into(),
        Way::Hook(_) => "by the hook of MDChallengeDns01".into(),
    }
}

fn no_zone(name: &Name, reason: &dns::Error) -> rfc2136::Error {
    let is_unasked = !matches!(reason, dns::Error::NoZone { .. });
    rfc2136::Error::NoZone { name: name.to_string(), reason: reason.to_string(), is_unasked }
}

impl<'a> Solver<'a> {
    /// `owner`: the name of the MD.
    pub fn new(dns01: &'a Dns01, owner: &'a str, tools: Tools<'a>) -> Self {
        let system = Resolver::new(tools.dns, tools.resolvers);
        let known = dns01.propagation.servers.iter().filter_map(|text| server::addresses(text, &system).ok());
        let named: Vec<SocketAddr> = known.flatten().collect();
        let resolvers = if named.is_empty() { tools.resolvers.to_vec() } else { named };
        Solver { dns01, owner, tools, resolvers }
    }

    pub fn way(&self) -> &'a Way {
        &self.dns01.way
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver::new(self.tools.dns, &self.resolvers)
    }

    /// Where the record has to stand that validators look for at `name`.
    pub fn place(&self, name: &Name) -> Result<Found, Failed> {
        let is_final = takes_final_name(self.way());
        let unknown = |unknown| {
            let place = Place { name: name.clone(), zone: None };
            Ok(Found { place, unknown })
        };
        if !is_final && self.dns01.propagation.limit.is_none() {
            return unknown(None);
        }
        let configured = self.configured_zone()?;
        let zone = match (&configured, self.wants_zone()) {
            _ if matches!(self.way(), Way::Responder) => Zone::Ours(self.tools.zones),
            (Some(zone), _) => Zone::Known(zone),
            (None, true) => Zone::Wanted,
            (None, false) => Zone::Any,
        };
        match place::find(name, zone, &self.resolver()) {
            Err(place::Error::Stopped) => Err(Failed::Stopped),
            // The command follows them in its own way, or does not.
            Err(error) if !is_final => {
                crate::log!(
                    Debug,
                    "md[{}]: the place of {name} in the DNS is not known: {error}",
                    self.owner
                );
                unknown(None)
            }
            Ok(Found { place: Place { name, zone: None }, unknown: Some(reason) })
                if matches!(self.way(), Way::Rfc2136(_)) =>
            {
                Err(no_zone(&name, &reason).into())
            }
            found => Ok(found?),
        }
    }

    /// How the record is noted before it is set up. `domain` is validated, at `name`, by a challenge of this
    /// type.
    pub fn noted(&self, type_: &str, domain: &str, name: &Name, place: &Place, value: &str) -> Noted {
        let is_elsewhere = takes_final_name(self.way()) && (place.name != *name || type_ != super::TYPE);
        Noted {
            at: is_elsewhere.then(|| place.name.to_string()),
            type_: (type_ != super::TYPE).then(|| type_.to_string()),
            served_for: matches!(self.way(), Way::Responder).then(|| domain.to_string()),
            ..Noted::from(value)
        }
    }

    fn configured_zone(&self) -> Result<Option<Name>, dns::BadName> {
        match self.way() {
            Way::Rfc2136(update) => update.zone.as_deref().map(Name::parse).transpose(),
            _ => Ok(None),
        }
    }

    fn wants_zone(&self) -> bool {
        let propagation = &self.dns01.propagation;
        let is_looked_for = propagation.limit.is_some() && propagation.servers.is_empty();
        is_looked_for || matches!(self.way(), Way::Rfc2136(_))
    }

    /// Adds the record that validators look for at `asked`. The removal needs the result.
    pub fn set_up(
        &self,
        record: &Record<'_>,
        asked: &Name,
        zone: Option<&Name>,
    ) -> Result<Option<String>, Failed> {
        let Tools { clock, store, .. } = self.tools;
        match self.way() {
            Way::Command(command) => {
                command.set_up(record.domain, record.value, self.dns01.limit, clock)?;
            }
            Way::Rfc2136(way) => self.change(way, record, zone, Change::Add { ttl: way.ttl })?,
            Way::Responder => {
                let _held = lock(self.tools.changing);
                responder::set_up(store, WorkGroup::Challenges, self.owner, record)?;
            }
            Way::AcmeDns(url) => self.set_up_at_acme_dns(url, record, asked)?,
            Way::Hook(hook) => {
                return Ok(hook::set_up(hook, record, self.dns01.limit, clock, &*self.connect()?)?);
            }
        }
        Ok(None)
    }

    fn connect(&self) -> Result<Arc<dyn Transport>, http::Error> {
        (self.tools.connect)()
    }

    /// The record is in the zone of that server: the one of the domain is a CNAME to it.
    fn set_up_at_acme_dns(&self, url: &str, record: &Record<'_>, asked: &Name) -> Result<(), Failed> {
        let http = self.connect()?;
        let account = acme_dns::account(url, record.domain, self.tools.store, &*http)?;
        let is_delegated = account.fulldomain.eq_ignore_ascii_case(record.name);
        // Where nothing can be looked up, the CA is left to find out.
        if !is_delegated && !self.resolvers.is_empty() {
            return Err(Failed::NoDelegation {
                domain: record.domain.into(),
                found: record.name.into(),
                wanted: account.fulldomain.clone(),
                line: acme_dns::delegation(asked, &account),
            });
        }
        Ok(acme_dns::set_up(url, &account, record.value, &*http)?)
    }

    /// Removes the record, by the way that is configured now.
    pub fn tear_down(&self, record: &Record<'_>, output: Option<&str>) -> Result<(), Failed> {
        let Tools { clock, .. } = self.tools;
        match self.way() {
            Way::Command(command) => {
                Ok(command.tear_down(record.domain, record.value, self.dns01.limit, clock)?)
            }
            Way::Rfc2136(way) => self.change(way, record, None, Change::Delete),
            // The process that wrote its note removes it.
            Way::Responder => Ok(()),
            // The server keeps the last two values, and knows no request to remove one.
            Way::AcmeDns(_) => Ok(()),
            Way::Hook(hook) => {
                Ok(hook::tear_down(hook, record, output, self.dns01.limit, clock, &*self.connect()?)?)
            }
        }
    }

    /// `zone`: where it is known already.
    fn change(
        &self,
        way: &Rfc2136,
        record: &Record<'_>,
        zone: Option<&Name>,
        change: Change,
    ) -> Result<(), Failed> {
        let zone = match (zone, self.configured_zone()?) {
            (Some(zone), _) => zone.clone(),
            (None, Some(zone)) => zone,
            (None, None) => {
                let name = Name::parse(record.name)?;
                match self.resolver().zone_of(&name) {
                    Err(dns::Error::Stopped) => return Err(Failed::Stopped),
                    zone => zone.map_err(|reason| no_zone(&name, &reason))?,
                }
            }
        };
        let (dns, clock) = (self.tools.dns, self.tools.clock);
        // As every host, the server is looked up by the system's resolvers, where there are any.
        let resolvers = if self.tools.resolvers.is_empty() { &self.resolvers } else { self.tools.resolvers };
        Ok(rfc2136::change(way, record, &zone, change, dns, &Resolver::new(dns, resolvers), clock)?)
    }

    /// What has to be waited for before the CA looks for these records, and what cannot be looked up for that.
    pub fn watch(&self, records: &[(Place, String)]) -> (Option<Watch>, Vec<String>) {
        let Some(limit) = self.dns01.propagation.limit else { return (None, Vec::new()) };
        let now = self.tools.clock.now();
        let (mut watch, mut unknown) = (Watch::new(limit, now), Vec::new());
        let mut of_zones: BTreeMap<Option<Name>, Vec<Server>> = BTreeMap::new();
        for (place, value) in records {
            let servers = of_zones.entry(place.zone.clone()).or_insert_with_key(|zone| {
                self.servers(zone.as_ref()).unwrap_or_else(|reason| {
                    unknown.push(reason);
                    Vec::new()
                })
            });
            for server in servers.iter() {
                let wanted = Wanted { name: place.name.clone(), value: value.clone() };
                watch.add(wanted, server.clone(), now);
            }
        }
        ((!watch.is_empty()).then_some(watch), unknown)
    }

    /// The servers that have to have the records of a zone.
    fn servers(&self, zone: Option<&Name>) -> Result<Vec<Server>, String> {
        let configured = &self.dns01.propagation.servers;
        if !configured.is_empty() {
            let system = Resolver::new(self.tools.dns, self.tools.resolvers);
            let server = |text: &String| {
                let addresses = server::addresses(text, &system).map_err(|Unknown { reason, .. }| {
                    format!("{text} of MDDnsPropagation is not asked: {reason}")
                })?;
                Ok(Server { name: text.clone(), addresses, recursion: Recursion::Desired })
            };
            return configured.iter().map(server).collect();
        }
        // Why it is not known has been logged.
        let Some(zone) = zone else { return Ok(Vec::new()) };
        let found = self.resolver().authoritative(zone).map_err(|error| {
            format!("the name servers of {zone} cannot be looked up, and are not waited for: {error}")
        })?;
        let server = |found: dns::resolve::NameServer| Server {
            name: found.name.to_string(),
            addresses: found.addresses,
            recursion: Recursion::No,
        };
        Ok(found.into_iter().map(server).collect())
    }
}
