//! What can be known of a configuration before anything is renewed or served: asks httpd, files and the store for
//! [`config::advice`], and tells. Changes nothing, asks nobody on the network.

use super::startup::config_servers;
use super::sys::{self, Server};
use crate::acme::account;
use crate::challenge::selection::{self, Means};
use crate::config::advice::{self, FileFault, Item, Surroundings};
use crate::config::tree::{Directive, Engine, TlsSettings, Tree};
use crate::config::{Finding, Host, Plan, PlannedMd, ServerConfig};
use crate::crypto::{CertInfo, Chain, PrivateKey};
use crate::exec;
use crate::log::Level;
use crate::model::{Md, RenewMode};
use crate::names;
use crate::renew::error::Error;
use crate::renew::hint::{self, Facts};
use crate::store::{reach, read_admin_file};
use crate::time::{Clock, SystemClock, Timestamp};
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::Path;
use zeroize::Zeroizing;

/// What is missing where nothing runs at intervals.
pub const NO_WATCHDOG: &str = "AH10061: mod_watchdog is required to renew certificates and to staple, but it is not loaded. \
     Add it: LoadModule watchdog_module modules/mod_watchdog.so";

/// What is known before mod_ssl begins.
pub struct Advice {
    pub findings: Vec<Finding>,
    tls: Vec<TlsSettings>,
    has_other_tls: bool,
}

impl Advice {
    /// What mod_ssl is going to end the start for is among it.
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
    let authorities = OnceCell::new();
    let has_account = |url: &str| {
        let known = authorities.get_or_init(|| reach::account_authorities(&dir));
        known.as_ref().is_none_or(|urls: &Vec<String>| urls.iter().any(|known| known == url))
    };
    let surroundings = Surroundings {
        tree: &tree,
        tls: &tls,
        has_module: &sys::has_module,
        has_other_source: sys::has_other_certificates(),
        command_fault: &|line| command_fault(line, user),
        file_faults: &|md, cert, key| file_faults(md, Path::new(cert), Path::new(key), now),
        has_account: &has_account,
        store_fault: reach::closed_folder(&dir, user)
            .map(|folder| format!("their User cannot enter {folder}")),
    };
    let mut findings = advice::advice(plan, &servers, &surroundings);
    findings.extend(unreadable_bindings(plan));
    let has_other_tls = ["mod_tls.c", "mod_gnutls.c", "mod_nss.c"].into_iter().any(sys::has_module);
    Advice { findings, tls, has_other_tls }
}

/// The whole list: what the plan has said, this advice, and what is going to be known after mod_ssl. `Err`: it ends the start,
/// or mod_ssl does.
pub fn list(
    mut plan: Plan,
    advice: Advice,
    servers: &[(ServerConfig, Host)],
    records: &[Server<'_>],
) -> Result<Vec<Finding>, Vec<Finding>> {
    let ends = advice.ends_start();
    let is_told = |finding: &Finding| finding.level <= Level::Warn;
    let mut findings = advice.findings;
    findings.append(&mut plan.findings);
    let is_known = !advice.has_other_tls && advice.tls.iter().all(|tls| tls.engine != Engine::Unknown);
    let tls: Vec<bool> = advice.tls.iter().map(|tls| tls.engine == Engine::On).collect();
    let alpn: Vec<bool> = records.iter().map(|server| server.allows_acme_tls()).collect();
    match plan.after_tls(&config_servers(servers), &tls, &alpn) {
        Err(conflicts) => {
            findings.splice(0..0, conflicts);
            findings.retain(is_told);
            return Err(findings);
        }
        Ok(later) if is_known => {
            findings.extend(later);
            findings.extend(unprovable(&plan));
        }
        Ok(_) => {}
    }
    let needs_watchdog =
        plan.mds.iter().any(|p| p.watched) || plan.hosts.iter().any(|host| host.staple_others);
    if needs_watchdog && !sys::has_module("mod_watchdog.c") {
        findings.push(Finding { level: Level::Warn, text: NO_WATCHDOG.into() });
    }
    findings.retain(is_told);
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
    advice::gathered("", "managed domains whose external account cannot be read", items)
}

/// Domains with names that no challenge can be answered for, as far as that is known.
pub fn unprovable(plan: &Plan) -> Vec<Finding> {
    let is_renewed =
        |p: &&PlannedMd| p.watched && p.md.renew_mode != RenewMode::Manual && !p.md.has_static_files();
    let items =
        plan.mds.iter().filter(is_renewed).filter_map(|planned| without_challenge(plan, planned)).collect();
    advice::gathered("AH10173: ", "managed domains without a suitable challenge method", items)
}

fn without_challenge<'a>(plan: &Plan, planned: &'a PlannedMd) -> Option<Item<'a>> {
    let md = &planned.md;
    let means = Means {
        configured: &md.ca.challenges,
        http: plan.can_http,
        https: plan.can_https,
        acme_tls: &md.acme_tls_1,
        dns01: planned.dns01_cmd.is_some(),
    };
    let reason = selection::check(&md.domains, &means).err()?;
    let place = advice::at(&planned.defined_at);
    let name = format!("{} ({place})", md.name);
    let facts = Facts {
        md,
        ca: None,
        has_proxy: planned.proxy_url.is_some(),
        dns01: planned.dns01_cmd.as_deref(),
        until: None,
    };
    let text = hint::told(&Error::ChallengeMismatch { reason, offered: Vec::new() }, &facts);
    let text = move || format!("AH10173: md[{}]: {text} The domain is defined in {place}.", md.name);
    Some(Item { level: Level::Error, name, text: Box::new(text) })
}

fn command_fault(line: &str, user: Option<crate::store::Owner>) -> Option<String> {
    let words = exec::split(line);
    let Some(program) = words.first().filter(|program| !program.is_empty()) else {
        return Some("there is no command".into());
    };
    if program.starts_with('/') {
        return reach::command_fault(Path::new(program), user);
    }
    // Relative to a folder that is known to the children alone.
    if program.contains('/') {
        return None;
    }
    let path = std::env::var("PATH").ok()?;
    match reach::in_path(program, &path) {
        Some(found) => reach::command_fault(&found, user),
        None => Some(format!("there is no program {program} in PATH ({path}); write its whole path")),
    }
}

/// What is wrong with the files that an admin provides for a domain.
fn file_faults(md: &Md, cert: &Path, key: &Path, now: Timestamp) -> Vec<FileFault> {
    let fault = |is_of_key, is_fatal, text: String| FileFault { is_of_key, is_fatal, text };
    let mut faults = Vec::new();
    let mut read = |is_of_key, path: &Path| match read_admin_file(path) {
        Ok(content) => Some(Zeroizing::new(content)),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let text = "does not exist. Put the file there, or correct the path.";
            faults.push(fault(is_of_key, true, text.into()));
            None
        }
        Err(e) => {
            faults.push(fault(is_of_key, false, format!("cannot be read: {e}.")));
            None
        }
    };
    let (chain, private) = (read(false, cert), read(true, key));
    let Some(content) = chain else { return faults };
    let chain = match Chain::from_pem(&content) {
        Ok(chain) => chain,
        Err(e) => {
            let is_fatal = !has_block(&content, "CERTIFICATE");
            faults.push(fault(false, is_fatal, format!("cannot be used: {e}. {IN_PEM}")));
            return faults;
        }
    };
    let leaf = chain.leaf();
    // mod_ssl has the pass phrase of an encrypted key, or asks for it.
    if let Some(private) = private
        && !leaf.matches_key_file(&private)
        && !PrivateKey::is_encrypted(&private)
    {
        match PrivateKey::from_pem(&private) {
            Ok(key) if leaf.matches_key(&key) => {}
            Ok(_) => {
                let text = format!(
                    "is not the key of the certificate in {}. Use the files of one certificate.",
                    cert.display()
                );
                faults.push(fault(true, true, text));
            }
            Err(e) => {
                let is_fatal = !has_block(&private, "PRIVATE KEY");
                let advice = if is_fatal { IN_PEM } else { "" };
                faults.push(fault(
                    true,
                    is_fatal,
                    format!("cannot be used: {e}. {advice}").trim_end().into(),
                ));
            }
        }
    }
    if leaf.not_after() <= now {
        let text =
            format!("has expired at {}. Put a new certificate there.", leaf.not_after().to_http_date());
        faults.push(fault(false, false, text));
    }
    let names = CertInfo::from_chain(&chain).dns_names;
    let is_covered = |domain: &&String| names.iter().any(|pattern| names::covers(pattern, domain));
    if let Some(domain) = md.domains.iter().find(|domain| !is_covered(domain)).filter(|_| !names.is_empty()) {
        let text = format!("is not for the name {domain}: clients that ask for it refuse the certificate.");
        faults.push(fault(false, false, text));
    }
    faults
}

/// What mod_ssl loads.
const IN_PEM: &str = "Put a file in PEM format there ('-----BEGIN').";

/// Whether a block of PEM of this kind begins somewhere; without one mod_ssl loads nothing.
fn has_block(content: &[u8], kind: &str) -> bool {
    String::from_utf8_lossy(content)
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.contains(&format!("{kind}-----")))
}
