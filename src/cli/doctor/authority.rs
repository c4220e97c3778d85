// SPDX-License-Identifier: Apache-2.0
//! Asks each CA once, without an order: whether it is reached and trusted, what its clock says, and whether it
//! would take a request of the accounts in the store. What it answers is judged in [`answers`], which is pure.

mod answers;

use super::directories::Directories;
use super::finding::{Finding, Subject, split_advice};
use crate::acme::{self, Registration, Server, Session};
use crate::cli::authority::route;
use crate::cli::console::call::Call;
use crate::cli::site::Site;
use crate::crypto::PrivateKey;
use crate::http::{Request, Transport};
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::{Md, Route};
use crate::renew::decide::error::Error;
use crate::renew::decide::remedies::{self, Facts};
use crate::store::WorkStore;
use answers::{Answers, Known};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A CA, the way to it, and the domains that order there.
struct Authority<'a> {
    url: String,
    route: Route,
    users: Vec<&'a Managed>,
}

/// Asks all CAs of these domains.
pub fn look(
    call: &mut Call,
    site: &Site,
    subjects: &[Subject],
    directories: &mut Directories,
    out: &mut Vec<Finding>,
) {
    for authority in authorities(call, subjects) {
        call.step(&format!("Asking the CA {} …", authority.url));
        authority.look(call, &site.store.worker(), directories, out);
    }
}

/// Each CA and way once.
fn authorities<'a>(call: &Call, subjects: &'a [Subject]) -> Vec<Authority<'a>> {
    let mut found: BTreeMap<(String, [Option<String>; 3]), Authority<'a>> = BTreeMap::new();
    let managed = subjects.iter().filter_map(|subject| subject.managed.as_ref());
    for user in managed.filter(|managed| managed.md.left_alone().is_none()) {
        for url in &user.md.ca.urls {
            let route = route(call, Some(user));
            let Route { ca_file, proxy_url, proxy_ca_file } = route.clone();
            let authority = Authority { url: url.clone(), route, users: Vec::new() };
            let key = (url.clone(), [ca_file, proxy_url, proxy_ca_file]);
            found.entry(key).or_insert(authority).users.push(user);
        }
    }
    found.into_values().collect()
}

impl Authority<'_> {
    fn look(&self, call: &Call, store: &WorkStore, directories: &mut Directories, out: &mut Vec<Finding>) {
        let Some(first) = self.users.first() else { return };
        let answered = directories.ask(call, &self.url, first);
        out.extend(answered.times.and_then(|(theirs, ours)| answers::of_clock(&self.url, theirs, ours)));
        match &answered.server {
            Ok((server, transport)) => self.ask(server, transport.as_ref(), store, out),
            Err(error) => {
                let check = match error {
                    Error::Acme(error) => answers::check_of(error),
                    _ => "ca-route",
                };
                out.push(self.failed(check, error, &first.md));
            }
        }
    }

    /// What the directory says, a nonce, and the accounts.
    fn ask(
        &self,
        server: &Arc<Server>,
        transport: &dyn Transport,
        store: &WorkStore,
        out: &mut Vec<Finding>,
    ) {
        let before = out.len();
        let directory = server.directory();
        let nonce = transport.send(&Request::head(&directory.new_nonce));
        out.extend(answers::of_nonce(&self.url, &directory.new_nonce, nonce));
        let accounts = self.accounts(store);
        for managed in &self.users {
            let answers = Answers { ca: &self.url, directory, md: &managed.md };
            let account = account_of(&managed.md, &accounts);
            out.extend(answers.findings(account.map(|account| &account.json)));
        }
        if out.len() == before {
            out.push(Finding::works("ca", &self.url, "It is reached and trusted, and gives nonces."));
        }
        let is_used = |account: &&Account| {
            self.users.iter().any(|managed| {
                account_of(&managed.md, &accounts).is_some_and(|used| used.place == account.place)
            })
        };
        for account in accounts.iter().filter(is_used) {
            let ask =
                |key: &PrivateKey| Session::new(server.clone(), key.clone(), account.url.clone()).account();
            let answer = match (ask(&account.key), &account.next) {
                (Err(error), Some(next)) if error.is_of_the_account() => ask(next).map_err(|_| error),
                (answer, _) => answer,
            };
            out.extend(self.of_account(account, answer));
        }
    }

    fn of_account(&self, account: &Account, answer: Result<Registration, acme::Error>) -> Option<Finding> {
        let subject = format!("{} ({})", account.url, account.place);
        let can_register = self.users.iter().any(|managed| managed.md.ca.agreement.is_some());
        match answer {
            Ok(registration) => Some(answers::of_status(&subject, &registration.status, can_register)),
            Err(error) if error.is_of_the_account() => {
                Some(answers::of_unknown(&subject, &error.to_string(), can_register))
            }
            Err(error) => {
                let check = answers::check_of(&error);
                Some(self.failed(check, &Error::Acme(Arc::new(error)), &self.users.first()?.md))
            }
        }
    }

    /// A request that failed, in the words of renewals.
    fn failed(&self, check: &'static str, error: &Error, md: &Md) -> Finding {
        let facts = Facts {
            md,
            ca: Some(&self.url),
            has_proxy: self.route.proxy_url.is_some(),
            dns01: None,
            until: None,
        };
        let (evidence, advice) = split_advice(&remedies::explain(error, &facts));
        let advice = advice.unwrap_or_else(|| format!("Try 'curl {}' on this machine.", self.url));
        Finding::fails(check, &self.url, evidence, advice)
    }

    /// Accounts at this CA that can be used, those in `accounts/` first.
    fn accounts(&self, store: &WorkStore) -> Vec<Account> {
        let stored = store.account_names().unwrap_or_default().into_iter().filter_map(|name| {
            let json = store.read_account_json(&name).ok().flatten()?;
            let next = store.read_next_account_key(&name).ok().flatten();
            Some((name.clone(), json, store.read_account_key(&name).ok().flatten()?, next))
        });
        let staged = self.users.iter().flat_map(|managed| {
            let accounts = Staging::new(store, &managed.md.name).accounts();
            let place = format!("staging/{}", managed.md.name);
            accounts.into_iter().map(move |(_, json, key)| (place.clone(), json, key, None))
        });
        let account = |(place, json, key, next): (String, Value, PrivateKey, Option<PrivateKey>)| {
            let text = |key: &str| json.get(key).and_then(Value::as_str).map(String::from);
            let url = text("url").filter(|_| text("ca-url").as_deref() == Some(self.url.as_str()))?;
            Some(Account { place, url, json, key, next })
        };
        stored.chain(staged).filter_map(account).collect()
    }
}

struct Account {
    /// Its folder.
    place: String,
    url: String,
    json: Value,
    key: PrivateKey,
    /// That the account is to have, or has already.
    next: Option<PrivateKey>,
}

/// The account that a domain orders with: the one that its md.json names, else the first that fits.
fn account_of<'a>(md: &Md, accounts: &'a [Account]) -> Option<&'a Account> {
    let kid = md.eab.as_ref().map(|eab| eab.kid.as_str());
    let fits = |account: &&Account| Known::of(&account.json).kid.as_deref() == kid;
    let own = accounts.iter().find(|account| md.ca.account.as_ref() == Some(&account.place));
    own.filter(fits)
        .or_else(|| accounts.iter().find(|account| fits(account) && Known::of(&account.json).is_valid))
}
