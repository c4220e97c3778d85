// SPDX-License-Identifier: Apache-2.0
//! Changes of an account: at the CA first, then in the store; a key that a renewal is to give it, in the store alone.
//! An account that waits in staging comes to `accounts/` for that, as at a start.

use crate::cli::authority::{connect, of_authority};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::confirm::confirm;
use crate::cli::site::accounts::keys;
use crate::cli::site::accounts::keys::{Opened, failure, kind_of, spelled};
use crate::cli::site::accounts::known;
use crate::cli::site::accounts::known::{Known, Place, argument, user};
use crate::cli::site::lock::lock;
use crate::cli::site::{Site, of_store};
use crate::crypto::PrivateKey;
use crate::managed::Managed;
use crate::managed::staging::{Staging, file};
use crate::model::KeySpec;
use crate::model::key_spec::ACCOUNT_KEY_DEFAULT;
use crate::startup::accounts::Accounts;
use crate::store::{ACCOUNT_KEY, AccountLock, Group, StoreLock};
use clap::ArgMatches;
use serde_json::json;

/// An account that is about to be changed.
struct Target {
    folder: String,
    known: Known,
    /// The MDs that order with it.
    users: Vec<String>,
    opened: Opened,
    _keys: Option<AccountLock>,
}

pub fn contacts(call: &mut Call, site: &Site, matches: &ArgMatches) -> Outcome {
    let emails = matches.get_many::<String>("email").into_iter().flatten();
    let contacts: Vec<String> = emails.map(|email| contact(email)).collect::<Result<_, _>>()?;
    let _lock = lock(site)?;
    let mds = site.mds()?;
    let target = open(call, site, argument(matches, "id"), &mds)?;
    call.step(&format!("Asking {} to change the contacts of {}", target.known.ca_url, target.known.url));
    let registration = target.opened.session.update_contacts(&contacts);
    let registration = registration.map_err(|error| of_authority(&target.known.ca_url, &error))?;
    save(site, &target, &[("contact", json!(contacts))])?;
    let overridden: Vec<&str> = mds
        .iter()
        .filter(|managed| target.users.contains(&managed.md.name))
        .filter(|managed| !managed.md.contacts.is_empty() && !same(&managed.md.contacts, &contacts))
        .map(|managed| managed.md.name.as_str())
        .collect();
    let advice = (!overridden.is_empty()).then(|| {
        format!(
            "The configuration of {} has other contacts (MDContactEmail, ServerAdmin): its next renewal sets these \
             again. Change the configuration too.",
            overridden.join(", ")
        )
    });
    let at_ca = registration.object.get("contact").cloned().unwrap_or_default();
    end(call, &target, json!({"contacts": contacts, "contacts-at-ca": at_ca, "advice": advice}))?;
    if !call.options.json {
        advice.iter().for_each(|advice| call.say(advice));
        call.say(&format!("{} has these contacts now: {}", target.folder, contacts.join(", ")));
    }
    Ok(0)
}

pub fn rollover(call: &mut Call, site: &Site, matches: &ArgMatches) -> Outcome {
    let wanted = matches.get_one::<String>("type").map(|text| kind(text)).transpose()?;
    let id = argument(matches, "id");
    let (is_cancel, is_at_renewal) = (matches.get_flag("cancel"), matches.get_flag("at-renewal"));
    if !is_cancel && !is_at_renewal && site.is_in_fleet() {
        let kind = wanted.as_ref().map(|wanted| format!(" --type {}", spelled(wanted))).unwrap_or_default();
        let text = "other nodes of the fleet would find the former key refused, and register another account";
        return Err(Failure::new(text).advice(format!(
            "Have a renewal of this node do it, which tells them: a2md account rollover {id} --at-renewal{kind}; then \
             a2md renew NAME --force, for one of the account's domains."
        )));
    }
    let (_lock, mds, found) = locked(call, site, id)?;
    if is_cancel {
        return cancel(call, site, found, &mds);
    }
    if is_at_renewal {
        return leave(call, site, found, &mds, wanted);
    }
    let target = found.open(call, site, &mds)?;
    let waiting = keys::waiting(&site.store, &target.folder).map_err(|error| of_store(&site.dir, &error))?;
    let fits = |key: &PrivateKey| {
        wanted.as_ref().is_none_or(|wanted| key.spec().is_some_and(|spec| spec.is_as(wanted)))
    };
    let new = match waiting.filter(fits) {
        Some(waiting) => waiting,
        None => generate(call, &target.known, wanted, target.opened.session.key())?,
    };
    call.step(&format!("Asking {} to change the key", target.known.ca_url));
    keys::roll_over(&site.store, &target.folder, &target.opened, &new)
        .map_err(|error| failure(site, &target.known.ca_url, &error))?;
    end(call, &target, json!({"key": kind_of(&new)}))?;
    if !call.options.json {
        warn_of_going_back(call, &new);
        call.say(&format!(
            "{} has a new key ({}). Its URL is the same, and renewals take the new key by themselves.",
            target.folder,
            kind_of(&new)
        ));
    }
    Ok(0)
}

/// Leaves a key that the next renewal is to give to the account. The CA is asked only where one waits already.
fn leave(
    call: &mut Call,
    site: &Site,
    mut found: Found,
    mds: &[Managed],
    wanted: Option<KeySpec>,
) -> Outcome {
    let failed = |error| of_store(&site.dir, &error);
    if found.known.status != "valid" {
        return Err(Failure::new(format!("{} is {} and gets no key", found.folder, found.known.status)));
    }
    if found.known.has_next {
        let target = found.open(call, site, mds)?;
        found = Found { folder: target.folder, known: target.known, users: target.users, keys: target._keys };
    }
    let Found { folder, users, .. } = &found;
    let present = site.store.read_key(Group::Accounts, folder, ACCOUNT_KEY).map_err(failed)?;
    let present = present.ok_or_else(|| Failure::new(format!("there is no key in accounts/{folder}")))?;
    let next = generate(call, &found.known, wanted, &present)?;
    keys::leave(&site.store, folder, &next).map_err(failed)?;
    let result = json!({"key": kind_of(&present), "next-key": kind_of(&next)});
    end_of(call, folder, &found.known, users, result)?;
    if !call.options.json {
        warn_of_going_back(call, &next);
        let who = match users.as_slice() {
            [] => "No domain orders with it now: the first renewal that does".to_string(),
            users => format!("The next renewal of {}", one_of(users)),
        };
        call.say(&format!(
            "A key ({}) waits for {folder}. {who} has the CA change the key, and goes on with it. Until then the \
             present one ({}) is valid; a2md account list says how far it is. To take it back: a2md account rollover \
             {folder} --cancel.",
            kind_of(&next),
            kind_of(&present)
        ));
    }
    Ok(0)
}

/// Takes back a key that waits.
fn cancel(call: &mut Call, site: &Site, found: Found, mds: &[Managed]) -> Outcome {
    if !found.known.has_next {
        let text = format!("no other key waits for {}", found.folder);
        return Err(Failure::new(text).advice("a2md account list shows the keys of all accounts."));
    }
    let ca_url = found.known.ca_url.clone();
    call.step(&format!("Asking {ca_url} which key is valid"));
    let server = connect(call, &ca_url, user(&found.known, &known::all(site)?, mds))?;
    let refusal = match keys::open(&site.store, &found.folder, &found.known.url, &server) {
        Ok(opened) => return take_back(call, site, found.opened(site, opened)?),
        Err(error) => error,
    };
    if !matches!(refusal, keys::Error::Unknown(_)) {
        return Err(failure(site, &ca_url, &refusal));
    }
    // Another node of a fleet was first, or another copy of the store.
    let Found { folder, known, users, .. } = &found;
    keys::take_back(&site.store, folder).map_err(|error| of_store(&site.dir, &error))?;
    end_of(call, folder, known, users, json!({"key": null, "next-key": null}))?;
    if !call.options.json {
        call.say(&format!(
            "The key that waited for {folder} is removed. The CA takes the key beside it neither ({refusal}): the account \
             has one that is not in accounts/, or has ended."
        ));
    }
    Ok(0)
}

fn take_back(call: &mut Call, site: &Site, target: Target) -> Outcome {
    let key = kind_of(target.opened.session.key());
    if target.opened.is_next {
        let text = format!("{} has its new key ({key}) already, which is in its place now", target.folder);
        return Err(Failure::new(text).advice(format!(
            "To give it another one: a2md account rollover {} --type TYPE.",
            target.folder
        )));
    }
    keys::take_back(&site.store, &target.folder).map_err(|error| of_store(&site.dir, &error))?;
    end(call, &target, json!({"key": key, "next-key": null}))?;
    if !call.options.json {
        call.say(&format!("{} keeps its key ({key}): the one that waited is removed.", target.folder));
    }
    Ok(0)
}

fn generate(
    call: &Call,
    known: &Known,
    wanted: Option<KeySpec>,
    present: &PrivateKey,
) -> Result<PrivateKey, Failure> {
    let spec = wanted.unwrap_or_else(|| present.spec().unwrap_or(ACCOUNT_KEY_DEFAULT));
    call.step(&format!("Making a new key for {}", known.url));
    PrivateKey::generate(&spec).map_err(|error| Failure::new(error.to_string()))
}

fn warn_of_going_back(call: &mut Call, key: &PrivateKey) {
    if !key.is_rsa() {
        call.say("mod_md 2.x orders with RSA account keys alone: roll over to one before you go back to it.");
    }
}

fn one_of(users: &[String]) -> String {
    const NAMED: usize = 3;
    match users {
        [only] => only.clone(),
        users if users.len() <= NAMED => format!("one of {}", users.join(", ")),
        users => format!("one of {} domains", users.len()),
    }
}

pub fn deactivate(call: &mut Call, site: &Site, matches: &ArgMatches) -> Outcome {
    let mds = site.mds()?;
    let id = argument(matches, "id");
    {
        let all = known::all(site)?;
        let known = known::find(&all, id)?;
        let users = known.users(&all, &mds);
        let effect = match users.as_slice() {
            [] => "No domain orders with it.".to_string(),
            users => format!(
                "{} order with it: their certificates stay valid, and their next renewal registers a new account, \
                 which CAA records with accounturi and authorizations of the old one do not cover.",
                users.join(", ")
            ),
        };
        let what = format!("The account {} at {} ends for good. {effect}", known.url, known.ca_url);
        confirm(call, matches, &what)?;
    }
    let _lock = lock(site)?;
    let target = open(call, site, id, &mds)?;
    call.step(&format!("Asking {} to deactivate {}", target.known.ca_url, target.known.url));
    let registration = target.opened.session.deactivate();
    let registration = registration.map_err(|error| of_authority(&target.known.ca_url, &error))?;
    save(site, &target, &[("status", json!("deactivated"))])?;
    end(call, &target, json!({"status": "deactivated", "status-at-ca": registration.status}))?;
    if !call.options.json {
        call.say(&format!("{} is deactivated, at the CA and here.", target.folder));
    }
    Ok(0)
}

/// An account in `accounts/`.
struct Found {
    folder: String,
    known: Known,
    users: Vec<String>,
    /// Nobody else changes its keys.
    keys: Option<AccountLock>,
}

/// Finds an account, and has it in `accounts/`.
fn find(site: &Site, id: &str, mds: &[Managed]) -> Result<Found, Failure> {
    let all = known::all(site)?;
    let known = known::find(&all, id)?.clone();
    let users = known.users(&all, mds);
    let folder = match &known.place {
        Place::Stored(folder) => folder.clone(),
        Place::Staged(name, _) => adopt(site, name, &known)?,
    };
    Ok(Found { folder, known, users, keys: None })
}

/// Finds an account for its keys to be changed: other commands need no lock of them. Whoever holds that is waited for
/// without the lock of the store, which starts of httpd need.
fn locked(
    call: &mut Call,
    site: &Site,
    id: &str,
) -> Result<(Option<StoreLock>, Vec<Managed>, Found), Failure> {
    let mut waited = false;
    loop {
        let lock = lock(site)?;
        let mds = site.mds()?;
        let found = find(site, id, &mds)?;
        let (folder, ca_url) = (found.folder.clone(), found.known.ca_url.clone());
        match keys::lock(&site.store, &folder) {
            Ok(keys) => return Ok((lock, mds, found.locked(site, keys)?)),
            Err(keys::Error::Busy) if !waited => {
                drop(lock);
                call.step("Waiting for the process that is changing the keys of the account");
                waited = true;
                keys::await_others(&site.store, &folder).map_err(|error| failure(site, &ca_url, &error))?;
            }
            Err(error) => return Err(failure(site, &ca_url, &error)),
        }
    }
}

impl Found {
    /// The same, under the lock of its keys.
    fn locked(mut self, site: &Site, keys: AccountLock) -> Result<Found, Failure> {
        self.keys = Some(keys);
        // It may have been put in its place since it was listed.
        let waiting = keys::waiting(&site.store, &self.folder);
        self.known.has_next = waiting.map_err(|error| of_store(&site.dir, &error))?.is_some();
        Ok(self)
    }

    /// Opens it at its CA.
    fn open(self, call: &mut Call, site: &Site, mds: &[Managed]) -> Result<Target, Failure> {
        let Found { folder, known, users, keys } = self;
        let server = connect(call, &known.ca_url, user(&known, &known::all(site)?, mds))?;
        let opened = keys::open(&site.store, &folder, &known.url, &server)
            .map_err(|error| failure(site, &known.ca_url, &error))?;
        Found { folder, known, users, keys }.opened(site, opened)
    }

    /// The same, as its CA knows it.
    fn opened(self, site: &Site, opened: Opened) -> Result<Target, Failure> {
        let Found { folder, known, users, keys } = self;
        if keys.is_some() {
            keys::settle(&site.store, &folder, &opened).map_err(|error| of_store(&site.dir, &error))?;
        }
        Ok(Target { folder, known, users, opened, _keys: keys })
    }
}

fn open(call: &mut Call, site: &Site, id: &str, mds: &[Managed]) -> Result<Target, Failure> {
    find(site, id, mds)?.open(call, site, mds)
}

/// Takes an account from staging to `accounts/`, and returns its folder there.
fn adopt(site: &Site, name: &str, known: &Known) -> Result<String, Failure> {
    let failed = |error| of_store(&site.dir, &error);
    let mut accounts = Accounts::read(&site.store).map_err(failed)?;
    let adopted = accounts.adopt(&site.store, name, &|_, _| false).map_err(failed)?;
    let folders = adopted.into_iter().filter(|(ca, _)| *ca == known.ca_url).map(|(_, folder)| folder);
    for folder in folders {
        let json = site.store.read_json(Group::Accounts, &folder, file::ACCOUNTS[0].0).map_err(failed)?;
        if json.is_some_and(|json| json.get("url").and_then(|url| url.as_str()) == Some(&known.url)) {
            return Ok(folder);
        }
    }
    Err(Failure::new(format!("the account {} in the staging of {name} cannot be used", known.url)))
}

/// Notes changes in account.json, and in the copies of the account in staging: the next start would take over
/// what these say.
fn save(site: &Site, target: &Target, changes: &[(&str, serde_json::Value)]) -> Result<(), Failure> {
    let failed = |error| of_store(&site.dir, &error);
    let store = &site.store;
    let changed = |mut json: serde_json::Value| {
        if let Some(fields) = json.as_object_mut() {
            changes.iter().for_each(|(key, value)| drop(fields.insert((*key).to_string(), value.clone())));
        }
        json
    };
    let file = file::ACCOUNTS[0].0;
    let json = store.read_json(Group::Accounts, &target.folder, file).map_err(failed)?;
    let json = changed(json.unwrap_or_else(|| target.known.json.clone()));
    store.write_json(Group::Accounts, &target.folder, file, &json).map_err(failed)?;
    let worker = store.worker();
    for copy in known::staged(store).map_err(failed)?.into_iter().filter(|copy| copy.url == target.known.url)
    {
        let Place::Staged(name, slot) = &copy.place else { continue };
        let staging = Staging::new(&worker, name);
        // What is signed is what was checked: it may be another one since it was listed.
        let url = &target.known.url;
        let is_it = |(at, json, _): &(usize, serde_json::Value, PrivateKey)| {
            at == slot && json.get("url").and_then(serde_json::Value::as_str) == Some(url)
        };
        if let Some((_, json, key)) = staging.accounts().into_iter().find(is_it) {
            staging.save_account(*slot, &changed(json), &key).map_err(failed)?;
        }
    }
    Ok(())
}

fn end(call: &mut Call, target: &Target, result: serde_json::Value) -> Result<(), Failure> {
    end_of(call, &target.folder, &target.known, &target.users, result)
}

fn end_of(
    call: &mut Call,
    folder: &str,
    known: &Known,
    users: &[String],
    result: serde_json::Value,
) -> Result<(), Failure> {
    if !call.options.json {
        return Ok(());
    }
    let mut document =
        json!({"schema": 1, "id": folder, "ca": known.ca_url, "url": known.url, "domains": users});
    for (key, value) in result.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    call.print_document(&document)
}

/// A contact URL of what the user wrote.
fn contact(text: &str) -> Result<String, Failure> {
    let url = if text.contains(':') { text.to_string() } else { format!("mailto:{text}") };
    let address = url.strip_prefix("mailto:").unwrap_or("a@b");
    let is_address = address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    match is_address && !url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Ok(url),
        false => Err(Failure::new(format!("{text} is no mail address")).status(22)),
    }
}

fn same(one: &[String], other: &[String]) -> bool {
    let sorted = |list: &[String]| list.iter().cloned().collect::<std::collections::BTreeSet<_>>();
    sorted(one) == sorted(other)
}

fn kind(text: &str) -> Result<KeySpec, Failure> {
    KeySpec::of_account(text).ok_or_else(|| {
        Failure::new(format!("{text} is no type of account key"))
            .status(22)
            .advice("There are RSA-2048 to RSA-8192, P-256, P-384 and P-521.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_urls_and_plain_addresses_are_made_ones() {
        assert_eq!(contact("a@b.test").unwrap(), "mailto:a@b.test");
        assert_eq!(contact("tel:123").unwrap(), "tel:123");
        for text in ["", "a", "@b.test", "a@", "mailto:x", "a b@c.test", "a@b\u{1b}.test"] {
            assert!(contact(text).is_err(), "{text}");
        }
    }
}
