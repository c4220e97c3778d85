// SPDX-License-Identifier: Apache-2.0
//! A [`Configuration`] for people, as `apachectl -t -D DUMP_MD` prints it. Says nothing about how a CA or a
//! proxy is reached. Pure.

use super::{Configuration, DumpedHost};
use crate::config::PlannedMd;
use crate::model::{DnsService, DnsZone, NotRenewed, RenewMode};
use crate::time::format_duration;
use std::fmt::Write;

impl Configuration {
    /// Lines, each with its line feed. Control characters are shown as blanks.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write_site(&mut out);
        self.write_ways(&mut out);
        match self.mds.is_empty() {
            true => out.push_str("Managed domains: none\n"),
            false => out.push_str("Managed domains:\n"),
        }
        self.mds.iter().for_each(|planned| self.write_md(&mut out, planned));
        if !self.findings.is_empty() {
            out.push_str("Findings of configtest:\n");
        }
        for finding in &self.findings {
            line(&mut out, 4, &finding.text);
        }
        out
    }

    fn write_site(&self, out: &mut String) {
        line(out, 0, &format!("mod_md {}", self.version));
        line(out, 0, &format!("ServerRoot: \"{}\"", self.server_root.display()));
        line(out, 0, &format!("Store: \"{}\"", self.store.display()));
        if let Some((uid, gid)) = self.user {
            line(out, 0, &format!("User: id={uid}  Group: id={gid}"));
        }
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        line(out, 0, &format!("Ports: {}", listed(&ports)));
        for (public, port) in [(80, self.http_port), (443, self.https_port)] {
            let text = port.map_or_else(|| "nowhere".to_string(), |port| port.to_string());
            if port != Some(public) {
                line(out, 0, &format!("Public port {public} leads to: {text}"));
            }
        }
    }

    fn write_ways(&self, out: &mut String) {
        let locks = self.store_locks.map_or_else(|| "off".to_string(), format_duration);
        line(out, 0, &format!("Lock of the store: {locks}"));
        if let (Some(delay), Some(errors)) = (self.retry_delay, self.retry_failover) {
            let delay = format_duration(delay);
            line(out, 0, &format!("Retries: after {delay} and more, at another CA after {errors} errors"));
        }
        let zone = |zone: &DnsZone| format!("{} (NS {})", zone.zone, listed(&zone.hosts));
        let zones: Vec<String> = self.dns.zones.iter().map(zone).collect();
        let addresses: Vec<String> = self.dns.listen.iter().map(ToString::to_string).collect();
        if self.dns != DnsService::default() {
            line(out, 0, &format!("DNS: {} at {}", listed(&zones), listed(&addresses)));
        }
        if let Some(fleet) = &self.fleet {
            let node = fleet.node.as_ref().map(|node| format!(" as {node}")).unwrap_or_default();
            let files: Vec<String> =
                fleet.secret_files.iter().map(|file| file.display().to_string()).collect();
            line(out, 0, &format!("Fleet: {}{node}, secret in {}", listed(&fleet.urls), listed(&files)));
        }
    }

    fn write_md(&self, out: &mut String, planned: &PlannedMd) {
        let PlannedMd { md, hosts, defined_at: (file, number), dns01, .. } = planned;
        line(out, 4, &format!("{} ({file}:{number})", md.name));
        line(out, 8, &format!("names: {}", listed(&md.domains)));
        let cas = match md.ca.urls.as_slice() {
            _ if md.has_static_files() => format!("files: {}", listed(&md.cert_files)),
            urls => format!("CA: {}", listed(urls)),
        };
        line(out, 8, &cas);
        let mode = match md.renew_mode {
            RenewMode::Manual => "manual",
            RenewMode::Auto => "auto",
            RenewMode::Always => "always",
        };
        let reason: Option<NotRenewed> = md.not_renewed(!hosts.is_empty());
        let not = reason.map(|reason| format!(", not renewed: {reason}")).unwrap_or_default();
        line(out, 8, &format!("renew mode: {mode}{not}"));
        if let Some(dns01) = dns01 {
            let way = dns01.way.word();
            line(out, 8, &format!("dns-01: {}", if way.is_empty() { "command" } else { &way }));
        }
        for host in hosts.iter().filter_map(|index| self.hosts.get(*index)) {
            line(out, 8, &described(host));
        }
    }
}

fn described(dumped: &DumpedHost) -> String {
    let host = &dumped.host;
    let tls = match dumped.has_tls {
        Some(true) => ", TLS",
        Some(false) => ", no TLS",
        None => "",
    };
    let place = match host.is_main {
        true => "main server".to_string(),
        false => format!("{}:{}", host.defined_at.0, host.defined_at.1),
    };
    let address = if dumped.address.is_empty() { String::new() } else { format!(" {}", dumped.address) };
    format!("host: {}{address} ({place}{tls})", host.server_name)
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_string() } else { words.join(" ") }
}

fn line(out: &mut String, indent: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{}", "", text.replace(char::is_control, " "));
}
