// SPDX-License-Identifier: Apache-2.0
//! Completes an MD: its own settings first, then those of the server that defines it, then the defaults.
//!
//! md.json keeps the fields that the C module keeps: commands, proxy and CA files appear only where the
//! section of the MD sets them; other ways of dns-01, which the C module does not know, wherever they are
//! set. The effective values are in [`PlannedMd`], beside the [`Md`].

use super::authority::{self, DEFAULT_CA};
use super::planned::PlannedMd;
use super::{MdSection, Settings};
use crate::model::dns01::Way;
use crate::model::{Ca, Dns01, Md, Route};
use std::collections::HashSet;
use std::time::Duration;

/// `ServerAdmin` where none is set.
const ADMIN_DEFAULTS: [&str; 2] = ["you@example.com", "[no address given]"];

/// Where `MDChallengeDns01Timeout` is not written: many commands wait until every name server has the record.
const DNS01_TIMEOUT: Duration = Duration::from_secs(600);

/// `server`: the settings of the server of the definition, main server included; `admin`: its ServerAdmin.
pub(super) fn complete(
    section: &MdSection,
    server: &Settings,
    admin: Option<&str>,
    dns01_version: u8,
) -> PlannedMd {
    let all = section.settings.over(server);
    PlannedMd {
        md: md(section, &all, admin),
        hosts: Vec::new(),
        defined_at: section.defined_at.clone(),
        dns01: dns01(&all, dns01_version),
        dns_servers: all.dns01_propagation.clone().unwrap_or_default().servers,
        route: Route {
            ca_file: all.ca_certs.flatten(),
            proxy_url: all.proxy_url,
            proxy_ca_file: all.proxy_ca_certs.flatten(),
        },
        watched: false,
    }
}

fn md(section: &MdSection, all: &Settings, admin: Option<&str>) -> Md {
    let own = &section.settings;
    let mut seen = HashSet::new();
    let domains: Vec<String> = section.names.iter().filter(|name| seen.insert(*name)).cloned().collect();
    let defaults = Md::default();
    Md {
        name: domains.first().cloned().unwrap_or_default(),
        domains,
        contacts: all.contact.clone().or_else(|| admin.and_then(admin_contact)).into_iter().collect(),
        transitive: all.transitive.unwrap_or(defaults.transitive),
        ca: ca(all),
        key_specs: all.key_specs.clone().unwrap_or_default(),
        renew_mode: all.renew_mode.unwrap_or_default(),
        renew_window: all.renew_window.unwrap_or(defaults.renew_window),
        warn_window: all.warn_window.unwrap_or(defaults.warn_window),
        require_https: all.require_https.unwrap_or_default(),
        must_staple: all.must_staple.unwrap_or(defaults.must_staple),
        cert_files: section.cert_files.clone(),
        pkey_files: section.key_files.clone(),
        stapling: all.stapling.unwrap_or(defaults.stapling),
        cmd_dns_01: own.dns01.iter().flatten().find_map(Way::command_line).map(String::from),
        dns_01: all.dns01.clone().flatten().filter(|way| way.command_line().is_none()),
        proxy_url: own.proxy_url.clone(),
        ca_certs: own.ca_certs.clone().flatten(),
        proxy_ca_certs: own.proxy_ca_certs.clone().flatten(),
        eab: all.eab.clone().flatten(),
        profile: all.profile.clone(),
        profile_mandatory: all.profile_mandatory.unwrap_or(defaults.profile_mandatory),
        ari_renewals: all.ari_renewals.unwrap_or(defaults.ari_renewals),
        ..Md::default()
    }
}

fn dns01(all: &Settings, version: u8) -> Option<Dns01> {
    let mut way = all.dns01.clone().flatten()?;
    if let Way::Command(command) = &mut way {
        command.version = version;
    }
    Some(Dns01 {
        way,
        limit: all.dns01_timeout.unwrap_or(DNS01_TIMEOUT),
        propagation: all.dns01_propagation.clone().unwrap_or_default(),
    })
}

fn ca(all: &Settings) -> Ca {
    let proto = all.ca_proto.clone().unwrap_or_else(|| "ACME".into());
    Ca {
        proto: if proto.eq_ignore_ascii_case("ACME") { "ACME".into() } else { proto },
        urls: match &all.ca_urls {
            Some(urls) if !urls.is_empty() => urls.clone(),
            _ => vec![DEFAULT_CA.into()],
        },
        agreement: all.ca_agreement.clone(),
        challenges: all.challenges.clone().unwrap_or_default(),
        account_key: all.account_key.clone(),
        ..Ca::default()
    }
}

/// The contact a `ServerAdmin` makes; `None` where it is httpd's placeholder.
pub(super) fn admin_contact(admin: &str) -> Option<String> {
    let unset = admin.is_empty() || ADMIN_DEFAULTS.contains(&admin);
    (!unset).then(|| authority::contact(admin))
}
