// SPDX-License-Identifier: Apache-2.0
//! Collects the facts about a configuration that are available before anything is renewed or served, from
//! httpd, files and the store, for [`config::advice`]. Changes nothing and contacts no host on the network.

use super::servers::config_servers;
use crate::acme::account;
use crate::config::advice::{self, Context, Item, certificates};
use crate::config::tree::{Directive, Engine, TlsSettings, Tree};
use crate::config::{Finding, Host, Plan, PlannedMd, ServerConfig};
use crate::httpd::state::Server;
use crate::httpd::sys;
use crate::log::Level;
use crate::startup::{dns_secrets, findings, fleet_files};
use crate::store::{reach, read_admin_file};
use crate::time::{Clock, SystemClock};
use std::cell::OnceCell;
use std::path::Path;

/// The advice that is available before mod_ssl begins.
pub struct Advice {
    pub findings: Vec<Finding>,
    tls: Vec<TlsSettings>,
    has_other_tls: bool,
}

impl Advice {
    /// Whether the server of this index has TLS; `None`: only mod_ssl knows, or another module.
    pub fn has_tls(&self, server: usize) -> Option<bool> {
        match self.tls.get(server)?.engine {
            Engine::On => Some(true),
            Engine::Off if !self.has_other_tls => Some(false),
            Engine::Off | Engine::Unknown => None,
        }
    }

    /// Whether files of `SSLCertificateFile` are set for the server of this index.
    pub fn has_own_certificate(&self, server: usize) -> bool {
        self.tls.get(server).is_some_and(|tls| tls.has_own_file)
    }

    /// Whether it includes a reason for which mod_ssl is going to end the start.
    pub fn ends_start(&self) -> bool {
        self.findings.iter().any(|finding| finding.level <= Level::Error)
    }
}

pub fn of(plan: &Plan, servers: &[(ServerConfig, Host)]) -> Advice {
    let tree = Tree::new(sys::directives(Directive::is_needed));
    let servers = config_servers(servers);
    let tls = tree.tls_settings(&servers);
    let (user, now) = (sys::store_owner(), SystemClock::default().now());
    let dir = sys::server_root().join(&plan.global.store_dir);
    let path = std::env::var("PATH").ok();
    let authorities = OnceCell::new();
    let has_account = |url: &str| {
        let known = authorities.get_or_init(|| reach::account_authorities(&dir));
        known.as_ref().is_none_or(|urls: &Vec<String>| urls.iter().any(|known| known == url))
    };
    let context = Context {
        tree: &tree,
        tls: &tls,
        has_module: &sys::has_module,
        has_other_source: sys::has_other_certificates(),
        command_fault: &|line| reach::line_fault(line, path.as_deref(), user),
        file_faults: &|md, cert, key| {
            certificates::faults(md, Path::new(cert), Path::new(key), &read_admin_file, now)
        },
        has_account: &has_account,
        store_fault: reach::closed_folder(&dir, user)
            .map(|folder| format!("their User cannot enter {folder}")),
    };
    let mut findings = advice::advice(plan, &servers, &context);
    findings.extend(unreadable_bindings(plan));
    findings.extend(dns_secrets::findings(plan));
    // A reload goes on without the fleet, and tells that itself.
    if !sys::is_reload() {
        findings.extend(fleet_files::findings(plan));
    }
    let has_other_tls = ["mod_tls.c", "mod_gnutls.c", "mod_nss.c"].into_iter().any(sys::has_module);
    Advice { findings, tls, has_other_tls }
}

/// The complete list: findings of the plan, this advice, and findings that otherwise follow only after
/// mod_ssl. `Err`: one of them, or mod_ssl, ends the start.
pub fn list(
    plan: &mut Plan,
    advice: Advice,
    servers: &[(ServerConfig, Host)],
    records: &[Server<'_>],
) -> Result<Vec<Finding>, Vec<Finding>> {
    let ends = advice.ends_start();
    let is_logged = |finding: &Finding| finding.level <= Level::Warn;
    let mut findings = advice.findings;
    findings.append(&mut plan.findings);
    let is_known = !advice.has_other_tls && advice.tls.iter().all(|tls| tls.engine != Engine::Unknown);
    let tls: Vec<bool> = advice.tls.iter().map(|tls| tls.engine == Engine::On).collect();
    let alpn: Vec<bool> = records.iter().map(|server| server.allows_acme_tls()).collect();
    match plan.after_tls(&config_servers(servers), &tls, &alpn) {
        Err(conflicts) => {
            findings.splice(0..0, conflicts);
            findings.retain(is_logged);
            return Err(findings);
        }
        Ok(later) if is_known => {
            findings.extend(later);
            findings.extend(findings::unprovable(plan));
        }
        Ok(_) => {}
    }
    findings.retain(is_logged);
    if ends { Err(findings) } else { Ok(findings) }
}

/// Accounts that no CA can be asked for. The text does not hold the hmac.
fn unreadable_bindings(plan: &Plan) -> Vec<Finding> {
    let is_unreadable = |p: &&PlannedMd| {
        advice::is_renewed(p) && p.md.eab.as_ref().is_some_and(|eab| !account::is_eab_hmac(&eab.hmac))
    };
    let item = |planned: &PlannedMd| {
        let (md, place) = (planned.md.name.clone(), advice::at(&planned.defined_at));
        Item {
            level: Level::Warn,
            name: format!("{md} ({place})"),
            text: Box::new(move || {
                format!(
                    "{place}: md[{md}]: the hmac of 'MDExternalAccountBinding' is not base64url: copy it exactly as the \
                     CA gave it. No account is registered with this one."
                )
            }),
        }
    };
    let items = plan.mds.iter().filter(is_unreadable).map(item).collect();
    let kind = "managed domains with an unusable external account binding";
    advice::coded("eab-unusable", advice::gathered("", kind, items))
}
