// SPDX-License-Identifier: Apache-2.0
//! Reaches out to the names of the site as a CA does: their addresses, a token through each of them, CAA
//! records, and the records of the DNS challenges. Sends no credentials and sets no record. A renewal tries
//! the challenges of a name in order, so the first one that works ends the look at that name. Imports run from
//! here to the checks, from these to the edge (`ask`, `names`), and to values (`case`, `follow`).

mod ask;
mod authority;
mod caa;
mod case;
mod closed;
mod follow;
mod judge;
mod local;
mod means;
mod names;
mod persist;
mod records;
mod token;

use super::directories::Directories;
use super::finding::{Finding, Subject, Verdict};
use crate::challenge::dns_persist01::look_up::LookUp;
use crate::challenge::{dns_account01, dns_persist01, dns01, http01, tls_alpn01};
use crate::cli::console::call::Call;
use crate::cli::site::Site;
use crate::config::Configuration;
use crate::dns::resolve::{RESOLV_CONF, servers_of};
use crate::dns::{self, Name, Resolver, Sockets};
use crate::http::probe::Limits;
use crate::managed::Managed;
use crate::model::NotRenewed;
use crate::names::is_wildcard;
use crate::store::{StartStore, WorkStore, read_admin_file};
use crate::time::Clock;
use case::{Case, Kind, Own};
use means::Port;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use token::Tokens;

/// What all names are looked at with.
struct Reach<'a> {
    site: &'a Site,
    dns: Sockets,
    /// Of the system.
    resolvers: Vec<SocketAddr>,
    clock: Arc<dyn Clock>,
    worker: WorkStore,
    limits: Limits,
    tokens: Tokens<'a>,
}

/// One name of a subject.
struct Target<'a> {
    subject: &'a Subject,
    /// As the certificate has it.
    name: &'a str,
    /// Types of challenges, in the order of a renewal.
    types: Vec<String>,
    servers: &'a [SocketAddr],
    cas: &'a [Ca],
}

/// A CA of an MD.
struct Ca {
    url: String,
    /// Its names in CAA records, or why they are not known.
    identities: Result<Vec<String>, String>,
    account: Option<String>,
}

impl Target<'_> {
    /// The name without `*.`.
    fn host(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(self.name)
    }

    fn finds_all(&self, findings: &[Finding]) -> bool {
        findings.iter().all(|finding| finding.verdict == Verdict::Works) && !findings.is_empty()
    }
}

/// Looks at all names of all subjects.
pub fn look(
    call: &mut Call,
    site: &Site,
    subjects: &[Subject],
    directories: &mut Directories,
    out: &mut Vec<Finding>,
) {
    let presenter = token::Requests::new(site, call.clock.clone());
    let reach = Reach {
        site,
        dns: Sockets::new(call.clock.clone()),
        resolvers: resolvers(),
        clock: call.clock.clone(),
        worker: site.store.worker(),
        limits: Limits::default(),
        tokens: Tokens::new(&presenter, call.clock.clone(), hosts(site, subjects)),
    };
    for subject in subjects.iter().filter(|subject| is_reached(subject)) {
        call.step(&format!("Reaching out to the names of {} …", subject.name));
        let cas = cas(call, &site.store, subject, directories);
        let servers = reach.servers(subject);
        if subject.managed.is_none() {
            out.push(unconfigured(subject, site.configuration.as_ref()));
        }
        for name in &subject.names {
            let types = types(subject, name, site.configuration.as_ref());
            reach.look(&Target { subject, name, types, servers: &servers, cas: &cas }, out);
        }
    }
}

/// Those that are asked for tokens, without `*.`.
fn hosts(site: &Site, subjects: &[Subject]) -> Vec<String> {
    let is_asked = |subject: &Subject, name: &str| {
        let types = types(subject, name, site.configuration.as_ref());
        types.iter().any(|type_| type_ == http01::TYPE || type_ == tls_alpn01::TYPE)
    };
    let of = |subject: &Subject| {
        let names = subject.names.iter().filter(|name| is_asked(subject, name));
        names.cloned().collect::<Vec<_>>()
    };
    subjects.iter().filter(|subject| is_reached(subject)).flat_map(of).collect()
}

/// No CA comes to names whose certificates are files of the admin.
fn is_reached(subject: &Subject) -> bool {
    let left_alone = subject.managed.as_ref().and_then(|managed| managed.md.left_alone());
    left_alone != Some(NotRenewed::StaticFiles)
}

/// Those of resolv.conf(5).
fn resolvers() -> Vec<SocketAddr> {
    let text = read_admin_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    servers_of(&String::from_utf8_lossy(&text))
}

fn cas(call: &Call, store: &StartStore, subject: &Subject, directories: &mut Directories) -> Vec<Ca> {
    let Some(managed) = &subject.managed else { return Vec::new() };
    let (md, mut urls) = (&managed.md, managed.md.ca.urls.clone());
    if urls.is_empty() {
        urls.extend(md.ca.url.clone());
    }
    let ca = |url: String| Ca {
        identities: directories.ask(call, &url, managed).identities(),
        account: authority::account(store, md, &url),
        url,
    };
    urls.into_iter().map(ca).collect()
}

/// A name that no MD has would be validated by http-01, as most are.
fn types(subject: &Subject, name: &str, configuration: Option<&Configuration>) -> Vec<String> {
    match &subject.managed {
        Some(managed) => means::types(managed, name, configuration),
        None if is_wildcard(name) => Vec::new(),
        None => vec![http01::TYPE.to_string()],
    }
}

fn unconfigured(subject: &Subject, configuration: Option<&Configuration>) -> Finding {
    let name = &subject.name;
    let has_host = configuration.is_some_and(|known| {
        let is_it = |text: &String| text.eq_ignore_ascii_case(name);
        known.hosts.iter().any(|known| is_it(&known.host.server_name) || known.host.aliases.iter().any(is_it))
    });
    let host = if has_host {
        String::new()
    } else {
        format!(" and a '<VirtualHost *:443>' with 'ServerName {name}' and 'SSLEngine on'")
    };
    Finding::cannot_be_told(
        "not-configured",
        name,
        format!("No managed domain has the name {name}."),
        format!("Add 'MDomain {name}'{host} to the configuration, and reload httpd."),
    )
}

impl Reach<'_> {
    /// The servers of `MDDnsPropagation`, else those of the system.
    fn servers(&self, subject: &Subject) -> Vec<SocketAddr> {
        let system = Resolver::new(&self.dns, &self.resolvers);
        let configured = subject.managed.iter().flat_map(|managed| &managed.dns_servers);
        let known = configured.filter_map(|text| dns01::server::addresses(text, &system).ok());
        let known: Vec<SocketAddr> = known.flatten().collect();
        if known.is_empty() { self.resolvers.clone() } else { known }
    }

    fn look(&self, target: &Target<'_>, out: &mut Vec<Finding>) {
        let resolver = Resolver::new(&self.dns, target.servers);
        if !crate::names::is_address(target.name) {
            self.caa(target, &resolver, out);
        }
        let mut addresses = None;
        for type_ in &target.types {
            let mut found = Vec::new();
            let kind = match type_.as_str() {
                http01::TYPE => Some(Kind::Http01),
                tls_alpn01::TYPE => Some(Kind::TlsAlpn01),
                _ => None,
            };
            match kind {
                Some(kind) => {
                    let addresses =
                        addresses.get_or_insert_with(|| names::look_up(&resolver, target.host(), &mut found));
                    found.extend(self.over_the_web(target, kind, addresses, &resolver));
                }
                None => self.over_the_dns(target, type_, &resolver, &mut found),
            }
            let works = target.finds_all(&found);
            out.extend(found);
            if works {
                break;
            }
        }
    }

    fn caa(&self, target: &Target<'_>, resolver: &Resolver<'_>, out: &mut Vec<Finding>) {
        let Ok(name) = Name::parse(target.host()) else { return };
        let found = dns::caa::find(resolver, &name);
        let methods: Vec<&str> = target.types.iter().map(String::as_str).collect();
        let asked = |ca: Option<&'_ str>, identities, account| {
            caa::judge(&caa::Asked { name: target.name, ca, identities, account, methods: &methods }, &found)
        };
        if target.cas.is_empty() {
            out.push(asked(None, Ok(&[]), None));
        }
        for ca in target.cas {
            let identities = ca.identities.as_deref().map_err(String::as_str);
            out.push(asked(Some(&ca.url), identities, ca.account.as_deref()));
        }
    }

    fn over_the_web(
        &self,
        target: &Target<'_>,
        kind: Kind,
        addresses: &[IpAddr],
        resolver: &Resolver<'_>,
    ) -> Vec<Finding> {
        if addresses.is_empty() {
            return Vec::new();
        }
        let port = Port::of(kind.port(), self.site.configuration.as_ref());
        let up = self.tokens.of(target.host());
        let request = ask::Request { host: target.host(), target: &up.path, kind };
        let looks = ask::all(&request, addresses, resolver, &self.limits);
        let local = port.local.unwrap_or(kind.port());
        let own = Own {
            port: local,
            is_configured: port.is_configured,
            is_running: self.tokens.is_running(),
            answer: ask::own(&request, local, addresses, &self.limits),
        };
        judge::judge(&Case { name: target.name, kind, looks: &looks, own: &own, token: &up.token })
    }

    fn over_the_dns(
        &self,
        target: &Target<'_>,
        type_: &str,
        resolver: &Resolver<'_>,
        out: &mut Vec<Finding>,
    ) {
        let Some(managed) = &target.subject.managed else { return };
        let account = target.cas.first().and_then(|ca| ca.account.as_deref());
        match (type_, account) {
            (dns01::TYPE, _) => {
                self.record(target, managed, &dns01::record_name(target.host()), resolver, out)
            }
            (dns_account01::TYPE, Some(account)) => {
                let record = dns_account01::record_name(account, target.host());
                self.record(target, managed, &record, resolver, out);
            }
            (dns_persist01::TYPE, account) => {
                let Some(ca) = target.cas.first() else { return };
                let look_up = LookUp::new(&self.dns, &self.resolvers, &managed.dns_servers);
                let wildcard = format!("*.{}", target.host());
                let asked = persist::Asked {
                    name: target.host(),
                    issuers: ca.identities.as_deref().map_err(String::as_str),
                    account,
                    has_wildcard: managed.md.domains.contains(&wildcard),
                };
                out.push(persist::look(&asked, &look_up, self.clock.now()));
            }
            _ => {}
        }
    }

    fn record(
        &self,
        target: &Target<'_>,
        managed: &Managed,
        record: &str,
        resolver: &Resolver<'_>,
        out: &mut Vec<Finding>,
    ) {
        let Ok(record) = Name::parse(record) else { return };
        let way = records::way(managed);
        let zones = self.site.configuration.as_ref().map(|known| known.dns.zones.as_slice());
        let asked = records::Asked { name: target.host(), record: &record, way: way.as_ref(), zones };
        let tools = records::Tools { dns: &self.dns, resolver, clock: &*self.clock, store: &self.worker };
        records::look(&asked, &tools, out);
    }
}
