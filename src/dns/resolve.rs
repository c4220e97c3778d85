// SPDX-License-Identifier: Apache-2.0
//! Where a record has to be set and who is asked for it: CNAMEs followed, the zone found by its SOA record,
//! the addresses of the zone's name servers. Refuses loops of CNAMEs. Asks one server after the other until
//! one knows an answer. Imports `wire` and `error` of this room.

use super::{Data, Dns, Error, Message, Name, OptRcode, PORT, Question, Recursion, Rtype};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// How many CNAMEs are followed.
pub const MAX_ALIASES: usize = 8;

/// Name servers of a zone that are looked at; the root has 13.
const MAX_NAME_SERVERS: usize = 16;

/// Where resolvers are configured.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks resolvers.
pub struct Resolver<'a> {
    dns: &'a dyn Dns,
    servers: &'a [SocketAddr],
}

/// A name server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    pub name: Name,
    /// None where it has no address.
    pub addresses: Vec<SocketAddr>,
}

impl<'a> Resolver<'a> {
    pub fn new(dns: &'a dyn Dns, servers: &'a [SocketAddr]) -> Self {
        Resolver { dns, servers }
    }

    /// Where the CNAMEs of `name` end: `name` itself where it has none.
    pub fn follow(&self, name: &Name) -> Result<Name, Error> {
        let mut seen = BTreeSet::from([name.clone()]);
        let mut here = name.clone();
        loop {
            // Not for the TXT records: a resolver would follow for them and answer SERVFAIL where it cannot.
            let answer = self.ask(&here, Rtype::CNAME)?;
            let Some(target) = alias(&answer, &here) else { return Ok(here) };
            if !seen.insert(target.clone()) {
                return Err(Error::Loop { name: name.clone() });
            }
            if seen.len() > MAX_ALIASES + 1 {
                return Err(Error::TooManyAliases { name: name.clone(), limit: MAX_ALIASES });
            }
            here = target;
        }
    }

    /// The zone that `name` is in: the nearest name above it that has an SOA record.
    pub fn zone_of(&self, name: &Name) -> Result<Name, Error> {
        let mut here = Some(name.clone());
        while let Some(candidate) = here {
            let answer = self.ask(&candidate, Rtype::SOA)?;
            // The root's stands for a name that does not exist. Of a name without SOA, the answer is the SOA of its zone, in the authority section (RFC 2308).
            let records = answer.answers.iter().chain(&answer.authority);
            let mut zones = records.filter(|record| matches!(record.data, Data::Soa(_)));
            if let Some(zone) = zones.find(|record| name.is_in(&record.name) && !record.name.is_root()) {
                return Ok(zone.name.clone());
            }
            here = candidate.parent();
        }
        Err(Error::NoZone { name: name.clone() })
    }

    /// The name servers of `zone`, each with all addresses.
    pub fn authoritative(&self, zone: &Name) -> Result<Vec<NameServer>, Error> {
        let answer = self.ask(zone, Rtype::NS)?;
        let names = answer.answers_of(zone).filter_map(|data| match data {
            Data::Ns(name) => Some(name.clone()),
            _ => None,
        });
        let names: BTreeSet<Name> = names.collect();
        let mut servers = Vec::new();
        for name in names.into_iter().take(MAX_NAME_SERVERS) {
            let addresses = self.addresses(&name)?;
            servers.push(NameServer { name, addresses });
        }
        if servers.iter().all(|server| server.addresses.is_empty()) {
            return Err(Error::NoNameServer { zone: zone.clone() });
        }
        Ok(servers)
    }

    /// The addresses of a DNS server. Where one family cannot be looked up, those of the other are the answer.
    pub fn addresses(&self, name: &Name) -> Result<Vec<SocketAddr>, Error> {
        let (v4, v6) = (self.ask(name, Rtype::A), self.ask(name, Rtype::AAAA));
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) | (Err(error @ Error::Stopped), _) | (_, Err(error @ Error::Stopped)) => {
                return Err(error);
            }
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        let records = [v4, v6].into_iter().flatten().flat_map(|answer| answer.answers);
        let address = |data| match data {
            Data::A(address) => Some(IpAddr::from(address)),
            Data::Aaaa(address) => Some(IpAddr::from(address)),
            _ => None,
        };
        let addresses = records.filter_map(|record| address(record.data));
        Ok(addresses.map(|address| SocketAddr::new(address, PORT)).collect())
    }

    /// The answer of the first server that has one. NXDOMAIN is an answer.
    fn ask(&self, name: &Name, rtype: Rtype) -> Result<Message, Error> {
        let question = Question::new(name.clone(), rtype);
        let mut first = None;
        for server in self.servers {
            match answer_of(self.dns, *server, &question, Recursion::Desired) {
                Err(error) if !matches!(error, Error::Stopped) => _ = first.get_or_insert(error),
                other => return other,
            }
        }
        Err(first.unwrap_or(Error::NoServers))
    }
}

/// The values of the TXT records that an authoritative server has at `name`.
pub fn txt(dns: &dyn Dns, server: SocketAddr, name: &Name) -> Result<Vec<Vec<u8>>, Error> {
    let question = Question::new(name.clone(), Rtype::TXT);
    let answer = answer_of(dns, server, &question, Recursion::No)?;
    let values = answer.answers_of(name).filter_map(|data| match data {
        Data::Txt(text) => Some(text.clone()),
        _ => None,
    });
    Ok(values.collect())
}

fn answer_of(
    dns: &dyn Dns,
    server: SocketAddr,
    question: &Question,
    recursion: Recursion,
) -> Result<Message, Error> {
    let answer = dns.ask(server, question, recursion)?;
    match answer.rcode {
        OptRcode::NOERROR | OptRcode::NXDOMAIN => Ok(answer),
        rcode => Err(Error::refused(server, question, rcode)),
    }
}

fn alias(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers_of(name).find_map(|data| match data {
        Data::Cname(target) => Some(target.clone()),
        _ => None,
    })
}

/// The name servers of resolv.conf(5).
pub fn servers_of(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().map(str::trim_start);
    let servers = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    servers.filter_map(server_address).collect()
}

/// An address, perhaps with the index of an interface (`fe80::1%2`).
fn server_address(text: &str) -> Option<SocketAddr> {
    let (address, scope) = text.split_once('%').unwrap_or((text, "0"));
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => SocketAddr::new(address.into(), PORT),
        IpAddr::V6(address) => std::net::SocketAddrV6::new(address, PORT, 0, scope.parse().ok()?).into(),
    })
}
