// SPDX-License-Identifier: Apache-2.0
//! Refuses configurations whose directives are valid but do not fit together: overlapping MDs, static files
//! without their counterpart, missing files, an unknown protocol or curve. These end the start; doubtful
//! settings become warnings.

use super::finding::{Finding, Item, at};
use super::planned::{Host, Plan, PlannedMd, Server};
use super::{MatchNames, MdSection, Settings, authority};
use crate::crypto::PrivateKey;
use crate::log::{Level, counted};
use crate::model::{Md, RequireHttps};
use crate::names;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Names that two MDs have. With `MDMatchNames servernames` they may share names, but not the first one:
/// it names the folder of the store.
pub(super) fn overlaps(mds: &[PlannedMd], mode: MatchNames) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (at, name) in claimed_names(mds, mode) {
        match owners.get(name) {
            Some(first) if *first != at => findings.push(overlap(mds, name, *first, at)),
            Some(_) => {}
            None => _ = owners.insert(name, at),
        }
    }
    if mode == MatchNames::ServerNames {
        return findings;
    }
    for (at, name) in claimed_names(mds, mode).filter(|(_, name)| !names::is_wildcard(name)) {
        let parent = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        match parent.and_then(|wildcard| owners.get(wildcard.as_str())) {
            Some(owner) if *owner != at => findings.push(overlap(mds, name, *owner, at)),
            _ => {}
        }
    }
    findings
}

fn claimed_names(mds: &[PlannedMd], mode: MatchNames) -> impl Iterator<Item = (usize, &str)> {
    let count = if mode == MatchNames::All { usize::MAX } else { 1 };
    mds.iter()
        .enumerate()
        .flat_map(move |(at, planned)| planned.md.domains.iter().take(count).map(move |d| (at, d.as_str())))
}

fn overlap(mds: &[PlannedMd], name: &str, a: usize, b: usize) -> Finding {
    let place = |index: usize| {
        let (file, line) = mds.get(index).map(|p| p.defined_at.clone()).unwrap_or_default();
        format!("{file}(line {line})")
    };
    Finding::error(format!(
        "AH10038: two Managed Domains have an overlap in domain '{name}', first definition in {}, second in {}. \
         A name belongs to one managed domain: remove it from one of the two, or write both as one MDomain.",
        place(a.min(b)),
        place(a.max(b))
    ))
}

/// The errors of a single MD.
pub(super) fn settings(planned: &PlannedMd) -> Vec<Finding> {
    let md = &planned.md;
    let place = at(&planned.defined_at);
    let mut findings = Vec::new();
    if md.cert_files.is_empty() && !md.pkey_files.is_empty() {
        findings.push(Finding::error(format!(
            "AH10171: The Managed Domain '{}' has MDCertificateKeyFile(s) but no MDCertificateFile. It is defined in {place}: add \
             an MDCertificateFile for each key file, or remove the key files.",
            md.name
        )));
    } else if md.cert_files.len() != md.pkey_files.len() {
        findings.push(Finding::error(format!(
            "AH10170: The Managed Domain '{}' needs one MDCertificateKeyFile for each MDCertificateFile. It is defined in {place} \
             with {} and {}: give each certificate file the file of its key.",
            md.name,
            counted(md.cert_files.len(), "certificate file"),
            counted(md.pkey_files.len(), "key file")
        )));
    }
    if md.ca.proto != "ACME" {
        findings.push(Finding::error(format!(
            "AH10172: [{}] uses unknown CA protocol '{}' in MDCertificateProtocol, the only one is ACME. Remove the directive; the domain \
             is defined in {place}.",
            md.name, md.ca.proto
        )));
    }
    for spec in md.key_specs.iter().filter(|spec| !PrivateKey::can_generate(spec)) {
        findings.push(Finding::error(format!(
            "AH10174: [{}] uses unknown elliptic curve '{}' in MDPrivateKeys. Use RSA, 'RSA 4096', P-256 or P-384; the \
             domain is defined in {place}.",
            md.name,
            spec.label()
        )));
    }
    findings
}

/// Something among the names of a domain that can be no name.
pub(super) fn left_out<'s>(section: &'s MdSection, word: &str, reason: &'s str) -> Item<'s> {
    let (name, place) = (section.names.first().map_or("", String::as_str), at(&section.defined_at));
    let text = Box::new(move || format!("{place}: md[{name}]: {reason} The domain is managed without it."));
    Item { level: Level::Warn, name: format!("{word} ({})", at(&section.defined_at)), text }
}

/// Warnings about settings that are allowed but hardly intended: windows of no length, CAs that are asked
/// without encryption. One warning lists all domains with the same setting.
pub(super) fn doubts(plan: &Plan, servers: &[Server<'_>]) -> Vec<Finding> {
    let late: Vec<&PlannedMd> = plan.mds.iter().filter(|p| p.md.renew_window.is_nothing()).collect();
    let of_windows = late.first().map(|first| {
        format!(
            "{}: MDRenewWindow {}: the certificate is renewed only after it has expired, unless its CA \
             advises an earlier time. Set a duration or a percentage, such as 33%.",
            together(&late),
            first.md.renew_window
        )
    });
    let mut hosts = plan.hosts.iter().zip(servers);
    let of_staples = hosts.find(|(host, _)| host.staple_renew_window.is_nothing()).map(|(host, server)| {
        format!(
            "MDStaplingRenewWindow {} ({}): OCSP responses are renewed only after they have expired. Set a \
             duration or a percentage, such as 33%.",
            host.staple_renew_window,
            server.host.place()
        )
    });
    let texts = of_windows.into_iter().chain(of_staples).chain(of_authorities(&plan.mds));
    texts.map(|text| Finding::new(Level::Warn, text)).collect()
}

/// Each CA is reported once.
fn of_authorities(mds: &[PlannedMd]) -> impl Iterator<Item = String> {
    let mut users: BTreeMap<&str, Vec<&PlannedMd>> = BTreeMap::new();
    for planned in mds.iter().filter(|planned| planned.md.left_alone().is_none()) {
        for url in &planned.md.ca.urls {
            users.entry(url).or_default().push(planned);
        }
    }
    let warning = |(url, users): (&str, Vec<&PlannedMd>)| {
        let doubt = authority::doubt(url)?;
        Some(format!("{}: MDCertificateAuthority {url}: {doubt}", together(&users)))
    };
    users.into_iter().filter_map(warning)
}

/// The first one by name.
pub(super) fn together(mds: &[&PlannedMd]) -> String {
    let name = mds.first().map(|first| first.md.name.as_str()).unwrap_or_default();
    named(name, mds.len())
}

/// The first one, where there are more.
pub(super) fn named(name: &str, count: usize) -> String {
    match count {
        0 | 1 => format!("md[{name}]"),
        count => format!("md[{name}] and {} more", count - 1),
    }
}

/// One finding about all hosts whose `MDRequireHttps` differs from that of their MD: other versions of mod_md
/// ignore the directive in a virtual host.
pub(super) fn other_https(hosts: &[(&Host, RequireHttps, &Md)]) -> Option<Finding> {
    let (host, own, md) = hosts.iter().min_by_key(|(host, ..)| &host.defined_at)?;
    let others = match hosts.len() - 1 {
        0 => String::new(),
        1 => " The same goes for one more host.".into(),
        count => format!(" The same goes for {count} more hosts."),
    };
    Some(Finding::new(
        Level::Notice,
        format!(
            "md[{}]: MDRequireHttps {} in the virtual host {} ({}) applies to that host, although the \
             managed domain has {}; mod_md 2 ignores it there. Nothing needs to be done, unless mod_md 2 \
             will also read this configuration.{others}",
            md.name,
            own.word(),
            host.server_name,
            host.place(),
            md.require_https.word()
        ),
    ))
}

/// CA certificate files that do not exist, each reported once, with the first domain that uses it.
#[derive(Default)]
pub(super) struct MissingFiles {
    seen: HashSet<(&'static str, String)>,
    missing: Vec<(&'static str, String)>,
}

impl MissingFiles {
    pub(super) fn look(&mut self, settings: &Settings, exists: &dyn Fn(&Path) -> bool) {
        for (directive, file) in [
            ("MDCACertificateFile", &settings.ca_certs),
            ("MDHttpProxyCACertificateFile", &settings.proxy_ca_certs),
        ] {
            let Some(Some(file)) = file else { continue };
            if self.seen.insert((directive, file.clone())) && !exists(Path::new(file)) {
                self.missing.push((directive, file.clone()));
            }
        }
    }

    pub(super) fn findings(self, mds: &[PlannedMd]) -> Vec<Finding> {
        let finding = |(directive, file): (&'static str, String)| {
            let is_user = |planned: &&PlannedMd| match directive {
                "MDCACertificateFile" => planned.route.ca_file.as_ref() == Some(&file),
                _ => planned.route.proxy_ca_file.as_ref() == Some(&file),
            };
            let user = mds.iter().find(is_user);
            let user = user.map(|p| format!(" md[{}] ({}) uses it.", p.md.name, at(&p.defined_at)));
            Finding::error(format!(
                "{directive}: file not found: {file}.{} Put the file there, or correct the path.",
                user.unwrap_or_default()
            ))
        };
        self.missing.into_iter().map(finding).collect()
    }
}
