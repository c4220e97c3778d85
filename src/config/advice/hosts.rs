// SPDX-License-Identifier: Apache-2.0
//! Findings about hosts and managed domains that do not match each other.

use super::context::{Context, is_renewed};
use super::spelling::nearest;
use crate::config::MatchNames;
use crate::config::check::together;
use crate::config::finding::Finding;
use crate::config::finding::{Item, at, coded, gathered};
use crate::config::planned::{Host, Plan, PlannedMd, Server};
use crate::config::tree::{Engine, TlsSettings};
use crate::log::Level;
use crate::model::{RenewMode, RequireHttps};
use crate::names;
use std::collections::HashMap;

/// Modules other than mod_ssl that may give a host its TLS.
const OTHER_TLS: [&str; 3] = ["mod_tls.c", "mod_gnutls.c", "mod_nss.c"];

pub(super) fn advice(plan: &Plan, servers: &[Server<'_>], context: &Context<'_>) -> Vec<Finding> {
    if plan.mds.is_empty() {
        return Vec::new();
    }
    let sight = Sight::new(plan, servers, context);
    // httpd has the last one first.
    let mut in_order: Vec<usize> = (0..servers.len()).collect();
    in_order.sort_by_key(|host| servers.get(*host).map(|server| &server.host.defined_at));
    let bare = in_order.into_iter().filter_map(|host| sight.without_certificate(host)).collect();
    let mut findings =
        coded("host-without-certificate", gathered("", "TLS hosts without a certificate", bare));
    let unused = plan.mds.iter().filter_map(|planned| sight.unused(planned)).collect();
    let unused = gathered("AH10045: ", "managed domains that no VirtualHost matches", unused);
    findings.extend(coded("host-missing", unused));
    if OTHER_TLS.iter().any(|module| (context.has_module)(module)) {
        return findings;
    }
    if !(context.has_module)("mod_ssl.c") {
        findings.extend(sight.without_mod_ssl());
        return findings;
    }
    let plain = plan.mds.iter().filter_map(|planned| sight.without_tls(planned)).collect();
    findings.extend(coded("tls-host-missing", gathered("", "managed domains without a TLS host", plain)));
    findings
}

struct Sight<'a> {
    plan: &'a Plan,
    servers: &'a [Server<'a>],
    context: &'a Context<'a>,
    /// Of domains without a TLS host: each name, and whose it is.
    free_names: Vec<(&'a str, &'a PlannedMd)>,
    /// Of hosts without a domain.
    free_hosts: Vec<(String, &'a Host)>,
    /// Each name of all domains.
    managed: HashMap<&'a str, &'a PlannedMd>,
}

impl<'a> Sight<'a> {
    fn new(plan: &'a Plan, servers: &'a [Server<'a>], context: &'a Context<'a>) -> Self {
        let is_free = |planned: &&PlannedMd| !planned.hosts.iter().any(|host| is_tls(context, *host));
        let names_of = |planned: &'a PlannedMd| planned.md.domains.iter().map(move |d| (d.as_str(), planned));
        let free_names = plan.mds.iter().filter(is_free).flat_map(names_of).collect();
        let hosts = servers.iter().zip(&plan.hosts).filter(|(_, host)| host.mds.is_empty());
        let names_of_host = |(server, _): (&'a Server<'a>, _)| {
            let host = &server.host;
            std::iter::once(&host.server_name).chain(&host.aliases).map(move |name| (normal(name), host))
        };
        let free_hosts = hosts.filter(|(server, _)| !server.host.is_main).flat_map(names_of_host).collect();
        let managed = plan.mds.iter().flat_map(names_of).collect();
        Sight { plan, servers, context, free_names, free_hosts, managed }
    }

    /// mod_ssl ends the start for a host like this.
    fn without_certificate(&self, index: usize) -> Option<Item<'_>> {
        let (server, tls) = (self.servers.get(index)?, self.context.tls.get(index)?);
        let has_md = self.plan.hosts.get(index).is_some_and(|host| !host.mds.is_empty());
        if has_md || tls.has_own_file || tls.engine != Engine::On {
            return None;
        }
        let host = &server.host;
        let level = if self.context.has_other_source { Level::Warn } else { Level::Error };
        let (place, which) = match &tls.engine_at {
            Some(engine) if host.is_main => (at(engine), "the main server"),
            _ => (at(&host.defined_at), "the host"),
        };
        let text = move || {
            format!(
                "{place}: {which} {} has 'SSLEngine on'{} but no certificate: no managed domain has {}, and \
                 no SSLCertificateFile is set for it. httpd will not start: mod_ssl ends the start with \
                 AH02572. {}",
                host.server_name,
                inherited(tls, host),
                if host.aliases.is_empty() { "its name" } else { "one of its names" },
                self.remedy(host)
            )
        };
        Some(Item { level, name: format!("{} ({})", host.server_name, host.place()), text: Box::new(text) })
    }

    /// The probable intention of the admin, and how to configure it.
    fn remedy(&self, host: &Host) -> String {
        let all: Vec<String> =
            std::iter::once(&host.server_name).chain(&host.aliases).map(|name| normal(name)).collect();
        let with_name = all.iter().find_map(|name| Some((name, *self.managed.get(name.as_str())?)));
        if let Some((name, planned)) = with_name {
            let (md, place) = (&planned.md.name, at(&planned.defined_at));
            return match () {
                () if host.is_main && !self.plan.global.base_server => format!(
                    "md[{md}] ({place}) has the name {name}, but managed domains apply only to virtual \
                     hosts: set 'MDBaseServer on', or switch SSLEngine off outside of the virtual hosts."
                ),
                () if self.plan.global.match_names == MatchNames::ServerNames => format!(
                    "md[{md}] ({place}) has {name}, but with 'MDMatchNames servernames' a ServerAlias does not count: \
                     add {} to it.",
                    host.server_name
                ),
                () => format!("md[{md}] ({place}) has the name {name}: use it as ServerName."),
            };
        }
        if host.is_main {
            return "Switch SSLEngine off outside of the virtual hosts, or give the main server a certificate: an \
                    SSLCertificateFile, or an MDomain with its ServerName and 'MDBaseServer on'."
                .into();
        }
        let candidates = || self.free_names.iter().map(|(name, _)| *name);
        let meant = all.iter().find_map(|name| Some((name, nearest(name, candidates())?)));
        if let Some((name, meant)) = meant {
            let planned = self.managed.get(meant);
            let place = planned.map(|p| format!(" of md[{}] ({})", p.md.name, at(&p.defined_at)));
            return format!(
                "Did you mean {meant}{}? Write {name} and {meant} in the same way.",
                place.unwrap_or_default()
            );
        }
        match all.iter().find_map(|name| self.relative(name)) {
            Some((relative, planned)) => format!(
                "md[{}] ({}) has {relative}: add {} to it, or set an SSLCertificateFile for this host.",
                planned.md.name,
                at(&planned.defined_at),
                host.server_name
            ),
            None => {
                format!("Add 'MDomain {}', or set an SSLCertificateFile for this host.", host.server_name)
            }
        }
    }

    /// The same name with `www.` or without it.
    fn relative(&self, name: &str) -> Option<(String, &'a PlannedMd)> {
        let other = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), String::from);
        let planned = *self.managed.get(other.as_str())?;
        Some((other, planned))
    }

    fn unused(&'a self, planned: &'a PlannedMd) -> Option<Item<'a>> {
        let md = &planned.md;
        let level = match md.renew_mode {
            _ if !planned.hosts.is_empty() => return None,
            // For others than this httpd, and the admin says so.
            RenewMode::Always => return None,
            RenewMode::Manual if !md.has_static_files() => Level::Notice,
            RenewMode::Manual | RenewMode::Auto => Level::Warn,
        };
        let effect = match md.has_static_files() {
            true => "its certificate files are not used",
            false => "no certificate is requested for it",
        };
        let text = move || {
            format!(
                "AH10045: No VirtualHost matches Managed Domain {} (defined in {}): {effect}.{} Give a host \
                 one of its names, or remove the domain; set 'MDRenewMode always' for a certificate that no \
                 host of this httpd uses.",
                md.name,
                at(&planned.defined_at),
                self.host_meant(planned)
            )
        };
        Some(Item { level, name: format!("{} ({})", md.name, at(&planned.defined_at)), text: Box::new(text) })
    }

    /// The host without a domain that this one was probably meant for.
    fn host_meant(&self, planned: &PlannedMd) -> String {
        let candidates = || self.free_hosts.iter().map(|(name, _)| name.as_str());
        let domains = planned.md.domains.iter().take(crate::config::finding::NAMED);
        let meant = domains.filter_map(|domain| nearest(domain, candidates())).next();
        let host = meant.and_then(|meant| self.free_hosts.iter().find(|(name, _)| name == meant));
        let text = host.map(|(name, host)| format!(" Did you mean {name}, the host in {}?", host.place()));
        text.unwrap_or_default()
    }

    /// Its hosts answer on port 80 alone.
    fn without_tls(&'a self, planned: &'a PlannedMd) -> Option<Item<'a>> {
        let md = &planned.md;
        // Where the public port 443 leads elsewhere, another server terminates TLS.
        let is_meant = self.plan.global.port_map.https.is_none() || md.renew_mode != RenewMode::Auto;
        // AH10105 says so.
        let is_meant = is_meant || md.require_https != RequireHttps::Off;
        let is_off = |host: &usize| self.context.tls.get(*host).is_some_and(|tls| tls.engine == Engine::Off);
        if is_meant || planned.hosts.is_empty() || !planned.hosts.iter().all(is_off) {
            return None;
        }
        let host = &self.servers.get(*planned.hosts.first()?)?.host;
        let text = move || {
            format!(
                "{}: md[{}]: no host with 'SSLEngine on' uses it. It matches {} ({}), which has no TLS.{} Add a <VirtualHost> \
             with this name and 'SSLEngine on', or set 'MDRenewMode always' for a certificate that is used elsewhere.",
                at(&planned.defined_at),
                md.name,
                host.server_name,
                host.place(),
                self.host_meant(planned)
            )
        };
        let name = format!("{} ({})", md.name, at(&planned.defined_at));
        Some(Item { level: Level::Warn, name, text: Box::new(text) })
    }

    fn without_mod_ssl(&self) -> Option<Finding> {
        let is_for_hosts = |p: &&PlannedMd| is_renewed(p) && p.md.renew_mode == RenewMode::Auto;
        let mds: Vec<_> = self.plan.mds.iter().filter(is_for_hosts).collect();
        let first = mds.first().filter(|_| self.plan.global.port_map.https.is_some())?;
        Some(Finding::new(
            Level::Warn,
            format!(
                "{}: {}: mod_ssl is not loaded, so no host can use the certificates. Load it (Debian: a2enmod ssl; \
                 elsewhere: LoadModule ssl_module modules/mod_ssl.so), and add hosts with 'SSLEngine on'.",
                at(&first.defined_at),
                together(&mds)
            ),
        ).code("mod-ssl-missing"))
    }
}

fn is_tls(context: &Context<'_>, host: usize) -> bool {
    context.tls.get(host).is_some_and(|tls| tls.engine == Engine::On)
}

fn normal(name: &str) -> String {
    names::normalize(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// Where `SSLEngine` is, if not in the host.
fn inherited(tls: &TlsSettings, host: &Host) -> String {
    let elsewhere = tls.engine_at.as_ref().filter(|_| !host.is_main);
    let elsewhere = elsewhere.filter(|engine| engine.0 != host.defined_at.0 || engine.1 < host.defined_at.1);
    elsewhere.map(|engine| format!(" (of {})", at(engine))).unwrap_or_default()
}
