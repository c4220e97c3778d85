// SPDX-License-Identifier: Apache-2.0
//! The DNS that httpd answers itself: `MDDnsListen` and `MDDnsZone` are read here, put together for all
//! servers, and held against the managed domains. Refuses addresses and zones that are written twice, and
//! name servers that would need addresses of the zone itself. Imports `check`, `dns01` and the parts of a
//! plan.

use super::advice::is_renewed;
use super::check::together;
use super::dns01::domain_name;
use super::finding::{Finding, at};
use super::planned::{Plan, PlannedMd, Server};
use super::{Error, ServerConfig};
use crate::log::Level;
use crate::model::dns01::Way;
use crate::model::{Dns01, DnsService, DnsZone};
use std::net::SocketAddr;

/// `ADDRESS:PORT…`
pub(super) fn listen(server: &mut ServerConfig, args: &[&str]) -> Result<(), Error> {
    const FORM: &str =
        "Write: MDDnsListen ADDRESS:PORT…, an IPv6 address in brackets, 0.0.0.0 or [::] for all";
    if args.is_empty() {
        return Err(Error(format!("an address is missing. {FORM}")));
    }
    for arg in args {
        let address = arg.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        let address = address.ok_or_else(|| Error(format!("'{arg}' is no address with a port. {FORM}")))?;
        if server.dns.listen.contains(&address) {
            return Err(Error(format!("MDDnsListen has the address {address} twice: remove one of them")));
        }
        server.dns.listen.push(address);
    }
    Ok(())
}

/// `ZONE [NSHOST…]`
pub(super) fn zone(server: &mut ServerConfig, args: &[&str]) -> Result<(), Error> {
    const FORM: &str = "Write: MDDnsZone ZONE [NSHOST…]";
    let name = |arg: &&str| domain_name(arg).map_err(|fault| Error(format!("{fault}. {FORM}")));
    let Some((zone, hosts)) = args.split_first() else {
        return Err(Error(format!("a zone is missing. {FORM}")));
    };
    let zone = DnsZone { zone: name(zone)?, hosts: hosts.iter().map(name).collect::<Result<_, _>>()? };
    if let Some(host) = zone.hosts.iter().find(|host| is_in(host, &zone.zone)) {
        return Err(Error(format!(
            "the name server {host} is inside the zone {}, which has no address for it: name a host outside of the \
             zone, such as the ServerName",
            zone.zone
        )));
    }
    if server.dns.zones.iter().any(|other| other.zone == zone.zone) {
        return Err(Error(format!("MDDnsZone has {} twice: remove one of them", zone.zone)));
    }
    server.dns.zones.push(zone);
    Ok(())
}

fn is_in(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// What all servers have, the name of the server for zones without a name server. `Err`: the start must fail.
pub(super) fn service(servers: &[Server<'_>]) -> Result<DnsService, Vec<Finding>> {
    let mut all = DnsService::default();
    let mut errors = Vec::new();
    let twice = |what: &str, server: &Server<'_>| {
        let text = "in another server already: remove one of them";
        Finding::error(format!("{}: {what} stands {text}", server.host.place()))
    };
    for server in servers {
        for address in &server.config.dns.listen {
            match all.listen.contains(address) {
                true => errors.push(twice(&format!("MDDnsListen {address}"), server)),
                false => all.listen.push(*address),
            }
        }
        for zone in &server.config.dns.zones {
            if all.zones.iter().any(|other| other.zone == zone.zone) {
                errors.push(twice(&format!("MDDnsZone {}", zone.zone), server));
                continue;
            }
            let mut zone = zone.clone();
            if zone.hosts.is_empty() {
                zone.hosts.push(server.host.server_name.to_ascii_lowercase());
            }
            all.zones.push(zone);
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// What is known once hosts are matched. Nothing of it ends the start: other domains do not need it.
pub(super) fn findings(plan: &Plan) -> Vec<Finding> {
    let service = &plan.global.dns;
    let uses = |planned: &&PlannedMd| {
        is_renewed(planned) && matches!(planned.dns01, Some(Dns01 { way: Way::Responder, .. }))
    };
    let users: Vec<&PlannedMd> = plan.mds.iter().filter(uses).collect();
    let mut findings = Vec::new();
    let missing = match (service.listen.is_empty(), service.zones.is_empty()) {
        (true, true) => Some("'MDDnsListen ADDRESS:53' and 'MDDnsZone ZONE' are"),
        (true, false) => Some("'MDDnsListen ADDRESS:53' is"),
        (false, true) => Some("'MDDnsZone ZONE' is"),
        (false, false) => None,
    };
    if let (Some(missing), Some(first)) = (missing, users.first()) {
        findings.push(Finding::error(format!(
            "{}: {}: 'MDChallengeDns01 responder' has nothing to answer with: {missing} missing. Add what is \
             missing: until then, no challenge of type dns-01 succeeds there. Other domains are not affected.",
            at(&first.defined_at),
            together(&users)
        )));
    }
    if users.is_empty() && *service != DnsService::default() {
        let addresses = service.listen.iter().map(|address| format!("MDDnsListen {address}"));
        let lines = service.zones.iter().map(|zone| format!("MDDnsZone {}", zone.zone)).chain(addresses);
        findings.push(Finding::new(
            Level::Notice,
            format!(
                "{}: nobody needs the answers to DNS questions, as no managed domain has 'MDChallengeDns01 responder'. \
                 Remove what is not intended.",
                lines.collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    findings.extend(service.zones.iter().filter_map(|zone| unusable_host(zone, service)));
    findings
}

/// Resolvers find no way to a zone whose name servers have no address.
fn unusable_host(zone: &DnsZone, service: &DnsService) -> Option<Finding> {
    let fault = zone.hosts.iter().find_map(|host| {
        let within = service.zones.iter().find(|other| is_in(host, &other.zone));
        match within {
            Some(within) => {
                Some(format!("{host} is inside the zone {}, which has no addresses", within.zone))
            }
            None if domain_name(host).is_err() || !host.contains('.') => {
                Some(format!("'{host}' is not the full name of a host"))
            }
            None => None,
        }
    })?;
    Some(Finding::error(format!(
        "MDDnsZone {}: resolvers find no name server of it: {fault}. Name a host whose address is that of this server: \
         'MDDnsZone {} NSHOST'.",
        zone.zone, zone.zone
    )))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Site;
    use super::*;

    fn plan(text: &str) -> Plan {
        Site::read(text).unwrap().plan().unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn refused(text: &str) -> String {
        match Site::read(text) {
            Err(error) => error.0,
            Ok(site) => site.plan().unwrap_err().iter().map(|finding| finding.text.as_str()).collect(),
        }
    }

    /// At level notice and worse.
    fn told(text: &str) -> Vec<(Level, String)> {
        let findings = plan(text).findings.into_iter().filter(|finding| finding.level <= Level::Notice);
        findings.map(|finding| (finding.level, finding.text)).collect()
    }

    const USED: &str = "MDChallengeDns01 responder\nMDRenewMode always\nMDomain a.test\n";

    #[test]
    fn addresses_and_zones_of_all_servers_come_together() {
        let service = plan(
            "ServerName WWW.b.test
             MDDnsListen 127.0.0.1:53 [::1]:5353
             MDDnsListen 127.0.0.2:53
             MDDnsZone Acme.a.test. NS1.a.test ns2.a.test.
             MDDnsZone x.acme.a.test
             <VirtualHost *:443>
             ServerName v.test
             MDDnsListen 0.0.0.0:54
             MDDnsZone acme.c.test
             </VirtualHost>",
        )
        .global
        .dns;
        let addresses = ["127.0.0.1:53", "[::1]:5353", "127.0.0.2:53", "0.0.0.0:54"];
        assert_eq!(service.listen, addresses.map(|address| address.parse().unwrap()));
        let zones: Vec<_> =
            service.zones.iter().map(|zone| (zone.zone.as_str(), zone.hosts.join(" "))).collect();
        let expected = [
            ("acme.a.test", "ns1.a.test ns2.a.test"),
            ("x.acme.a.test", "www.b.test"),
            ("acme.c.test", "v.test"),
        ];
        assert_eq!(zones, expected.map(|(zone, hosts)| (zone, hosts.to_string())));
        assert!(service.is_on() && !plan(USED).global.dns.is_on());
    }

    #[test]
    fn addresses_and_zones_that_cannot_be_are_refused() {
        for (text, fault) in [
            ("MDDnsListen", "an address is missing. Write: MDDnsListen ADDRESS:PORT…"),
            ("MDDnsListen 127.0.0.1", "'127.0.0.1' is no address with a port"),
            ("MDDnsListen ::1:53", "'::1:53' is no address with a port"),
            (
                "MDDnsListen *:53",
                "'*:53' is no address with a port. Write: MDDnsListen ADDRESS:PORT…, an IPv6",
            ),
            ("MDDnsListen 127.0.0.1:0", "'127.0.0.1:0' is no address with a port"),
            ("MDDnsListen 127.0.0.1:65536", "is no address with a port"),
            ("MDDnsListen ns.a.test:53", "is no address with a port"),
            ("MDDnsListen [::1]:53 [0:0::1]:53", "MDDnsListen has the address [::1]:53 twice"),
            ("MDDnsListen [::1]:53\nMDDnsListen [::1]:53", "MDDnsListen has the address [::1]:53 twice"),
            (
                "MDDnsListen [::1]:53\n<VirtualHost *:443>\nServerName v.test\nMDDnsListen [::1]:53\n</VirtualHost>",
                "test.conf:2: MDDnsListen [::1]:53 stands in another server already",
            ),
            ("MDDnsZone", "a zone is missing. Write: MDDnsZone ZONE [NSHOST…]"),
            ("MDDnsZone a/b", "'a/b' is not a domain name: it contains a character"),
            ("MDDnsZone *.a.test", "'*.a.test' is a wildcard or an address"),
            ("MDDnsZone acme.a.test 10.0.0.1", "'10.0.0.1' is a wildcard or an address, not a domain name"),
            (
                "MDDnsZone acme.a.test ns.Acme.a.test",
                "the name server ns.acme.a.test is inside the zone acme.a.test",
            ),
            ("MDDnsZone acme.a.test acme.a.test", "the name server acme.a.test is inside the zone"),
            ("MDDnsZone a.test b.test\nMDDnsZone A.test b.test", "MDDnsZone has a.test twice"),
            (
                "MDDnsZone a.test\n<VirtualHost *:443>\nServerName v.test\nMDDnsZone a.test\n</VirtualHost>",
                "test.conf:2: MDDnsZone a.test stands in another server already",
            ),
        ] {
            let told = refused(text);
            assert!(told.contains(fault), "{text}: {told}");
        }
        // Its name ends with the letters of the zone, no more.
        plan("MDDnsZone acme.test ns.notacme.test");
    }

    #[test]
    fn a_responder_without_address_or_zone_is_an_error_that_ends_no_start() {
        let (listen, zone) = ("MDDnsListen 127.0.0.1:53\n", "MDDnsZone acme.b.test ns.b.test\n");
        for (lines, missing) in [
            ("", "'MDDnsListen ADDRESS:53' and 'MDDnsZone ZONE' are missing"),
            (zone, "'MDDnsListen ADDRESS:53' is missing"),
            (listen, "'MDDnsZone ZONE' is missing"),
        ] {
            let found = told(&format!("{USED}MDomain c.test\n{lines}"));
            let [(Level::Error, text)] = &found[..] else { panic!("{found:?}") };
            assert!(
                text.starts_with("test.conf:3: md[a.test] and 1 more: 'MDChallengeDns01 responder' has"),
                "{text}"
            );
            assert!(text.contains(missing), "{text}");
        }
        assert_eq!(told(&format!("{USED}{listen}{zone}")), []);
        // None is ordered for it.
        assert_eq!(told(&USED.replace("always", "manual")), []);
    }

    #[test]
    fn answers_that_nobody_needs_are_a_notice() {
        for lines in ["MDDnsListen 127.0.0.1:53", "MDDnsZone acme.b.test ns.b.test"] {
            let other = "MDRenewMode always\nMDChallengeDns01 acme-dns https://x.test\nMDomain a.test\n";
            let found = told(&format!("{other}{lines}"));
            assert!(lines.starts_with(found[0].1.split(':').next().unwrap()), "{found:?}");
            let [(Level::Notice, text)] = &found[..] else { panic!("{found:?}") };
            assert!(text.contains("no managed domain has 'MDChallengeDns01 responder'"), "{text}");
        }
    }

    #[test]
    fn a_zone_whose_name_server_has_no_address_is_told() {
        for (lines, fault) in [
            (
                "ServerName www.b.test\nMDDnsZone b.test",
                "www.b.test is inside the zone b.test, which has no addresses",
            ),
            ("MDDnsZone b.test ns.c.test\nMDDnsZone c.test ns.d.test", "ns.c.test is inside the zone c.test"),
            ("ServerName localhost\nMDDnsZone b.test", "'localhost' is not the full name of a host"),
            ("ServerName 10.0.0.1\nMDDnsZone b.test", "'10.0.0.1' is not the full name of a host"),
        ] {
            let found = told(&format!("{USED}MDDnsListen 127.0.0.1:53\n{lines}"));
            let [(Level::Error, text)] = &found[..] else { panic!("{found:?}") };
            assert!(text.starts_with("MDDnsZone b.test: ") && text.contains(fault), "{text}");
        }
    }
}
