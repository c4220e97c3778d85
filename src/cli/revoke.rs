// SPDX-License-Identifier: Apache-2.0
//! `a2md revoke`: revokes certificates of a managed domain at their CA (RFC 8555 §7.6). Noted as withdrawn
//! first: from then on the renewing child replaces them, whoever dies in between. A CA that refuses leaves
//! nothing noted.

use super::authority::{connect, of_authority};
use super::console::call::{Call, Failure, Outcome};
use super::console::confirm;
use super::console::confirm::confirm;
use super::console::terminal::Style;
use super::follow_up;
use super::site::accounts::keys;
use super::site::accounts::known;
use super::site::accounts::known::{Known, Place as Kept};
use super::site::lock::lock;
use super::site::sets;
use super::site::sets::Set;
use super::site::{Site, of_store};
use crate::acme::problem::Kind;
use crate::acme::{self, Reason, Server};
use crate::managed::Managed;
use crate::managed::bundle::Bundle;
use crate::managed::withdrawn::{self, Entry, Why, Withdrawn};
use crate::model::request::{Op, Renew};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::sync::Arc;

const REASONS: [(Reason, &str); 5] = [
    (Reason::Unspecified, "unspecified"),
    (Reason::KeyCompromise, "keyCompromise"),
    (Reason::AffiliationChanged, "affiliationChanged"),
    (Reason::Superseded, "superseded"),
    (Reason::CessationOfOperation, "cessationOfOperation"),
];

pub fn define() -> Command {
    Command::new("revoke")
        .about("Revoke the certificates of a managed domain, and renew them with a new key")
        .arg(Arg::new("name").value_name("NAME").required(true).help("A managed domain, or a name it covers"))
        .arg(
            Arg::new("reason")
                .long("reason")
                .value_name("R")
                .help("unspecified (0), keyCompromise (1), affiliationChanged (3), superseded (4), cessationOfOperation (5)"),
        )
        .arg(Arg::new("key").long("key").value_name("TYPE").help("Only the certificate of this key: RSA, P-256 …"))
        .arg(
            Arg::new("archived")
                .long("archived")
                .value_name("N")
                .value_parser(clap::value_parser!(u32))
                .help("The archived set of this number (see rollback) in place of the one in use"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("Serve it until OCSP says that it is revoked, or until the next renewal"),
        )
        .arg(confirm::option())
}

/// The result for one certificate.
struct Revoked {
    /// At the CA before.
    is_old: bool,
    by: &'static str,
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let reason = matches.get_one::<String>("reason").map(|text| reason_of(text)).transpose()?;
    let site = Site::open(call)?;
    let name = matches.get_one::<String>("name").cloned().unwrap_or_default();
    let managed = follow_up::one(call, &site, &name)?;
    let name = managed.md.name.clone();
    let archived = matches.get_one::<u32>("archived").copied();
    let set = chosen(&site, &name, archived, matches)?;
    let why = match (archived, matches.get_flag("keep")) {
        (None, true) => Why::Kept,
        _ => Why::Revoked,
    };
    confirm(call, matches, &question(&name, &set, archived, why))?;

    let now = call.clock.now();
    let failed = |error| of_store(&site.dir, &error);
    // Not held while the CA is asked: a start may come.
    let locked = lock(&site)?;
    let former = withdrawn::read(&site.store, &name, now);
    let is_key_known = reason == Some(Reason::KeyCompromise);
    withdrawn::change(&site.store, &name, now, |withdrawn| {
        for bundle in &set.bundles {
            withdrawn.add(Entry::new(bundle.chain.leaf(), why, is_key_known, now));
        }
    })
    .map_err(failed)?;
    drop(locked);
    let results = revoke_all(call, &site, &managed, &set, reason);
    let revoked = |(bundle, result): (&Bundle, &Result<Revoked, Failure>)| {
        result.is_ok().then(|| Entry::new(bundle.chain.leaf(), why, is_key_known, now))
    };
    let entries: Vec<Entry> = set.bundles.iter().zip(&results).filter_map(revoked).collect();
    if entries.len() < results.len() {
        take_back(&site, &name, former, &entries, now)?;
    }
    let renewal = match (entries.is_empty(), archived, why) {
        (false, None, Why::Revoked) => {
            let renew = Renew { force: true, new_key: true, ..Renew::default() };
            Some(follow_up::ask(call, &site, &name, Op::Renew(renew)))
        }
        _ => None,
    };
    report(call, &name, &set, &results, renewal)
}

fn question(name: &str, set: &Set, archived: Option<u32>, why: Why) -> String {
    let serials: Vec<&str> = set.bundles.iter().map(|bundle| bundle.info.serial.as_str()).collect();
    let then = match (archived, why) {
        (Some(_), _) => "It is in the archive, and not in use.",
        (None, Why::Kept) => "It stays in use until OCSP says that it is revoked, or until the next renewal.",
        (None, _) => "It is renewed with a new key.",
    };
    format!("md[{name}]: its certificate {} is revoked for good. {then}", serials.join(", "))
}

/// Has only those noted that are revoked.
fn take_back(
    site: &Site,
    name: &str,
    former: Withdrawn,
    entries: &[Entry],
    now: crate::time::Timestamp,
) -> Result<(), Failure> {
    let _locked = lock(site)?;
    let mut noted = former;
    entries.iter().cloned().for_each(|entry| noted.add(entry));
    withdrawn::restore(&site.store, name, &noted, now).map_err(|error| of_store(&site.dir, &error))
}

/// The certificates that the call means.
fn chosen(site: &Site, name: &str, archived: Option<u32>, matches: &ArgMatches) -> Result<Set, Failure> {
    let set = match archived {
        Some(number) => {
            sets::archived(site, name)?.into_iter().find(|set| set.place == sets::Place::Archive(number))
        }
        None => sets::in_use(site, name)?,
    };
    let mut set = set.ok_or_else(|| match archived {
        Some(number) => Failure::new(format!("md[{name}] has no archived set {number}"))
            .status(2)
            .advice(format!("a2md rollback {name} lists them.")),
        None => Failure::new(format!("md[{name}] has no certificate")).status(2),
    })?;
    if let Some(flaw) = set.flaws.first() {
        return Err(Failure::new(format!("md[{name}]: {flaw}")));
    }
    if let Some(key) = matches.get_one::<String>("key") {
        let wanted = crate::model::KeySpec::Ec(key.clone());
        let is_it = |bundle: &Bundle| match key.eq_ignore_ascii_case("rsa") {
            true => bundle.key.is_rsa(),
            false => bundle.spec.curve_name() == wanted.curve_name(),
        };
        set.bundles.retain(is_it);
        if set.bundles.is_empty() {
            return Err(Failure::new(format!("md[{name}] has no certificate for a key {key}")).status(2));
        }
    }
    Ok(set)
}

fn revoke_all(
    call: &mut Call,
    site: &Site,
    managed: &Managed,
    set: &Set,
    reason: Option<Reason>,
) -> Vec<Result<Revoked, Failure>> {
    let opened = open(call, site, managed, set);
    let revoke = |bundle: &Bundle| {
        let (server, url, accounts) = opened.as_ref().map_err(Clone::clone)?;
        call.step(&format!("Asking {url} to revoke {}", bundle.info.serial));
        revoke_one(site, server, url, accounts, bundle, reason)
    };
    set.bundles.iter().map(revoke).collect()
}

/// The CA that issued a set, and the accounts there, those of the domain first.
fn open(
    call: &Call,
    site: &Site,
    managed: &Managed,
    set: &Set,
) -> Result<(Arc<Server>, String, Vec<Known>), Failure> {
    let issued_by = set.md.as_ref().and_then(|md| md.ca.url.clone());
    let url = call.options.acme.clone().or(issued_by).or_else(|| managed.md.ca.url.clone());
    let url = url.or_else(|| managed.md.ca.urls.first().cloned());
    let url = url.ok_or_else(|| {
        Failure::new(format!("md[{}]: it is not known which CA issued its certificate", managed.md.name))
            .advice("Name its directory before the command: a2md -a URL revoke …")
    })?;
    let all = known::all(site)?;
    let own = std::slice::from_ref(managed);
    let mut accounts: Vec<Known> = all.iter().filter(|known| known.ca_url == url).cloned().collect();
    accounts.sort_by_key(|known| known.users(&all, own).is_empty());
    Ok((connect(call, &url, Some(managed))?, url, accounts))
}

/// Revokes a certificate by the first account that may, else by its own key.
fn revoke_one(
    site: &Site,
    server: &Arc<Server>,
    url: &str,
    accounts: &[Known],
    bundle: &Bundle,
    reason: Option<Reason>,
) -> Result<Revoked, Failure> {
    let der = bundle.chain.leaf().der();
    let is_done = |error: &acme::Error| error.kind() == Some(Kind::AlreadyRevoked);
    for known in accounts.iter().filter(|known| known.status == "valid") {
        let session = match &known.place {
            Kept::Stored(folder) => {
                keys::open(&site.store, folder, &known.url, server).map(|opened| opened.session)
            }
            Kept::Staged(name, slot) => {
                keys::open_staged(&site.store, name, *slot, &known.url, server).map(|(_, session)| session)
            }
        };
        let Ok(session) = session else { continue };
        match session.revoke(der, reason) {
            Ok(()) => return Ok(Revoked { is_old: false, by: "account" }),
            Err(error) if is_done(&error) => return Ok(Revoked { is_old: true, by: "account" }),
            Err(acme::Error::Problem { .. }) => {}
            Err(error) => return Err(of_authority(url, &error)),
        }
    }
    match server.revoke(der, &bundle.key, reason) {
        Ok(()) => Ok(Revoked { is_old: false, by: "certificate key" }),
        Err(error) if is_done(&error) => Ok(Revoked { is_old: true, by: "certificate key" }),
        Err(error) => Err(of_authority(url, &error)),
    }
}

fn report(
    call: &mut Call,
    name: &str,
    set: &Set,
    results: &[Result<Revoked, Failure>],
    renewal: Option<follow_up::Asked>,
) -> Outcome {
    let code = u8::from(
        results.iter().any(Result::is_err) || renewal.as_ref().is_some_and(|asked| asked.has_failed),
    );
    if call.options.json {
        let entry = |(bundle, result): (&Bundle, &Result<Revoked, Failure>)| {
            let (state, by, error) = match result {
                Ok(revoked) => {
                    (if revoked.is_old { "already-revoked" } else { "revoked" }, Some(revoked.by), None)
                }
                Err(failure) => ("failed", None, Some(failure.text.clone())),
            };
            json!({"serial": bundle.info.serial, "issuer": bundle.info.issuer_name, "key": bundle.spec.label(),
                "state": state, "by": by, "error": error})
        };
        let entries: Vec<Value> = set.bundles.iter().zip(results).map(entry).collect();
        let renewal = renewal.map(|asked| asked.to_json());
        call.print_document(
            &json!({"schema": 1, "name": name, "certificates": entries, "renewal": renewal}),
        )?;
        return Ok(code);
    }
    for (bundle, result) in set.bundles.iter().zip(results) {
        let about = format!("md[{name}]: {} ({})", bundle.info.serial, bundle.spec.label());
        match result {
            Ok(Revoked { is_old: true, .. }) => call.say(&format!("{about} was revoked before.")),
            Ok(Revoked { by, .. }) => call.say(&format!("{about} is revoked, by the {by}.")),
            Err(failure) => {
                let text = format!("{about} is not revoked: {}", failure.text);
                let line = call.terminal.paint(&text, Style::Bad);
                call.write_as_it_is(format!("{line}\n").as_bytes())?;
                failure.advice.iter().for_each(|advice| call.say(&format!("  {advice}")));
            }
        }
    }
    renewal.iter().for_each(|asked| call.say(&format!("md[{name}]: {}", asked.text)));
    Ok(code)
}

/// By name (RFC 5280 §5.3.1) or number.
fn reason_of(text: &str) -> Result<Reason, Failure> {
    let is_it = |(reason, name): &(Reason, &str)| {
        name.eq_ignore_ascii_case(text) || (*reason as u8).to_string() == text
    };
    REASONS.into_iter().find(is_it).map(|(reason, _)| reason).ok_or_else(|| {
        let names: Vec<String> =
            REASONS.iter().map(|(reason, name)| format!("{name} ({})", *reason as u8)).collect();
        Failure::new(format!("{text} is no reason that a subscriber can give"))
            .status(22)
            .advice(format!("There are: {}.", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named_or_numbered_as_in_rfc_5280() {
        for (text, reason) in [
            ("keyCompromise", Reason::KeyCompromise),
            ("keycompromise", Reason::KeyCompromise),
            ("1", Reason::KeyCompromise),
            ("0", Reason::Unspecified),
            ("superseded", Reason::Superseded),
            ("5", Reason::CessationOfOperation),
        ] {
            assert_eq!(reason_of(text).unwrap(), reason, "{text}");
        }
        for text in ["2", "6", "cACompromise", "", "01"] {
            assert!(reason_of(text).unwrap_err().advice.unwrap().contains("superseded (4)"), "{text}");
        }
    }
}
