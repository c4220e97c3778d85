// SPDX-License-Identifier: Apache-2.0
//! Changes of an account: at the CA first, then in the store. An account that waits in staging comes to
//! `accounts/` for that, as at a start.

use crate::cli::authority::{connect, of_authority};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::confirm::confirm;
use crate::cli::site::accounts::keys;
use crate::cli::site::accounts::keys::{Opened, failure, kind_of};
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
use crate::store::Group;
use clap::ArgMatches;
use serde_json::json;

/// An account that is about to be changed.
struct Target {
    folder: String,
    known: Known,
    /// The MDs that order with it.
    users: Vec<String>,
    opened: Opened,
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
    let _lock = lock(site)?;
    let mds = site.mds()?;
    let target = open(call, site, argument(matches, "id"), &mds)?;
    let spec = wanted.unwrap_or_else(|| target.opened.session.key().spec().unwrap_or(ACCOUNT_KEY_DEFAULT));
    call.step(&format!("Making a new key for {}", target.known.url));
    let new = PrivateKey::generate(&spec).map_err(|error| Failure::new(error.to_string()))?;
    call.step(&format!("Asking {} to change the key", target.known.ca_url));
    keys::roll_over(&site.store, &target.folder, &target.opened, &new)
        .map_err(|error| failure(site, &target.known.ca_url, &error))?;
    end(call, &target, json!({"key": kind_of(&new)}))?;
    if !call.options.json {
        if !new.is_rsa() {
            call.say(
                "mod_md 2.x orders with RSA account keys alone: roll over to one before you go back to it.",
            );
        }
        call.say(&format!(
            "{} has a new key ({}). Its URL is the same, and renewals take the new key by themselves.",
            target.folder,
            kind_of(&new)
        ));
    }
    Ok(0)
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

/// Finds an account, has it in `accounts/`, and opens it at its CA.
fn open(call: &mut Call, site: &Site, id: &str, mds: &[Managed]) -> Result<Target, Failure> {
    let all = known::all(site)?;
    let known = known::find(&all, id)?.clone();
    let users = known.users(&all, mds);
    let folder = match &known.place {
        Place::Stored(folder) => folder.clone(),
        Place::Staged(name, _) => adopt(site, name, &known)?,
    };
    let server = connect(call, &known.ca_url, user(&known, &all, mds))?;
    let opened = keys::open(&site.store, &folder, &known.url, &server)
        .map_err(|error| failure(site, &known.ca_url, &error))?;
    keys::settle(&site.store, &folder, &opened).map_err(|error| of_store(&site.dir, &error))?;
    Ok(Target { folder, known, users, opened })
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
        if let (Some(json), Some(key)) = staging.account(*slot).map_err(failed)? {
            staging.save_account(*slot, &changed(json), &key).map_err(failed)?;
        }
    }
    Ok(())
}

fn end(call: &mut Call, target: &Target, result: serde_json::Value) -> Result<(), Failure> {
    if !call.options.json {
        return Ok(());
    }
    let mut document = json!({"schema": 1, "id": target.folder, "ca": target.known.ca_url,
        "url": target.known.url, "domains": target.users});
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
