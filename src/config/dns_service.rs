// SPDX-License-Identifier: Apache-2.0
//! The DNS that httpd answers itself: `MDDnsListen` and `MDDnsZone` are read here, put together for all servers,
//! and held against the managed domains. Refuses addresses and zones that are written twice, and name servers that
//! would need addresses of the zone itself. Imports `check`, `dns01` and the parts of a plan.

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
            "{}: {}: 'MDChallengeDns01 responder' has nothing to answer with: {missing} missing. No challenge of type \
             dns-01 succeeds until that is added; other domains are not affected.",
            at(&first.defined_at),
            together(&users)
        )));
    }
    if users.is_empty() && *service != DnsService::default() {
        findings.push(Finding::new(
            Level::Notice,
            "MDDnsListen and MDDnsZone have httpd answer DNS questions, but no managed domain has 'MDChallengeDns01 \
             responder'. Remove them where that is not intended."
                .into(),
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
