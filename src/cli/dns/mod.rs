// SPDX-License-Identifier: Apache-2.0
//! `a2md dns`: prints the records that are worth setting for managed domains, and whether they are there.
//! [`wanted`] knows them, [`present`] asks for them. Sets nothing.

mod present;
mod wanted;

use super::authority::connect;
use super::console::call::{Call, Failure, Outcome};
use super::console::terminal::Style;
use super::site::accounts::known;
use super::site::sets;
use super::site::{Site, names_or_all};
use crate::challenge::dns01::acme_dns;
use crate::dns::Sockets;
use crate::dns::resolve::{RESOLV_CONF, servers_of};
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::DnsZone;
use crate::model::dns01::{Way, host_and_port};
use crate::store::read_admin_file;
use clap::{Arg, ArgAction, ArgMatches, Command};
use data_encoding::HEXLOWER;
use present::{Asker, Presence};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use wanted::{Issuer, Purpose, Wanted};

pub fn define() -> Command {
    Command::new("dns")
        .about("Print the DNS records worth setting, and whether they are there")
        .args(names_or_all())
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("TYPE,…")
                .value_delimiter(',')
                .ignore_case(true)
                .value_parser(["CNAME", "NS", "TXT", "CAA", "TLSA"])
                .help("Records of these types alone: CNAME, NS, TXT, CAA, TLSA"),
        )
        .arg(
            Arg::new("offline")
                .long("offline")
                .action(ArgAction::SetTrue)
                .help("Ask neither the DNS nor the CA: without CAA and dns-persist-01"),
        )
        .arg(Arg::new("zone").long("zone").value_name("ZONE").help("The zone that httpd answers (MDDnsZone)"))
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("N")
                .default_value("443")
                .value_parser(clap::value_parser!(u16).range(1..))
                .help("Port of TLSA records"),
        )
        .arg(
            Arg::new("resolver")
                .long("resolver")
                .value_name("ADDRESS[:PORT]")
                .help("DNS server to ask [default: as the configuration says, else resolv.conf]"),
        )
}

/// The records of a managed domain, each with what the DNS says, and what is to be said beside.
struct Report {
    name: String,
    records: Vec<(Wanted, Option<Presence>)>,
    notes: Vec<String>,
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let mds = site.select(call, matches)?;
    let mut reports = Vec::new();
    for managed in &mds {
        reports.push(report_on(call, &site, managed, matches)?);
    }
    let is_good = |presence: &Option<Presence>| matches!(presence, None | Some(Presence::There));
    let is_missing =
        reports.iter().flat_map(|report| &report.records).any(|(_, presence)| !is_good(presence));
    if call.options.json {
        let domains: Vec<Value> = reports.iter().map(document).collect();
        call.print_document(&json!({"schema": 1, "domains": domains}))?;
        return Ok(u8::from(is_missing));
    }
    for report in &reports {
        say(call, report)?;
    }
    Ok(u8::from(is_missing))
}

fn report_on(
    call: &mut Call,
    site: &Site,
    managed: &Managed,
    matches: &ArgMatches,
) -> Result<Report, Failure> {
    let (md, is_offline) = (&managed.md, matches.get_flag("offline"));
    let mut report = Report { name: md.name.clone(), records: Vec::new(), notes: Vec::new() };
    let way = managed.dns01.as_ref().map(|dns01| &dns01.way).or(md.dns_01.as_ref());
    let has_dns01 = way.is_some() || md.cmd_dns_01.is_some();
    let mut all = Vec::new();
    if let Some(way) = way {
        let zones = zones(site, matches.get_one::<String>("zone"));
        for found in wanted::delegation(md, way, |base| fulldomain(site, way, base), &zones) {
            match found {
                Ok(record) => all.push(record),
                Err(note) => report.notes.push(note),
            }
        }
    }
    let methods = wanted::methods(md, has_dns01);
    let names = if is_offline { None } else { issuer(call, site, managed, &mut report.notes)? };
    let issuer = names.as_ref().map(|(identities, account)| Issuer { identities, account });
    if let Some(issuer) = &issuer {
        all.extend(wanted::persist(md, issuer));
        all.extend(wanted::caa(md, issuer, &methods));
    }
    let port = matches.get_one::<u16>("port").copied().unwrap_or(443);
    all.extend(wanted::tlsa(md, &keys(site, managed)?, port));
    let only: Vec<&String> = matches.get_many("only").into_iter().flatten().collect();
    all.retain(|record| only.is_empty() || only.iter().any(|rtype| rtype.eq_ignore_ascii_case(record.rtype)));
    let dns = Sockets::new(call.clock.clone());
    let servers = if is_offline { Vec::new() } else { servers(managed, matches)? };
    let asker = Asker { dns: &dns, servers: &servers, now: call.clock.now() };
    let look = |record: Wanted| {
        let presence = (!is_offline).then(|| asker.look(&record, issuer.as_ref(), &methods));
        (record, presence)
    };
    report.records = all.into_iter().map(look).collect();
    Ok(report)
}

/// The zones that httpd answers by its configuration, of which `named` is the only one that is meant.
fn zones(site: &Site, named: Option<&String>) -> Vec<DnsZone> {
    let known = site.configuration.as_ref().map(|known| known.dns.zones.as_slice()).unwrap_or_default();
    let Some(named) = named else { return known.to_vec() };
    let zone = named.trim_end_matches('.').to_ascii_lowercase();
    let found = known.iter().find(|known| known.zone == zone).cloned();
    vec![found.unwrap_or(DnsZone { zone, hosts: Vec::new() })]
}

/// Where the account of a name at acme-dns leads.
fn fulldomain(site: &Site, way: &Way, base: &str) -> Option<String> {
    let Way::AcmeDns(url) = way else { return None };
    let account = acme_dns::known(url, base, &site.store.worker()).ok().flatten();
    account.map(|account| account.fulldomain)
}

/// The names of the CA in CAA records, and the URL of the domain's account. `None`: not known, with a note.
fn issuer(
    call: &mut Call,
    site: &Site,
    managed: &Managed,
    notes: &mut Vec<String>,
) -> Result<Option<(Vec<String>, String)>, Failure> {
    let all = known::all(site)?;
    let own = std::slice::from_ref(managed);
    let Some(account) = all.iter().find(|known| !known.users(&all, own).is_empty()) else {
        notes.push("it has no account at its CA yet, which CAA records could name".into());
        return Ok(None);
    };
    call.step(&format!("Asking {} for the names of the CA", account.ca_url));
    match connect(call, &account.ca_url, Some(managed)) {
        Ok(server) if server.directory().caa_identities.is_empty() => {
            notes.push(format!("{} does not say which of its names CAA records have", account.ca_url));
            Ok(None)
        }
        Ok(server) => Ok(Some((server.directory().caa_identities.clone(), account.url.clone()))),
        Err(failure) => {
            notes.push(failure.text);
            Ok(None)
        }
    }
}

/// The keys in use, and those that the renewal has made for the next certificates.
fn keys(site: &Site, managed: &Managed) -> Result<Vec<(String, Purpose)>, Failure> {
    let name = &managed.md.name;
    let used = sets::in_use(site, name)?.map(|set| set.bundles).unwrap_or_default();
    let mut keys: Vec<_> =
        used.iter().map(|bundle| (bundle.chain.leaf().key_fingerprint(), Purpose::Tlsa)).collect();
    let worker = site.store.worker();
    for spec in managed.md.keys() {
        // A key that cannot be read is replaced by a new one.
        let next = Staging::new(&worker, name).key(&spec).ok().flatten();
        let info = next.and_then(|key| key.public_info().ok());
        let Some(hash) = info.map(|info| HEXLOWER.encode(&crate::crypto::sha256(&info))) else { continue };
        if keys.iter().all(|(known, _)| *known != hash) {
            keys.push((hash, Purpose::NextTlsa));
        }
    }
    Ok(keys)
}

fn servers(managed: &Managed, matches: &ArgMatches) -> Result<Vec<SocketAddr>, Failure> {
    let address = |text: &str| {
        let (host, port) = host_and_port(text)?;
        Some(SocketAddr::new(host.parse().ok()?, port))
    };
    if let Some(text) = matches.get_one::<String>("resolver") {
        let server = address(text).or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
        let server =
            server.ok_or_else(|| Failure::new(format!("{text} is no address of a DNS server")).status(22));
        return server.map(|server| vec![server]);
    }
    let configured: Vec<SocketAddr> = managed.dns_servers.iter().filter_map(|text| address(text)).collect();
    if !configured.is_empty() {
        return Ok(configured);
    }
    let text = read_admin_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    Ok(servers_of(&String::from_utf8_lossy(&text)))
}

fn document(report: &Report) -> Value {
    let record = |(wanted, presence): &(Wanted, Option<Presence>)| {
        json!({
            "purpose": wanted.purpose.token(),
            "domain": wanted.domain,
            "name": wanted.name,
            "type": wanted.rtype,
            "value": wanted.value,
            "line": wanted.line(),
            "state": presence.as_ref().map_or("not asked", Presence::token),
            "detail": presence.as_ref().and_then(Presence::detail),
        })
    };
    let records: Vec<Value> = report.records.iter().map(record).collect();
    json!({"name": report.name, "records": records, "notes": report.notes})
}

/// Lines of a zone file: what is not a record is a comment.
fn say(call: &mut Call, report: &Report) -> Result<(), Failure> {
    call.say(&format!("; md[{}]", report.name));
    report.notes.iter().for_each(|note| call.say(&format!(";   {note}")));
    for (wanted, presence) in &report.records {
        let (text, style) = match presence {
            None => (String::new(), Style::Plain),
            Some(Presence::There) => (" ; there".to_string(), Style::Good),
            Some(Presence::Missing) => (" ; missing".to_string(), Style::Warning),
            Some(other) => {
                (format!(" ; {}: {}", other.token(), other.detail().unwrap_or_default()), Style::Bad)
            }
        };
        let line = format!(
            "{}{}\n",
            call.terminal.paint(&wanted.line(), Style::Plain),
            call.terminal.paint(&text.replace('\n', " "), style)
        );
        call.write_as_it_is(line.as_bytes())?;
    }
    if report.records.is_empty() {
        call.say(";   there is no record to set");
    }
    Ok(())
}
