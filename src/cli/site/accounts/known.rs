// SPDX-License-Identifier: Apache-2.0
//! The accounts that the store has at CAs: those in `accounts/`, and those that workers have registered since
//! the last start, which wait in `staging/`. Reads, changes nothing.

use crate::cli::console::call::Failure;
use crate::cli::site::{Site, of_store};
use crate::managed::Managed;
use crate::managed::staging::{Staging, file};
use crate::model::bounded::name_at;
use crate::store::{Error, Group, NEXT_ACCOUNT_KEY, StartStore};
use crate::url::Url;
use clap::ArgMatches;
use serde_json::Value;

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this folder of `accounts/`.
    Stored(String),
    /// In the staging of this MD, in this slot.
    Staged(String, usize),
}

/// An account of the store.
#[derive(Clone, Debug)]
pub struct Known {
    pub place: Place,
    pub url: String,
    pub ca_url: String,
    pub status: String,
    pub contacts: Vec<String>,
    pub eab_kid: Option<String>,
    pub json: Value,
    /// A key waits for it.
    pub has_next: bool,
}

impl Known {
    /// Of an account.json; `None` where it is none of an account.
    pub fn of(place: Place, json: Value) -> Option<Self> {
        let contacts = json.get("contact").and_then(Value::as_array).into_iter().flatten();
        let contacts = contacts.filter_map(Value::as_str).map(String::from).collect();
        Some(Known {
            place,
            url: name_at(&json, "url")?,
            ca_url: name_at(&json, "ca-url")?,
            status: name_at(&json, "status").unwrap_or_else(|| "valid".into()),
            contacts,
            eab_kid: json.get("eab").and_then(|eab| name_at(eab, "kid")),
            json,
            has_next: false,
        })
    }

    /// What it is selected by.
    pub fn id(&self) -> String {
        match &self.place {
            Place::Stored(folder) => folder.clone(),
            Place::Staged(name, slot) => {
                let file = file::ACCOUNTS.get(*slot).map_or("account.json", |(json, _)| *json);
                format!("staging/{name}/{file}")
            }
        }
    }

    pub fn host(&self) -> Option<String> {
        Url::parse(&self.ca_url).ok().map(|url| url.host().to_string())
    }

    /// The MDs that order with it: those that name it, and those without an account that would find it first
    /// among `all`.
    pub fn users(&self, all: &[Known], mds: &[Managed]) -> Vec<String> {
        let orders = |managed: &&Managed| {
            let md = &managed.md;
            let eab_kid = md.eab.as_ref().map(|eab| &eab.kid);
            let fits = |known: &Known| {
                let asks = md.ca.urls.contains(&known.ca_url) || md.ca.url.as_ref() == Some(&known.ca_url);
                asks && known.eab_kid.as_ref() == eab_kid && known.status == "valid"
            };
            let named = |known: &&Known| matches!(&known.place, Place::Stored(folder) if Some(folder) == md.ca.account.as_ref());
            let own = all.iter().find(named);
            // An MD may order at several CAs, and has an account at each.
            match own.filter(|own| own.ca_url == self.ca_url) {
                Some(own) => own.url == self.url,
                None => {
                    fits(self)
                        && all
                            .iter()
                            .find(|known| known.ca_url == self.ca_url && fits(known))
                            .is_some_and(|first| first.url == self.url)
                }
            }
        };
        mds.iter().filter(orders).map(|managed| managed.md.name.clone()).collect()
    }
}

/// All accounts of the store: each once, stored ones first.
pub fn all(site: &Site) -> Result<Vec<Known>, Failure> {
    let store = &site.store;
    let failed = |error| of_store(&site.dir, &error);
    let mut found: Vec<Known> = Vec::new();
    for folder in store.names(Group::Accounts).map_err(failed)? {
        let json = match store.read_json(Group::Accounts, &folder, file::ACCOUNTS[0].0) {
            // The others are as good as before.
            Err(error @ Error::Garbage { .. }) => {
                crate::log!(Warn, "an account is passed over: {}", error.advised());
                continue;
            }
            read => read.map_err(failed)?,
        };
        let Some(mut known) = json.and_then(|json| Known::of(Place::Stored(folder.clone()), json)) else {
            continue;
        };
        let files = store.files(Group::Accounts, &folder).map_err(failed)?;
        known.has_next = files.iter().any(|file| file == NEXT_ACCOUNT_KEY);
        found.push(known);
    }
    found.sort_by_key(Known::id);
    for known in staged(store).map_err(failed)? {
        if found.iter().all(|other| other.url != known.url) {
            found.push(known);
        }
    }
    Ok(found)
}

/// The accounts that wait in staging, doubles too.
pub fn staged(store: &StartStore) -> Result<Vec<Known>, Error> {
    let worker = store.worker();
    let mut names = store.names(Group::Staging)?;
    names.sort();
    let of = |name: &String| {
        let accounts = Staging::new(&worker, name).accounts();
        let known = |(slot, json, _)| Known::of(Place::Staged(name.clone(), slot), json);
        accounts.into_iter().filter_map(known).collect::<Vec<_>>()
    };
    Ok(names.iter().flat_map(of).collect())
}

/// The account that `what` means: by its folder, or by the URL or host of its CA where it is the only one.
pub fn find<'k>(all: &'k [Known], what: &str) -> Result<&'k Known, Failure> {
    if let Some(known) = all.iter().find(|known| known.id() == what || known.url == what) {
        return Ok(known);
    }
    let is_of = |known: &&Known| known.ca_url == what || known.host().as_deref() == Some(what);
    let mut fitting: Vec<&Known> = all.iter().filter(is_of).collect();
    // One that is not valid any more is meant where it is named.
    if fitting.len() > 1 {
        fitting.retain(|known| known.status == "valid");
    }
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Err(Failure::new(format!("there is no account {what} in the store"))
            .status(2)
            .advice("a2md account list shows them all.")),
        several => {
            let ids: Vec<String> = several.iter().map(|known| known.id()).collect();
            Err(Failure::new(format!("there are {} accounts at {what}", several.len()))
                .advice(format!("Name one of them: {}.", ids.join(", "))))
        }
    }
}

pub fn argument<'m>(matches: &'m ArgMatches, id: &str) -> &'m str {
    matches.get_one::<String>(id).map_or("", String::as_str)
}

/// An MD that orders with the account, whose way to the CA is taken; or one of the same CA.
pub fn user<'m>(known: &Known, all: &[Known], mds: &'m [Managed]) -> Option<&'m Managed> {
    let users = known.users(all, mds);
    let orders_there = |managed: &&Managed| managed.md.ca.urls.contains(&known.ca_url);
    let user = mds.iter().find(|managed| users.contains(&managed.md.name));
    user.or_else(|| mds.iter().find(orders_there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::md;
    use serde_json::json;

    fn known(folder: &str, number: u8) -> Known {
        let json = json!({"url": format!("https://ca.test/acct/{number}"), "ca-url": "https://ca.test/dir",
            "status": "valid", "contact": ["mailto:a@a.test"]});
        Known::of(Place::Stored(folder.into()), json).unwrap()
    }

    #[test]
    fn an_account_is_found_by_folder_or_by_a_ca_that_has_no_other() {
        let two = [known("ACME-ca.test-0000", 1), known("ACME-ca.test-0001", 2)];
        assert_eq!(find(&two, "ACME-ca.test-0001").unwrap().url, "https://ca.test/acct/2");
        assert!(find(&two, "ca.test").unwrap_err().advice.unwrap().contains("ACME-ca.test-0001"));
        for what in ["ca.test", "https://ca.test/dir", "https://ca.test/acct/1"] {
            assert_eq!(find(&two[..1], what).unwrap().id(), "ACME-ca.test-0000");
        }
        assert_eq!(find(&two, "other.test").unwrap_err().status, 2);
        let gone = Known { status: "deactivated".into(), ..known("ACME-ca.test-0002", 3) };
        assert_eq!(
            find(&[gone, known("ACME-ca.test-0003", 4)], "ca.test").unwrap().id(),
            "ACME-ca.test-0003"
        );
    }

    #[test]
    fn domains_use_the_account_they_name_or_the_first_of_their_ca() {
        let all = [known("ACME-ca.test-0000", 1), known("ACME-ca.test-0001", 2)];
        let managed = |name: &str, account: Option<&str>| {
            let mut md = md(&[name]);
            md.ca.urls = vec!["https://ca.test/dir".into()];
            md.ca.account = account.map(String::from);
            Managed { md, ..Managed::default() }
        };
        let mds = [
            managed("a.test", None),
            managed("b.test", Some("ACME-ca.test-0001")),
            managed("c.test", Some("x")),
        ];
        assert_eq!(all[0].users(&all, &mds), ["a.test", "c.test"]);
        assert_eq!(all[1].users(&all, &mds), ["b.test"]);
    }
}
