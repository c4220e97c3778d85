// SPDX-License-Identifier: Apache-2.0
//! Checks what the files of the store hold: JSON, the certificates in use with their keys and chains, and sets
//! that wait in staging or went live. Reads as the module itself does, and judges by the same functions.

use super::finding::{Finding, Subject};
use crate::cli::site::Site;
use crate::crypto::{Chain, PrivateKey};
use crate::managed::bundle::{self, Bundle, Flaw, JOB_FILE, MD_FILE};
use crate::managed::fit::{self, Unfit};
use crate::managed::staging::file;
use crate::managed::{Managed, published, serve::Certs};
use crate::model::{Job, KeySpec, Md};
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;

/// Looks at the files of one domain.
pub fn look(site: &Site, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) {
    let before = out.len();
    let name = subject.name.as_str();
    for group in [Group::Domains, Group::Staging, Group::Ocsp] {
        json_files(&site.store, group, name, out);
    }
    let Some(managed) = &subject.managed else { return };
    if managed.md.has_static_files() {
        return;
    }
    let waiting = staged(&site.store, &managed.md, out);
    in_use(&site.store, managed, waiting.as_ref(), now, out);
    if let Err(flaw) = published::read_at_start(&site.store, name) {
        out.extend(of_flaw("live-damaged", &format!("staging/{name}/{}", file::LIVE), &flaw));
    }
    if out.len() == before {
        let keys = managed.md.keys().len();
        let evidence = format!("Keys, chains and settings in the store fit together ({keys} of them).");
        out.push(Finding::works("certificate", name, evidence));
    }
}

/// Accounts, which all domains share.
pub fn accounts(store: &StartStore, out: &mut Vec<Finding>) {
    let worker = store.worker();
    for name in store.names(Group::Accounts).unwrap_or_default() {
        json_files(store, Group::Accounts, &name, out);
        let subject = format!("accounts/{name}/account.pem");
        match worker.read_account_key(&name) {
            Ok(Some(_)) => out.push(Finding::works("account-key", subject, "The key can be opened.")),
            Ok(None) => {}
            Err(error) => out.push(Finding::fails(
                "account-key",
                subject,
                format!("The key of the account cannot be used: {error}."),
                "Restore the file, or md_store.json that it was encrypted with, from one backup. Otherwise remove the folder: \
                 a new account is registered.",
            )),
        }
    }
}

/// Whether each JSON file in a folder can be read.
fn json_files(store: &StartStore, group: Group, name: &str, out: &mut Vec<Finding>) {
    for file in store.files(group, name).unwrap_or_default() {
        // A set that went live is judged as a whole.
        if !file.ends_with(".json") || file == file::LIVE {
            continue;
        }
        if let Err(error) = store.read_json(group, name, &file) {
            out.push(of_error("file-damaged", format!("{}/{name}/{file}", group.dir_name()), &error));
        }
    }
}

fn of_error(check: &'static str, subject: String, error: &Error) -> Finding {
    match error {
        Error::Garbage { .. } => Finding::fails(
            check,
            subject,
            format!("{error}."),
            "Restore it from a backup, or remove it: httpd makes it again.",
        ),
        _ => Finding::cannot_be_told(
            "store-unreadable",
            subject,
            format!("{error}."),
            error.advice().unwrap_or_else(|| "Call a2md as root.".into()),
        ),
    }
}

/// The certificates in `domains`. `waiting`: those of a sound set in staging, which the next start puts there.
fn in_use(
    store: &StartStore,
    managed: &Managed,
    waiting: Option<&Certs>,
    now: Timestamp,
    out: &mut Vec<Finding>,
) {
    let md = &managed.md;
    let (certs, flaws) = bundle::look(store, &md.name, md);
    for flaw in &flaws {
        let check = if matches!(flaw, Flaw::Mismatch(_)) { "key-mismatch" } else { "certificate-damaged" };
        out.extend(of_flaw(check, &format!("domains/{}", md.name), flaw));
    }
    for spec in md.keys() {
        chain(store, md, &spec, out);
    }
    if flaws.is_empty() {
        match ahead(managed, waiting, &certs, now) {
            Some(finding) => out.push(finding),
            None => fitting(md, &certs, now, out),
        }
    }
}

/// A better set than the one in `domains`, which will take its place.
fn ahead(managed: &Managed, waiting: Option<&Certs>, certs: &Certs, now: Timestamp) -> Option<Finding> {
    let md = &managed.md;
    let fits = |certs: &Certs| certs.iter().all(|(_, cert)| fit::check(md, cert.as_ref(), now).is_ok());
    let live = managed.live.load();
    if fits(certs) {
        return None;
    }
    if let Some(live) = live.as_ref().filter(|live| fits(&live.certs)) {
        let since = live.since.to_http_date();
        let evidence = format!(
            "Its certificates are live since {since}, and the next start of httpd moves them to domains/{}.",
            md.name
        );
        return Some(Finding::works("certificate", &md.name, evidence));
    }
    let evidence = format!("New certificates wait in staging/{}.", md.name);
    let remedy = "Reload httpd (apachectl graceful), which puts them into use.".to_string();
    waiting
        .filter(|waiting| fits(waiting))
        .map(|_| Finding { remedy: Some(remedy), ..Finding::works("certificate", &md.name, evidence) })
}

/// Whether the files of one key are both there, and its chain leads from certificate to issuer.
fn chain(store: &StartStore, md: &Md, spec: &KeySpec, out: &mut Vec<Finding>) {
    let name = md.name.as_str();
    let file = spec.file_name(file::CHAIN_STEM);
    let path = format!("domains/{name}/{file}");
    // Those that cannot be read are flaws already.
    let Ok(chain) = store.read_chain(Group::Domains, name, &file) else { return };
    let key = store.read(Group::Domains, name, &spec.file_name(file::KEY_STEM));
    match (chain, key) {
        (Some(chain), Ok(Some(key))) => {
            let key = PrivateKey::from_pem(&zeroize::Zeroizing::new(key)).ok();
            let leaf = chain.leaf();
            if key.as_ref().is_some_and(|key| leaf.matches_key(key) && !leaf.is_proven_by(key)) {
                out.push(Finding::fails(
                    "key-damaged",
                    format!("domains/{name}/{}", spec.file_name(file::KEY_STEM)),
                    "What the private key signs does not fit the public key in the same file, nor the certificate: every \
                     handshake with it fails.",
                    "Restore the file from a backup, or a2md rollback, or a2md renew: a new certificate has a new key.",
                ));
            }
            out.extend(of_chain(&path, chain, key));
        }
        (Some(_), Ok(None)) => out.push(Finding::fails(
            "key-missing",
            path,
            "The certificate has no private key beside it.",
            "Restore the file privkey*.pem from a backup, or a2md renew: a new certificate has a new key.",
        )),
        (None, Ok(Some(_))) => out.push(Finding::fails(
            "certificate-missing",
            path,
            "The private key has no certificate beside it.",
            "Restore the file pubcert*.pem from a backup, or a2md renew.",
        )),
        (None, Ok(None)) | (_, Err(_)) => {}
    }
}

/// Whether each certificate is followed by its issuer.
fn of_chain(path: &str, chain: Chain, key: Option<PrivateKey>) -> Option<Finding> {
    let all = chain.certificates();
    let is_path = all.windows(2).all(|pair| match pair {
        [cert, issuer] => cert.was_issued_by(issuer),
        _ => true,
    });
    let remedy = "Let a2md renew it, or put the certificate first, followed by its issuer and so on.";
    if !is_path {
        let dropped =
            key.and_then(|key| chain.into_path(&key)).map(|(path, dropped)| (path, dropped.to_string()));
        let (check, what) = match dropped {
            Some((path, what)) if path.certificates().len() > 1 => ("chain-order", what),
            Some((_, what)) => ("chain-broken", format!("the issuer of the certificate is missing, {what}")),
            None => ("chain-broken", "no certificate in it is for the private key".into()),
        };
        return Some(Finding::fails(check, path, format!("The chain is not in order: {what}."), remedy));
    }
    let leaf = chain.leaf();
    if all.len() > 1 || leaf.is_self_issued() {
        return None;
    }
    let evidence = format!("The certificate stands alone, without its issuer {}.", leaf.issuer_name());
    // A private CA may issue by its root.
    let uri = leaf.issuer_uri()?;
    Some(Finding::fails(
        "chain-broken",
        path,
        format!("{evidence} Many clients refuse it so."),
        format!("Append the issuer's certificate, which is at {uri}, or let a2md renew it."),
    ))
}

/// Whether the certificates are for all names, and in time.
fn fitting(md: &Md, certs: &Certs, now: Timestamp, out: &mut Vec<Finding>) {
    for (spec, cert) in certs.iter() {
        let subject = md.name.as_str();
        let unfit = fit::check(md, cert.as_ref(), now).err();
        let Some(text) = unfit.as_ref().map(|unfit| format!("{}.", unfit.of(spec.label()))) else { continue };
        let end = cert.as_ref().map(|cert| cert.not_after.to_http_date()).unwrap_or_default();
        let names = cert.as_ref().map(|cert| cert.dns_names.join(", ")).unwrap_or_default();
        let renew = "A renewal mends it: a2md renew, or the next finding that says why it does not.";
        out.push(match unfit {
            Some(Unfit::Expired) => {
                Finding::fails("certificate-expired", subject, format!("{text} It ended at {end}."), renew)
            }
            Some(Unfit::Names) => Finding::fails(
                "certificate-names",
                subject,
                format!("{text} It has {names}; configured are {}.", md.domains.join(", ")),
                renew,
            ),
            Some(Unfit::Missing) => Finding::cannot_be_told(
                "certificate-missing",
                subject,
                format!("{text} None has been issued, or none was put into use."),
                "Restart httpd if it has not been since the domain was configured; then the first one is requested.",
            ),
            _ => Finding::fails("certificate-unfit", subject, text, renew),
        });
    }
    let early = certs.iter().filter_map(|(_, cert)| cert.as_ref()).find(|cert| cert.not_before > now);
    if let Some(cert) = early {
        out.push(Finding::fails(
            "certificate-early",
            &md.name,
            format!("The certificate is valid from {} on.", cert.not_before.to_http_date()),
            "Check date and time of this machine.",
        ));
    }
}

/// The certificates of a set that is finished and waits for its activation, read as a start reads it.
fn staged(store: &StartStore, md: &Md, out: &mut Vec<Finding>) -> Option<Certs> {
    let name = md.name.as_str();
    match read_staged(store, name) {
        Ok(sets) => sets.map(|sets| {
            let found = sets.into_iter().map(|set| (set.spec, set.info));
            Certs::arrange(&md.keys(), found)
        }),
        Err(flaw) => {
            out.extend(of_flaw("staged-damaged", &format!("staging/{name}"), &flaw));
            None
        }
    }
}

fn read_staged(store: &StartStore, name: &str) -> Result<Option<Vec<Bundle>>, Flaw> {
    let Some(json) = store.read_json(Group::Staging, name, JOB_FILE)? else { return Ok(None) };
    let Some(job) = Job::from_json(name, &json).filter(|job| job.finished) else { return Ok(None) };
    let md = store.read_json(Group::Staging, name, MD_FILE)?;
    let md = md.as_ref().and_then(Md::from_json).ok_or(Flaw::NoMd)?;
    let load = |spec: KeySpec| bundle::load(store, Group::Staging, name, &spec);
    let sets = md.keys().into_iter().map(load).collect::<Result<Vec<_>, _>>()?;
    match bundle::trial(store, &job, &md, &sets)? {
        Some(crate::model::Trial::Refused(reason)) => Err(Flaw::RefusedByHosts(reason)),
        _ => Ok(Some(sets)),
    }
}

/// A flaw of a set. A file that cannot be read for lack of rights says nothing.
fn of_flaw(check: &'static str, subject: &str, flaw: &Flaw) -> Option<Finding> {
    let remedy = match (check, flaw) {
        // Of the same file already.
        ("staged-damaged", Flaw::Store(Error::Garbage { path, .. })) if path.ends_with(JOB_FILE) => {
            return None;
        }
        (_, Flaw::Store(error @ Error::Io { .. })) => {
            return Some(of_error(check, subject.to_string(), error));
        }
        ("staged-damaged" | "live-damaged", Flaw::Forged(_)) => {
            "Find out who writes into the store with the rights of httpd's User; then remove the folder below staging: new \
             certificates are requested."
        }
        ("staged-damaged", flaw) if flaw.is_refusal() => crate::renew::decide::remedies::REFUSED,
        ("staged-damaged" | "live-damaged", _) => {
            "Remove the folder below staging: the certificates in use stay, and new ones are requested."
        }
        ("key-mismatch", _) => {
            "Restore key and certificate from the same backup, or a2md rollback; otherwise the next start of httpd requests \
             a new certificate."
        }
        _ => "Restore the files of this domain from a backup, or a2md rollback, or a2md renew.",
    };
    Some(Finding::fails(check, subject, format!("{flaw}."), remedy))
}
