// SPDX-License-Identifier: Apache-2.0
//! The accounts to order with: stored ones and those that wait in staging. Confirms one at its CA, keeps its contacts
//! as configured, and registers one where there is none.

use super::ca_pool::{Authority, Open};
use super::progress::Running;
use super::sharing::Sharing;
use crate::acme::{Registration, Server, Session};
use crate::crypto::PrivateKey;
use crate::managed::Managed;
use crate::managed::staging::{REPLACES, Staging};
use crate::model::Md;
use crate::model::key_spec::ACCOUNT_KEY_DEFAULT;
use crate::renew::decide::error::Error;
use crate::store::{Error as StoreError, WorkGroup, WorkStore};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The renewal that needs a session, and where accounts are kept.
pub struct Client<'a> {
    pub authority: &'a Authority,
    pub md: &'a Md,
    /// All MDs of the server.
    pub targets: &'a [Managed],
    pub store: &'a WorkStore,
    pub(super) sharing: &'a Sharing<'a>,
}

/// The place where an account was found.
#[derive(Clone)]
pub(super) enum Place {
    /// This folder in `accounts`, which is not ours to write, and the files of its keys.
    Stored(String, [Option<Vec<u8>>; 2]),
    /// The same, with the key that the account is to have.
    Next(String, [Option<Vec<u8>>; 2]),
    /// This file of this MD.
    Staged(String, usize),
    /// The fleet has it.
    Fleet,
}

/// A known account of the client's CA and external account.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) place: Place,
    pub(super) url: String,
    pub(super) json: Value,
    pub(super) key: PrivateKey,
}

impl Known {
    pub(super) fn has_key(&self, key: &PrivateKey) -> bool {
        self.key.is_same(key)
    }
}

impl Place {
    pub(super) fn keys(&self) -> Option<(String, [Option<Vec<u8>>; 2])> {
        match self {
            Place::Stored(folder, keys) | Place::Next(folder, keys) => Some((folder.clone(), keys.clone())),
            Place::Staged(..) | Place::Fleet => None,
        }
    }
}

impl Client<'_> {
    /// Whether the key of an open session is still the one of its account, as far as the store tells.
    pub(super) fn is_as_read(&self, open: &Open) -> bool {
        let Some((folder, read)) = &open.read else {
            // An operator may have had it brought to `accounts`.
            return self.stored_keys(open.session.account_url()).is_none();
        };
        self.store.sealed_account_keys(folder).is_ok_and(|keys| keys == *read)
    }

    /// The folder in `accounts` of the account with this URL, and the files of its keys.
    pub(super) fn stored_keys(&self, url: &str) -> Option<(String, [Option<Vec<u8>>; 2])> {
        let store = self.store;
        let is_one = |folder: &String| {
            let json = store.read_account_json(folder).ok().flatten();
            json.is_some_and(|json| json.get("url").and_then(Value::as_str) == Some(url))
        };
        let folder = store.account_names().unwrap_or_default().into_iter().find(is_one)?;
        let keys = store.sealed_account_keys(&folder).unwrap_or_default();
        Some((folder, keys))
    }

    pub(super) fn staging(&self) -> Staging<'_> {
        Staging::new(self.store, &self.md.name)
    }

    /// The URL of the account that md.json names, where it is one of this CA and external account.
    pub(super) fn own_account(&self) -> Option<String> {
        // An account that cannot be read is none.
        let json = self.store.read_account_json(self.md.ca.account.as_ref()?).ok().flatten()?;
        let url = json.get("url").and_then(Value::as_str)?;
        fits(&json, self.authority.url(), eab_kid(self.md)).then(|| url.to_string())
    }

    /// Accounts of the CA and the MD's external account: the MD's own first, then stored ones, then those
    /// that wait in staging. One that cannot be read is none; one that is being given another key is there
    /// with both.
    pub(super) fn accounts(&self) -> Vec<Known> {
        let (store, own) = (self.store, self.md.ca.account.as_ref());
        let mut names = store.account_names().unwrap_or_default();
        names.sort_by_key(|name| Some(name) != own);
        let stored = names.into_iter().flat_map(|name| self.stored(&name));
        let configured = self.targets.iter().map(|target| target.md.name.as_str());
        let staged = store.present(WorkGroup::Staging, configured).unwrap_or_default();
        // The same one each time.
        let staged: BTreeSet<String> = staged.into_iter().collect();
        let staged = staged.into_iter().flat_map(|name| {
            let accounts = Staging::new(store, &name).accounts();
            accounts.into_iter().map(move |(slot, json, key)| (Place::Staged(name.clone(), slot), json, key))
        });
        let known = |(place, json, key): (Place, Value, PrivateKey)| {
            let url = json.get("url").and_then(Value::as_str)?.to_string();
            let is_one = fits(&json, self.authority.url(), eab_kid(self.md));
            is_one.then_some(Known { place, url, json, key })
        };
        stored.chain(staged).filter_map(known).collect()
    }

    fn stored(&self, name: &str) -> Vec<(Place, Value, PrivateKey)> {
        let store = self.store;
        let Some(json) = store.read_account_json(name).ok().flatten() else { return Vec::new() };
        // Before the keys: an older mark has them read once more.
        let mark = store.sealed_account_keys(name).unwrap_or_default();
        let [_, next] = &mark;
        let next = next.is_some().then(|| store.read_next_account_key(name));
        let warn = |error| crate::log!(Warn, "md[{}]: {error}", self.md.name);
        let readable = |key: Result<_, _>| key.map_err(warn).ok().flatten();
        let stored = readable(store.read_account_key(name));
        let stored = stored.map(|key| (Place::Stored(name.to_string(), mark.clone()), json.clone(), key));
        let next = next.and_then(readable);
        let next = next.map(|key| (Place::Next(name.to_string(), mark.clone()), json.clone(), key));
        stored.into_iter().chain(next).collect()
    }

    /// Sends the CA the contacts of an account where they have changed and the configuration leaves no doubt:
    /// the account stays the one that CAA records name (RFC 8657). The CA's answer ends no renewal. Returns the
    /// account as it has become.
    pub(super) fn update_contacts(
        &self,
        account: &Known,
        accounts: &[Known],
        session: &Session,
        running: &mut Running<'_>,
    ) -> Result<Option<Value>, Error> {
        let Some(json) = self.send_contacts(account, accounts, session, running)? else { return Ok(None) };
        let copies = accounts.iter().filter(|copy| copy.url == account.url);
        let mut is_staged = false;
        for copy in copies {
            if let Place::Staged(name, slot) = &copy.place {
                let mut json = json.clone();
                if let (Value::Object(fields), Some(former)) = (&mut json, copy.json.get(REPLACES)) {
                    fields.insert(REPLACES.into(), former.clone());
                }
                Staging::new(self.store, name).save_account(*slot, &json, &copy.key)?;
                is_staged = true;
            }
        }
        if !is_staged {
            self.leave_copy(&json, session.key())?;
        }
        Ok(Some(json))
    }

    /// Leaves an account in the staging of this MD, where the next start finds what it has become. Other accounts that
    /// wait there stay; where they leave no place, a later renewal asks the CA once more.
    pub(super) fn leave_copy(&self, json: &Value, key: &PrivateKey) -> Result<(), StoreError> {
        let staging = self.staging();
        let Some(slot) = staging.copy_slot(json.get("url").and_then(Value::as_str)) else { return Ok(()) };
        // It must never stand beside a key that is not its own.
        staging.remove_account(slot)?;
        staging.save_account_key(slot, key)?;
        staging.save_account(slot, json, key)
    }

    /// The same, without saving it.
    pub(super) fn send_contacts(
        &self,
        account: &Known,
        accounts: &[Known],
        session: &Session,
        running: &mut Running<'_>,
    ) -> Result<Option<Value>, Error> {
        let users = self.targets.iter().map(|target| (&target.md, target.watched));
        let users = users.filter(|(md, watched)| self.uses(md, *watched, account, accounts));
        let Some(contacts) = agreed(users.map(|(md, _)| md.contacts.as_slice())) else { return Ok(None) };
        // Contacts that the CA was sent since the start are in staging.
        let copies = || accounts.iter().filter(|copy| copy.url == account.url);
        let staged = || copies().filter(|copy| matches!(copy.place, Place::Staged(..)));
        if same(&contacts_of(&staged().next().unwrap_or(account).json), contacts) {
            return Ok(None);
        }
        running.step(format!("Updating contacts of the ACME account for {}", self.md.name))?;
        let registration = match session.update_contacts(contacts) {
            Ok(registration) => registration,
            Err(error) => {
                crate::log!(
                    Warn,
                    "md[{}]: the CA does not accept the new contacts of {}, so the former ones stay: {error}. Check MDContactEmail.",
                    self.md.name,
                    account.url
                );
                return Ok(None);
            }
        };
        let mut json = account.json.clone();
        if let Value::Object(fields) = &mut json {
            fields.insert("contact".into(), json!(contacts));
            fields.insert("registration".into(), registration.object);
        }
        Ok(Some(json))
    }

    /// Whether an MD orders with `account`: it is its own, or it may be, where the MD has none.
    fn uses(&self, md: &Md, is_watched: bool, account: &Known, accounts: &[Known]) -> bool {
        let named = |known: &&Known| matches!(&known.place, Place::Stored(folder, _) if Some(folder) == md.ca.account.as_ref());
        match accounts.iter().find(named) {
            Some(own) => own.url == account.url,
            None => {
                is_watched
                    && eab_kid(md) == eab_kid(self.md)
                    && md.ca.urls.iter().any(|url| url == self.authority.url())
            }
        }
    }

    /// Registers a new account (RFC 8555 §7.3). Its key is on disk first: where the answer is lost, the next
    /// try gets the same account instead of a second one (§7.3.1).
    pub(super) fn register(
        &self,
        server: &Arc<Server>,
        running: &mut Running<'_>,
    ) -> Result<(Value, Session), Error> {
        let (md, url) = (self.md, self.authority.url());
        running.step(format!("Creating new ACME account for {}", md.name))?;
        let staging = self.staging();
        let slot = staging.account_slot(url);
        let wanted = md.ca.account_key.as_ref();
        // One of another type may be one that the CA has refused.
        let is_wanted =
            |key: &PrivateKey| wanted.is_none_or(|spec| key.spec().is_some_and(|of| of.is_as(spec)));
        let key = match staging.account(slot).unwrap_or_default() {
            (None, Some(key)) if is_wanted(&key) => key,
            (account, _) => {
                if account.is_some() {
                    // It must never stand beside a key that is not its own.
                    staging.remove_account(slot)?;
                }
                let spec = wanted.unwrap_or(&ACCOUNT_KEY_DEFAULT);
                let key = server.limit().generate(spec, || false)?.ok_or(Error::Stopped)?;
                staging.save_account_key(slot, &key)?;
                key
            }
        };
        let agreement = md.ca.agreement.as_deref();
        let registration =
            server.register(&key, &md.contacts, agreement, md.eab.as_ref()).map_err(Error::of_account)?;
        let json = account_json(url, md, &registration);
        staging.save_account(slot, &json, &key)?;
        crate::log!(
            Notice,
            "md[{}]: new account {} at {url}; a CAA record can allow it alone (RFC 8657): accounturi={}",
            md.name,
            registration.url,
            registration.url
        );
        Ok((json, Session::new(server.clone(), key, registration.url)))
    }
}

/// The first of these that the CA knows. A CA that answers one key of an account in an unusual way may know another
/// key of it; it is asked for no other account then.
pub(super) fn first_open<'k, T>(
    accounts: impl Iterator<Item = &'k Known>,
    open: impl Fn(&Known) -> Result<Option<T>, Error>,
) -> Result<Option<(&'k Known, T)>, Error> {
    let mut unusual: Option<(&str, Error)> = None;
    for account in accounts {
        if unusual.as_ref().is_some_and(|(url, _)| *url != account.url) {
            continue;
        }
        match open(account) {
            Ok(Some(opened)) => return Ok(Some((account, opened))),
            Ok(None) => {}
            Err(error) if error.is_answer_about_a_request() => {
                unusual.get_or_insert((&account.url, error));
            }
            Err(error) => return Err(error),
        }
    }
    unusual.map_or(Ok(None), |(_, error)| Err(error))
}

/// The accounts of a client, and the first of them that the CA knows.
pub(super) struct Tried<T> {
    pub(super) accounts: Vec<Known>,
    pub(super) found: Option<(Known, T)>,
}

/// The same of the accounts of a client. Keys that were put in place of refused ones meanwhile are tried as well.
pub(super) fn open_known<T>(
    client: &Client<'_>,
    open: impl Fn(&Known) -> Result<Option<T>, Error>,
) -> Result<Tried<T>, Error> {
    let mut accounts = client.accounts();
    loop {
        let found = first_open(accounts.iter(), &open)?;
        if let Some(found) = found.map(|(account, opened)| (account.clone(), opened)) {
            return Ok(Tried { accounts, found: Some(found) });
        }
        let again = client.accounts();
        let is_new = |known: &Known| {
            let is_it = |tried: &Known| tried.url == known.url && tried.has_key(&known.key);
            !accounts.iter().any(is_it)
        };
        if !again.iter().any(is_new) {
            return Ok(Tried { accounts, found: None });
        }
        accounts = again;
    }
}

/// The session of a known account, if the CA still knows it.
pub(super) fn confirmed(server: &Arc<Server>, account: &Known) -> Result<Option<Session>, Error> {
    let kid = &account.url;
    let session = Session::new(server.clone(), account.key.clone(), kid.clone());
    match session.account() {
        // One that is deactivated or revoked never comes back.
        Ok(registration) => Ok((registration.status == "valid").then_some(session)),
        Err(error) if error.is_of_the_account() => {
            crate::log!(Debug, "the CA does not know the account {kid} any more: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn eab_kid(md: &Md) -> Option<&str> {
    md.eab.as_ref().map(|eab| eab.kid.as_str())
}

fn contacts_of(account: &Value) -> Vec<String> {
    let contacts = account.get("contact").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    contacts.iter().filter_map(Value::as_str).map(String::from).collect()
}

fn same(one: &[String], other: &[String]) -> bool {
    let sorted = |contacts: &[String]| {
        let mut contacts = contacts.to_vec();
        contacts.sort();
        contacts
    };
    sorted(one) == sorted(other)
}

/// The contacts that all configurations with any agree on.
fn agreed<'a>(mut configured: impl Iterator<Item = &'a [String]>) -> Option<&'a [String]> {
    let first = configured.find(|contacts| !contacts.is_empty())?;
    configured.all(|other| other.is_empty() || same(first, other)).then_some(first)
}

pub(super) fn fits(account: &Value, url: &str, eab_kid: Option<&str>) -> bool {
    let text = |pointer: &str| account.pointer(pointer).and_then(Value::as_str);
    text("/ca-url") == Some(url)
        && text("/status").is_none_or(|status| status == "valid")
        && text("/eab/kid") == eab_kid
}

/// account.json as the C module writes it.
pub(crate) fn account_json(url: &str, md: &Md, registration: &Registration) -> Value {
    let mut out = Map::new();
    out.insert("status".into(), json!(registration.status));
    out.insert("url".into(), json!(registration.url));
    out.insert("ca-url".into(), json!(url));
    out.insert("contact".into(), json!(md.contacts));
    if let Some(orders) = &registration.orders {
        out.insert("orders".into(), json!(orders));
    }
    out.insert("registration".into(), registration.object.clone());
    if let Some(eab) = &md.eab {
        out.insert("eab".into(), json!({"kid": eab.kid, "hmac": eab.hmac}));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_fits_by_ca_and_external_account_whatever_the_contacts() {
        let account = json!({"status": "valid", "url": "https://ca/acct/1", "ca-url": "https://ca/dir",
            "contact": ["mailto:a@x"], "eab": {"kid": "k", "hmac": "h"}});
        assert!(fits(&account, "https://ca/dir", Some("k")));
        assert!(!fits(&account, "https://other/dir", Some("k")));
        assert!(!fits(&account, "https://ca/dir", Some("l")));
        assert!(!fits(&account, "https://ca/dir", None));
        let gone = json!({"status": "deactivated", "ca-url": "https://ca/dir", "contact": []});
        assert!(!fits(&gone, "https://ca/dir", None));
        assert!(!fits(&json!("garbage"), "https://ca/dir", None));
    }

    #[test]
    fn contacts_are_agreed_on_where_no_two_configurations_differ() {
        let of = |lists: &[&[&str]]| {
            let lists: Vec<Vec<String>> =
                lists.iter().map(|list| list.iter().map(ToString::to_string).collect()).collect();
            agreed(lists.iter().map(Vec::as_slice)).map(<[String]>::to_vec)
        };
        assert_eq!(of(&[&["a", "b"], &["b", "a"]]), Some(vec!["a".into(), "b".into()]));
        assert_eq!(of(&[&[], &["a"], &[]]), Some(vec!["a".into()]), "none says nothing");
        assert_eq!(of(&[&["a"], &["b"]]), None);
        assert_eq!(of(&[&[], &[]]), None);
        assert_eq!(of(&[]), None);
    }
}
