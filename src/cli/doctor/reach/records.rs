// SPDX-License-Identifier: Apache-2.0
//! The TXT records of dns-01: where the CNAMEs of `_acme-challenge.NAME` lead, whether the way that is
//! configured can change records there, and what every name server of that zone has now. Sets nothing: a
//! server of dynamic updates is asked to remove a record that nobody has. Imports `challenge`, `dns` and
//! `finding`.

use super::case::shown;
use super::means;
use crate::challenge::answers::Folder;
use crate::challenge::dns01::place::{self, Place, Zone};
use crate::challenge::dns01::{self, Record, acme_dns, rfc2136};
use crate::cli::doctor::finding::Finding;
use crate::config::PlannedMd;
use crate::crypto;
use crate::dns::resolve::NameServer;
use crate::dns::{Change, Data, Dns, Error, Message, Name, OptRcode, Question, Recursion, Resolver, Rtype};
use crate::managed::Managed;
use crate::model::dns01::{Propagation, Rfc2136, Way};
use crate::model::{Dns01, DnsZone};
use crate::startup::dns_secrets;
use crate::store::{WorkGroup, WorkStore};
use crate::time::Clock;
use std::time::Duration;

/// What the records of a name are looked up with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub dns: &'a dyn Dns,
    pub resolver: &'a Resolver<'a>,
    pub clock: &'a dyn Clock,
    pub store: &'a WorkStore,
}

/// One name.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Without `*.`.
    pub name: &'a str,
    /// The name of the record.
    pub record: &'a Name,
    /// `None`: not known, as httpd's configuration is not.
    pub way: Option<&'a Way>,
    /// That httpd answers itself; `None`: not known.
    pub zones: Option<&'a [DnsZone]>,
}

/// The way of a domain, with the content of its files as far as the caller may read them.
pub fn way(managed: &Managed) -> Option<Way> {
    let way = means::way(managed)?.clone();
    let dns01 = managed.dns01.clone().unwrap_or_else(|| Dns01 {
        way: way.clone(),
        limit: Duration::default(),
        propagation: Propagation::default(),
    });
    let mut planned = [PlannedMd { md: managed.md.clone(), dns01: Some(dns01), ..PlannedMd::default() }];
    // What is wrong with these files, the look at the configuration says.
    dns_secrets::load(&mut planned);
    let [planned] = planned;
    planned.dns01.map(|dns01| dns01.way)
}

pub fn look(asked: &Asked<'_>, tools: &Tools<'_>, out: &mut Vec<Finding>) {
    let Some(place) = placed(asked, tools, out) else { return };
    let Some(zone) = place.zone.clone() else { return };
    if let Some(finding) = delegation(asked, tools, &place, &zone) {
        return out.push(finding);
    }
    if let Some(Way::Rfc2136(update)) = asked.way {
        out.push(settable(asked, update, tools, &place, &zone));
    }
    match tools.resolver.authoritative(&zone) {
        Ok(servers) => at_servers(asked, tools, &place, &servers, out),
        Err(error) => out.push(Finding::fails(
            "dns-01-servers",
            asked.name,
            format!("{} is in the zone {zone}, whose name servers are not known: {error}.", place.name),
            format!("Correct the NS records of {zone} and the addresses of the servers in them ('dig +trace NS {zone}')."),
        )),
    }
}

/// Where the record has to stand.
fn placed(asked: &Asked<'_>, tools: &Tools<'_>, out: &mut Vec<Finding>) -> Option<Place> {
    let configured = match asked.way {
        Some(Way::Rfc2136(Rfc2136 { zone: Some(zone), .. })) => Name::parse(zone).ok(),
        _ => None,
    };
    let ours: Option<Vec<Name>> = asked
        .zones
        .filter(|_| matches!(asked.way, Some(Way::Responder)))
        .map(|zones| zones.iter().filter_map(|zone| Name::parse(&zone.zone).ok()).collect());
    let zone = match (&configured, &ours) {
        (Some(zone), _) => Zone::Known(zone),
        (None, Some(zones)) => Zone::Ours(zones),
        (None, None) => Zone::Wanted,
    };
    let found = match place::find(asked.record, zone, tools.resolver) {
        Ok(found) => found,
        Err(error) => {
            let advice = error.advice().unwrap_or_else(|| "Check the DNS of the domain.".into());
            out.push(Finding::fails("dns-01-delegation", asked.name, format!("{error}."), advice));
            return None;
        }
    };
    if let Some(error) = found.unknown {
        out.push(unknown(asked, &error));
        return None;
    }
    Some(found.place)
}

fn unknown(asked: &Asked<'_>, error: &Error) -> Finding {
    let evidence = format!("Where the record {} has to stand is not known: {error}.", asked.record);
    match error {
        Error::Refused { .. } => Finding::fails(
            "dns-01-delegation",
            asked.name,
            evidence,
            format!(
                "Check what 'dig +trace TXT {}' says: a delegation by NS or CNAME leads to name servers that do not answer for \
                 the zone.",
                asked.record
            ),
        ),
        Error::NoZone { .. } => Finding::fails(
            "dns-01-delegation",
            asked.name,
            evidence,
            format!(
                "Register the domain of {}, or correct its delegation ('dig +trace {}').",
                asked.name, asked.name
            ),
        ),
        _ => Finding::cannot_be_told(
            "dns-01-delegation",
            asked.name,
            evidence,
            "Check the resolvers of this machine in /etc/resolv.conf, or name others in MDDnsPropagation.",
        ),
    }
}

/// What the way wants to be in the DNS and is not there.
fn delegation(asked: &Asked<'_>, tools: &Tools<'_>, place: &Place, zone: &Name) -> Option<Finding> {
    match asked.way? {
        Way::AcmeDns(url) => {
            let account = match acme_dns::known(url, asked.name, tools.store) {
                Ok(account) => account?,
                Err(error) => {
                    return Some(Finding::fails(
                        "dns-01-delegation",
                        asked.name,
                        format!("{error}."),
                        "Restore the file from a backup of the store.",
                    ));
                }
            };
            let is_right = account.fulldomain.eq_ignore_ascii_case(&place.name.to_string());
            (!is_right).then(|| {
                Finding::fails(
                    "dns-01-delegation",
                    asked.name,
                    format!(
                        "Validators look for the record at {}, and acme-dns sets it at {}.",
                        place.name,
                        shown(&account.fulldomain)
                    ),
                    format!(
                        "Set this record in place of any other there: '{}'.",
                        acme_dns::delegation(asked.record, &account)
                    ),
                )
            })
        }
        Way::Responder if asked.zones.is_some() => misled(asked, tools, zone),
        Way::Responder => {
            let own = Name::parse(asked.name).ok().and_then(|name| tools.resolver.zone_of(&name).ok());
            let is_delegated = place.name != *asked.record || own.as_ref() != Some(zone);
            (!is_delegated).then(|| undelegated(asked, tools, zone)).flatten()
        }
        _ => None,
    }
}

/// httpd is to answer, and the zone leads elsewhere, or nowhere.
fn misled(asked: &Asked<'_>, tools: &Tools<'_>, zone: &Name) -> Option<Finding> {
    let is_it = |known: &&DnsZone| known.zone.eq_ignore_ascii_case(&zone.to_string());
    let hosts = asked.zones?.iter().find(is_it).map(|known| known.hosts.as_slice()).unwrap_or_default();
    let found = match tools.resolver.authoritative(zone) {
        Ok(servers) => {
            let is_ours = |server: &NameServer| {
                let name = server.name.to_string();
                let is_here = server.addresses.iter().any(|address| super::local::is_here(address.ip()));
                is_here || hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
            };
            if servers.iter().any(is_ours) {
                return None;
            }
            let names: Vec<String> = servers.iter().map(|server| server.name.to_string()).collect();
            format!("It leads to {}", names.join(", "))
        }
        Err(Error::NoNameServer { .. }) => "The DNS has no name server with an address for it".into(),
        Err(_) => return None,
    };
    Some(Finding::fails(
        "dns-01-delegation",
        asked.name,
        format!("{zone} is a zone that httpd answers (MDDnsZone). {found}, so nobody asks httpd."),
        format!(
            "Set NS records of {zone} to {} in the zone above: 'a2md dns {}' prints the lines.",
            hosts.join(" and "),
            asked.name
        ),
    ))
}

/// httpd is to answer, and the name is in the zone of its domain, where other name servers do.
fn undelegated(asked: &Asked<'_>, tools: &Tools<'_>, zone: &Name) -> Option<Finding> {
    let servers = tools.resolver.authoritative(zone).ok()?;
    let mut addresses = servers.iter().flat_map(|server| &server.addresses);
    if addresses.any(|address| super::local::is_here(address.ip())) {
        return None;
    }
    Some(Finding::fails(
        "dns-01-delegation",
        asked.name,
        format!(
            "{} is not delegated to httpd: it has neither a CNAME nor an NS record, and the name servers of {zone} answer for it.",
            asked.record
        ),
        format!(
            "Set a CNAME at {} to a name in a zone of MDDnsZone: 'a2md dns {}' prints the line.",
            asked.record, asked.name
        ),
    ))
}

/// Whether the server of dynamic updates takes the key and lets it change this record: a record that is not
/// there is removed, which changes nothing (RFC 2136 §3.4.2.4).
fn settable(asked: &Asked<'_>, way: &Rfc2136, tools: &Tools<'_>, place: &Place, zone: &Name) -> Finding {
    let Ok(random) = crypto::random::<32>() else {
        return Finding::cannot_be_told(
            "dns-01-update",
            asked.name,
            "There are no random numbers.",
            crypto::ADVICE,
        );
    };
    let (name, value) = (place.name.to_string(), data_encoding::BASE64URL_NOPAD.encode(&random));
    let record = Record { domain: asked.name, name: &name, value: &value, all_domains: &[], remaining: 0 };
    match rfc2136::change(way, &record, zone, Change::Delete, tools.dns, tools.resolver, tools.clock) {
        Ok(()) => Finding::works(
            "dns-01-update",
            asked.name,
            format!("{} takes changes of {name} signed by this key.", way.server),
        ),
        Err(error) => Finding::fails(
            "dns-01-update",
            asked.name,
            format!("{name} cannot be changed: {error}."),
            error.advice().unwrap_or_else(|| "Check MDChallengeDns01.".into()),
        ),
    }
}

/// What each name server of the zone has.
fn at_servers(
    asked: &Asked<'_>,
    tools: &Tools<'_>,
    place: &Place,
    servers: &[NameServer],
    out: &mut Vec<Finding>,
) {
    let folder = Folder { store: tools.store, group: WorkGroup::Challenges, name: asked.name };
    let noted: Vec<String> = folder.read(dns01::NOTE).all().map(String::from).collect();
    let (mut foreign, mut lacking, mut faults) = (Vec::new(), Vec::new(), 0);
    for server in servers {
        match of_server(tools, server, &place.name) {
            Answer::Values(texts) => {
                let others = texts.iter().filter(|text| !noted.contains(text) && !foreign.contains(*text));
                let others: Vec<String> = others.cloned().collect();
                foreign.extend(others);
                if noted.iter().any(|value| !texts.contains(value)) {
                    lacking.push(server.name.to_string());
                }
            }
            Answer::Refusal(reason) => {
                faults += 1;
                out.push(lame(asked, place, server, &reason));
            }
            Answer::Silence(reason) => {
                faults += 1;
                out.push(silent(asked, place, server, &reason));
            }
        }
    }
    if !foreign.is_empty() {
        out.push(leftover(asked, place, &foreign));
    }
    match (noted.is_empty(), lacking.is_empty()) {
        (false, false) => out.push(Finding::cannot_be_told(
            "dns-01-record",
            asked.name,
            format!("A renewal has set the record {}, and these name servers do not have it yet: {}.", place.name, lacking.join(", ")),
            "Ask again in a minute. If they never get it, check the transfer from the primary name server to them.",
        )),
        _ if faults == 0 => {
            let set = if noted.is_empty() { "" } else { " and have the record of the renewal that is under way" };
            let text = format!("All {} name servers of {} answer{set}.", servers.len(), place.name);
            out.push(Finding::works("dns-01-servers", asked.name, text));
        }
        _ => {}
    }
}

fn lame(asked: &Asked<'_>, place: &Place, server: &NameServer, reason: &str) -> Finding {
    Finding::fails(
        "dns-01-servers",
        asked.name,
        format!("The name server {} does not answer for {}: {reason}.", server.name, place.name),
        format!(
            "Have {} serve the zone, or remove it from the NS records of the zone and of its parent: a CA may ask any \
             of them.",
            server.name
        ),
    )
}

/// What a name server has, by the first of its addresses that answers.
enum Answer {
    Values(Vec<String>),
    /// It answers, but not for this name.
    Refusal(String),
    Silence(String),
}

fn of_server(tools: &Tools<'_>, server: &NameServer, name: &Name) -> Answer {
    let question = Question::new(name.clone(), Rtype::TXT);
    let mut last = Answer::Silence("it has no address".into());
    for address in &server.addresses {
        last = match tools.dns.ask(*address, &question, Recursion::No) {
            Ok(answer) => return of_answer(&answer, name),
            Err(
                error @ (Error::Timeout { .. } | Error::Silent { .. } | Error::Io { .. } | Error::Stopped),
            ) => Answer::Silence(error.to_string()),
            Err(error) => return Answer::Refusal(error.to_string()),
        };
    }
    last
}

fn of_answer(answer: &Message, name: &Name) -> Answer {
    match answer.rcode {
        OptRcode::NOERROR | OptRcode::NXDOMAIN if answer.flags.aa => {
            let text = |data: &Data| match data {
                Data::Txt(text) => Some(String::from_utf8_lossy(text).into_owned()),
                _ => None,
            };
            Answer::Values(answer.answers_of(name).filter_map(text).collect())
        }
        // It refers to others, or repeats what it has heard.
        OptRcode::NOERROR | OptRcode::NXDOMAIN => {
            Answer::Refusal("it has no such zone (its answer is not authoritative)".into())
        }
        rcode => Answer::Refusal(format!("it answered {rcode}")),
    }
}

/// One without an address is no server for anybody.
fn silent(asked: &Asked<'_>, place: &Place, server: &NameServer, reason: &str) -> Finding {
    let evidence = format!("The name server {} of {} does not answer: {reason}.", server.name, place.name);
    let remedy = format!(
        "Check {} and the firewall before it (port 53, UDP and TCP); a CA may ask any name server of the zone.",
        server.name
    );
    let is_here = server.addresses.iter().any(|address| super::local::is_here(address.ip()));
    if server.addresses.is_empty() || is_here {
        return Finding::fails("dns-01-servers", asked.name, evidence, remedy);
    }
    Finding::cannot_be_told("dns-01-servers", asked.name, evidence, remedy)
}

fn leftover(asked: &Asked<'_>, place: &Place, values: &[String]) -> Finding {
    let list: Vec<String> = values.iter().take(4).map(|value| format!("'{}'", shown(value))).collect();
    let more = values.len().saturating_sub(list.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Finding::cannot_be_told(
        "dns-01-foreign-txt",
        asked.name,
        format!(
            "{} has TXT records that no renewal here has set: {}{more}. They are left over, or another ACME client works for this \
             name.",
            place.name,
            list.join(", ")
        ),
        format!(
            "Remove them if nothing else uses them ('dig TXT {}'). They do no harm, unless a hook replaces all records of the name.",
            place.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::dns::{Class, Flags, Opcode, Record as DnsRecord, Soa};
    use crate::store::StartStore;
    use crate::time::SystemClock;
    use std::net::{IpAddr, SocketAddr};

    const RESOLVER: &str = "203.0.113.53:53";

    /// A resolver, and name servers by address, each with its records.
    struct World(Vec<(SocketAddr, Vec<DnsRecord>)>);

    impl Dns for World {
        fn ask(&self, server: SocketAddr, question: &Question, _: Recursion) -> Result<Message, Error> {
            let limit = Duration::from_secs(1);
            let known = self.0.iter().find(|(address, _)| *address == server);
            let (_, records) = known.ok_or(Error::Timeout { server, limit })?;
            let mut answer = Message::request(1, Opcode::QUERY);
            answer.flags = Flags { aa: true, ..Flags::default() };
            let is_it =
                |record: &&DnsRecord| record.name == question.name && record.data.rtype() == question.rtype;
            answer.answers = records.iter().filter(is_it).cloned().collect();
            Ok(answer)
        }

        fn exchange(&self, server: SocketAddr, _: &[u8]) -> Result<Vec<u8>, Error> {
            Err(Error::Timeout { server, limit: Duration::from_secs(1) })
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(at: &str, data: Data) -> DnsRecord {
        DnsRecord { name: name(at), class: Class::IN, ttl: 1, data }
    }

    /// The zone a.test with the name servers ns1 and ns2, which have these values.
    fn world(first: &[&str], second: &[&str]) -> World {
        let zero = |name: Name| Soa {
            mname: name.clone(),
            rname: name,
            serial: 1,
            refresh: 1,
            retry: 1,
            expire: 1,
            minimum: 1,
        };
        let address = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => Data::A(address),
            IpAddr::V6(address) => Data::Aaaa(address),
        };
        let zone = vec![
            record("a.test", Data::Soa(zero(name("ns1.test")))),
            record("a.test", Data::Ns(name("ns1.test"))),
            record("a.test", Data::Ns(name("ns2.test"))),
            record("ns1.test", address("203.0.113.1")),
            record("ns2.test", address("203.0.113.2")),
        ];
        let texts = |values: &[&str]| -> Vec<DnsRecord> {
            let text = |value: &&str| record("_acme-challenge.a.test", Data::Txt(value.as_bytes().to_vec()));
            values.iter().map(text).collect()
        };
        let at = |text: &str| text.parse().unwrap();
        World(vec![
            (at(RESOLVER), zone),
            (at("203.0.113.1:53"), texts(first)),
            (at("203.0.113.2:53"), texts(second)),
        ])
    }

    fn found(world: &World, way: Option<&Way>, noted: &[&str]) -> Vec<(&'static str, Verdict)> {
        found_with(world, way, None, noted)
    }

    fn found_with(
        world: &World,
        way: Option<&Way>,
        zones: Option<&[DnsZone]>,
        noted: &[&str],
    ) -> Vec<(&'static str, Verdict)> {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(dir.path(), None).unwrap().worker();
        let folder = Folder { store: &store, group: WorkGroup::Challenges, name: "a.test" };
        noted.iter().for_each(|value| folder.note_record("a.test", *value).unwrap());
        let (record, servers) = (name("_acme-challenge.a.test"), [RESOLVER.parse().unwrap()]);
        let (resolver, clock) = (Resolver::new(world, &servers), SystemClock::default());
        let tools = Tools { dns: world, resolver: &resolver, clock: &clock, store: &store };
        let mut out = Vec::new();
        look(&Asked { name: "a.test", record: &record, way, zones }, &tools, &mut out);
        out.iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn every_name_server_has_to_have_the_record_of_a_renewal_and_no_other() {
        let (works, untold) = (Verdict::Works, Verdict::CannotBeTold);
        for (first, second, noted, expected) in [
            (&[][..], &[][..], &[][..], vec![("dns-01-servers", works)]),
            (&["v-1"], &["v-1"], &["v-1"], vec![("dns-01-servers", works)]),
            (&["v-1"], &[], &["v-1"], vec![("dns-01-record", untold)]),
            (&["v-1"], &[], &[], vec![("dns-01-foreign-txt", untold), ("dns-01-servers", works)]),
        ] {
            assert_eq!(found(&world(first, second), None, noted), expected, "{first:?} {second:?} {noted:?}");
        }
    }

    #[test]
    fn a_zone_of_the_responder_has_to_lead_to_its_name_servers() {
        let responder = Some(&Way::Responder);
        let zone = |zone: &str, host: &str| DnsZone { zone: zone.into(), hosts: vec![host.into()] };
        let cname = |to: &str| {
            let mut world = world(&[], &[]);
            world.0[0].1.push(record("_acme-challenge.a.test", Data::Cname(name(to))));
            world.0[0].1.push(record("acme.b.test", Data::Ns(name("ns1.test"))));
            world
        };
        let (fails, works) = (("dns-01-delegation", Verdict::Fails), ("dns-01-servers", Verdict::Works));
        let right = zone("acme.b.test", "NS1.test");
        for (world, zone, expected) in [
            (cname("a.test.acme.b.test"), &right, works),
            (cname("a.test.acme.b.test"), &zone("acme.b.test", "ns.here.test"), fails),
            (cname("a.test.other.test"), &right, fails),
            // It is not delegated.
            (cname("a.test.acme.c.test"), &zone("acme.c.test", "ns.here.test"), fails),
            (world(&[], &[]), &right, fails),
        ] {
            let zones = std::slice::from_ref(zone);
            assert_eq!(found_with(&world, responder, Some(zones), &[]), [expected], "{zones:?}");
        }
    }

    #[test]
    fn a_silent_name_server_elsewhere_cannot_be_told_and_a_name_that_httpd_is_to_answer_is_delegated() {
        let mut half = world(&[], &[]);
        half.0.pop();
        assert_eq!(found(&half, None, &[]), [("dns-01-servers", Verdict::CannotBeTold)]);
        let expected = [("dns-01-delegation", Verdict::Fails)];
        assert_eq!(found(&world(&[], &[]), Some(&Way::Responder), &[]), expected);
    }
}
