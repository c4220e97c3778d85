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

/// Addresses of one name server that are looked at.
const MAX_ADDRESSES: usize = 16;

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
        self.follow_into(name, &[])
    }

    /// The same, without questions about names of these zones.
    pub fn follow_into(&self, name: &Name, zones: &[Name]) -> Result<Name, Error> {
        let mut seen = BTreeSet::from([name.clone()]);
        let mut here = name.clone();
        loop {
            // Not for the TXT records: a resolver would follow for them and answer SERVFAIL where it cannot.
            if zones.iter().any(|zone| here.is_in(zone)) {
                return Ok(here);
            }
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
            // Of a name without SOA the answer is that of its zone, in the authority section (RFC 2308); the
            // root's stands for a name that does not exist.
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
            let addresses = match self.addresses(&name) {
                Err(error @ Error::Stopped) => return Err(error),
                // The others count.
                addresses => addresses.unwrap_or_default(),
            };
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
        Ok(addresses.take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, PORT)).collect())
    }

    /// The answer of the first server that has one. NXDOMAIN is an answer.
    pub fn ask(&self, name: &Name, rtype: Rtype) -> Result<Message, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Opcode, Record};

    /// Answers from its records as a resolver does that follows nothing.
    struct Book(Vec<Record>);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(at: &str, data: Data) -> Record {
        Record { name: name(at), class: crate::dns::Class::IN, ttl: 1, data }
    }

    fn soa(at: &str) -> Record {
        let (mname, rname) = (name("ns"), name("h"));
        let soa = crate::dns::Soa { mname, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 1 };
        record(at, Data::Soa(soa))
    }

    impl Dns for Book {
        fn ask(
            &self,
            server: SocketAddr,
            question: &Question,
            recursion: Recursion,
        ) -> Result<Message, Error> {
            assert_eq!(recursion, Recursion::Desired);
            if question.name == name("silent.test") {
                return Err(Error::Timeout { server, limit: std::time::Duration::from_secs(6) });
            }
            let mut answer = Message::request(1, Opcode::QUERY);
            let is_asked =
                |record: &&Record| record.name == question.name && record.data.rtype() == question.rtype;
            answer.answers = self.0.iter().filter(is_asked).cloned().collect();
            if answer.answers.is_empty() {
                let zones = self.0.iter().filter(|record| matches!(record.data, Data::Soa(_)));
                let above = zones.filter(|record| question.name.is_in(&record.name));
                answer.authority =
                    above.max_by_key(|record| record.name.label_count()).cloned().into_iter().collect();
                answer.rcode = OptRcode::NXDOMAIN;
            }
            Ok(answer)
        }

        fn exchange(&self, _: SocketAddr, _: &[u8]) -> Result<Vec<u8>, Error> {
            unreachable!("nothing is changed")
        }
    }

    const SERVERS: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5353)];

    #[test]
    fn aliases_are_followed_up_to_eight_and_loops_are_told() {
        let alias = |from: &str, to: &str| record(from, Data::Cname(name(to)));
        let mut records: Vec<Record> =
            (0..9).map(|step| alias(&format!("a{step}.test"), &format!("A{}.test", step + 1))).collect();
        records.extend([
            alias("self.test", "SELF.test"),
            alias("x.test", "y.test"),
            alias("y.test", "x.test"),
        ]);
        let book = Book(records);
        let resolver = Resolver::new(&book, &SERVERS);
        assert_eq!(resolver.follow(&name("plain.test")).unwrap(), name("plain.test"));
        assert_eq!(resolver.follow(&name("a1.test")).unwrap(), name("a9.test"));
        assert!(matches!(resolver.follow(&name("a0.test")), Err(Error::TooManyAliases { limit: 8, .. })));
        for start in ["self.test", "x.test"] {
            assert!(
                matches!(resolver.follow(&name(start)), Err(Error::Loop { name: at }) if at == name(start))
            );
        }
    }

    #[test]
    fn the_zone_is_the_nearest_one_and_never_the_root() {
        let book = Book(vec![soa("."), soa("test"), soa("a.test")]);
        let resolver = Resolver::new(&book, &SERVERS);
        for (of, zone) in [("x.y.a.test", "a.test"), ("a.test", "a.test"), ("aa.test", "test")] {
            assert_eq!(resolver.zone_of(&name(of)).unwrap(), name(zone));
        }
        let error = resolver.zone_of(&name("x.invalid")).unwrap_err().to_string();
        assert_eq!(error, "x.invalid: no zone found, no name above it has an SOA record");
    }

    #[test]
    fn name_servers_without_an_address_do_not_hide_the_others() {
        let ns = |zone: &str, host: &str| record(zone, Data::Ns(name(host)));
        let address = Data::A(std::net::Ipv4Addr::new(192, 0, 2, 1));
        let book = Book(vec![
            ns("a.test", "NS1.test"),
            ns("a.test", "ns1.test"),
            ns("a.test", "silent.test"),
            ns("b.test", "silent.test"),
            record("ns1.test", address),
        ]);
        let resolver = Resolver::new(&book, &SERVERS);
        let found = resolver.authoritative(&name("a.test")).unwrap();
        let addresses: Vec<_> = found.iter().map(|server| server.addresses.clone()).collect();
        assert_eq!(addresses, [vec!["192.0.2.1:53".parse().unwrap()], vec![]]);
        let error = resolver.authoritative(&name("b.test")).unwrap_err().to_string();
        assert_eq!(error, "the zone b.test has no name server with an address");
    }

    #[test]
    fn resolv_conf_is_read_as_libc_does() {
        let text = "# nameserver 192.0.2.9\n; x\nsearch a.test\n nameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1 # x\nnameserver fe80::1%2\nnameserver bad\nnameserver\nnameservers 192.0.2.8\noptions edns0\n";
        let found: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]);
    }
}
