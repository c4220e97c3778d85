// SPDX-License-Identifier: Apache-2.0
//! Accounts registered by workers wait in `staging`, because workers cannot write to `accounts`. When
//! httpd starts they move there: each CA account once, however many MDs share it.

use crate::crypto::{PrivateKey, jws};
use crate::managed::staging::{REPLACES, account_author, file};
use crate::model::Md;
use crate::model::bounded::{self, Room};
use crate::store::auth::{self, Author};
use crate::store::{ACCOUNT_KEY, Error, Group, NEXT_ACCOUNT_KEY, StartStore};
use crate::url::Url;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// JSON and key of an account in `accounts`, and of the first one in staging.
const ACCOUNT_FILE: &str = file::ACCOUNTS[0].0;
const ACCOUNT_KEY_FILE: &str = file::ACCOUNTS[0].1;
/// The limits for the JSON of a staged account.
const ROOM: Room = Room { values: 1024, text: 64 * 1024 };
/// Accounts at one CA, for one external account, beyond which none is added of those that we have left in
/// staging, and of those that anybody may have left there.
const OURS_MAX: usize = 64;
const OTHERS_MAX: usize = 4;
/// Folders are numbered with four digits.
const NUMBER_MAX: u32 = 9999;

/// The properties that distinguish accounts.
struct Account {
    folder: String,
    /// The directory of its CA.
    ca_url: String,
    contacts: Vec<String>,
    /// The external account it is bound to.
    eab_kid: Option<String>,
}

/// The accounts of the store.
pub struct Accounts {
    accounts: Vec<Account>,
    /// Folders by account URL.
    by_url: HashMap<String, String>,
    /// Folders that are in use, by accounts or by something that cannot be read.
    taken: HashSet<String>,
}

impl Accounts {
    pub fn read(store: &StartStore) -> Result<Self, Error> {
        let mut found = Accounts { accounts: Vec::new(), by_url: HashMap::new(), taken: HashSet::new() };
        for folder in store.names(Group::Accounts)? {
            match store.read_json(Group::Accounts, &folder, ACCOUNT_FILE) {
                Ok(Some(json)) => {
                    if eab_kid(&json).is_some() {
                        // The C module lets everyone read it.
                        let hidden = store.hide(Group::Accounts, &folder, ACCOUNT_FILE);
                        if let Err(e) = hidden {
                            crate::log!(
                                Warn,
                                "ACME account {folder}: every user of this machine can read its EAB hmac: {}",
                                e.advised()
                            );
                        }
                    }
                    found.add(folder, &json);
                }
                // The move of an account ended before its last file: the number is free.
                Ok(None) => {}
                Err(e) => {
                    crate::log!(
                        Warn,
                        "cannot read ACME account {folder}; domains that used it order with another account of their CA or register a \
                         new one: {}",
                        e.advised()
                    );
                    found.taken.insert(folder);
                }
            }
        }
        Ok(found)
    }

    fn add(&mut self, folder: String, json: &Value) {
        self.taken.insert(folder.clone());
        if let (Some(url), Some(ca_url)) = (text(json, "url"), text(json, "ca-url")) {
            self.by_url.insert(url, folder.clone());
            self.accounts.push(Account { folder, ca_url, contacts: contacts(json), eab_kid: eab_kid(json) });
        }
    }

    /// Whether MDs with the binding of `md` can order at `ca_url` with the account in `folder`.
    pub fn fits(&self, folder: &str, ca_url: &str, md: &Md) -> bool {
        self.fitting(ca_url, md).any(|account| account.folder == folder)
    }

    /// The folder of the account at `ca_url` that MDs with the binding of `md` share, whatever their
    /// contacts.
    pub fn find(&self, ca_url: &str, md: &Md) -> Option<&str> {
        self.fitting(ca_url, md).next().map(|account| account.folder.as_str())
    }

    /// Notes in `md` which CA issued a set, and for which account. `staged`: the settings it was ordered
    /// with; `adopted`: the accounts that came with it, by their CAs.
    pub fn name_ca(&self, adopted: &[(String, String)], md: &mut Md, staged: &Md) {
        let Some(url) = &staged.ca.url else { return };
        let known = |folder: &&String| self.fits(folder, url, md);
        let mut adopted = adopted.iter().filter(|(ca, _)| ca == url).map(|(_, folder)| folder).filter(known);
        let account = adopted.next().or(staged.ca.account.as_ref().filter(known)).cloned();
        let account = account.or_else(|| self.find(url, md).map(String::from));
        md.ca.account = account.or_else(|| md.ca.account.take().filter(|_| md.ca.url.as_ref() == Some(url)));
        md.ca.url = Some(url.clone());
    }

    fn fitting(&self, ca_url: &str, md: &Md) -> impl Iterator<Item = &Account> {
        self.of(ca_url, md.eab.as_ref().map(|eab| eab.kid.as_str()))
    }

    fn of(&self, ca_url: &str, eab_kid: Option<&str>) -> impl Iterator<Item = &Account> {
        self.accounts
            .iter()
            .filter(move |account| account.ca_url == ca_url && account.eab_kid.as_deref() == eab_kid)
    }

    /// Adopts the accounts that wait in the staging of these names, for `mds` to order with. Gives them by
    /// name.
    pub fn adopt_all<'n>(
        &mut self,
        store: &StartStore,
        names: impl Iterator<Item = &'n str>,
        mds: &[&Md],
    ) -> HashMap<String, Vec<(String, String)>> {
        let asks = |md: &Md, ca: &str| md.ca.urls.iter().any(|url| url == ca);
        let is_bound = |md: &Md, kid: Option<&str>| md.eab.as_ref().map(|eab| eab.kid.as_str()) == kid;
        let is_wanted = |ca: &str, kid: Option<&str>| mds.iter().any(|md| asks(md, ca) && is_bound(md, kid));
        let mut adopted = HashMap::new();
        for name in names {
            match self.adopt(store, name, &is_wanted) {
                Ok(accounts) => drop(adopted.insert(name.to_string(), accounts)),
                Err(e) => {
                    crate::log!(Warn, "md[{name}]: the new ACME account cannot be saved: {}", e.advised())
                }
            }
        }
        adopted
    }

    /// Copies the accounts that wait in the staging folder of `name` to `accounts`, unless they are there
    /// already, and takes over their new contacts. Gives the directory URL of each one's CA and its folder;
    /// nothing usable is passed over. An account that we have not left there is one of the C module, if
    /// `is_wanted` says so of the URL of its CA and its external account, and there are not enough of them
    /// yet.
    pub fn adopt(
        &mut self,
        store: &StartStore,
        name: &str,
        is_wanted: &dyn Fn(&str, Option<&str>) -> bool,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut adopted = Vec::new();
        for files in file::ACCOUNTS {
            match self.adopt_one(store, name, files, is_wanted) {
                Ok(account) => adopted.extend(account),
                Err(error @ Error::Garbage { .. }) => {
                    crate::log!(Warn, "md[{name}]: an ACME account in its staging is not used: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(adopted)
    }

    fn adopt_one(
        &mut self,
        store: &StartStore,
        name: &str,
        files: (&str, &str),
        is_wanted: &dyn Fn(&str, Option<&str>) -> bool,
    ) -> Result<Option<(String, String)>, Error> {
        let (json_file, key_file) = files;
        let Some(json) = store.read_json(Group::Staging, name, json_file)? else { return Ok(None) };
        let (Some(url), Some(ca_url)) = (text(&json, "url"), text(&json, "ca-url")) else { return Ok(None) };
        let known = self.accounts.iter().find(|account| Some(&account.folder) == self.by_url.get(&url));
        if let Some(known) = known.filter(|known| known.ca_url == ca_url)
            && let Err(error) = take_key(store, name, &known.folder, &json, key_file)
        {
            // Renewals find out which of the two is valid.
            crate::log!(
                Warn,
                "ACME account {}: the key that a renewal has given it stays beside the former one: {}",
                known.folder,
                error.advised()
            );
        }
        if let Some(known) = known.filter(|known| known.ca_url == ca_url && known.contacts == contacts(&json))
        {
            return Ok(Some((ca_url, known.folder.clone())));
        }
        let known = known.map(|known| known.folder.clone());
        let Some(key) = store.read_key(Group::Staging, name, key_file)? else { return Ok(None) };
        let author = account_author(store, name, &json, &key);
        if author == Author::Forger {
            drop_staged(store, name, json_file, key_file)?;
        }
        if let Some(reason) = self.refusal(author, &ca_url, &json, known.is_some(), is_wanted) {
            crate::log!(
                Warn,
                "md[{name}]: the ACME account {url} in {json_file} of its staging is not used: {reason}"
            );
            return Ok(None);
        }
        let folder = match known {
            Some(folder) => self.take_contacts(store, &folder, &json).map(|()| Some(folder)),
            None => self.save(store, &ca_url, &json, &key),
        };
        Ok(folder?.map(|folder| (ca_url, folder)))
    }

    /// Why a staged account is not adopted. `is_known`: it is in `accounts` already.
    fn refusal(
        &self,
        author: Author,
        ca_url: &str,
        json: &Value,
        is_known: bool,
        is_wanted: &dyn Fn(&str, Option<&str>) -> bool,
    ) -> Option<&'static str> {
        let eab_kid = eab_kid(json);
        let most = if author == Author::Ours { OURS_MAX } else { OTHERS_MAX };
        match author {
            Author::Forger => Some(
                "its `auth` does not fit, because somebody with the rights of httpd's User has changed it or brought \
                 it from elsewhere",
            ),
            Author::Unknown if is_known || !is_wanted(ca_url, eab_kid.as_deref()) => {
                Some("it was not left there by this server, and nothing is ordered with such accounts")
            }
            Author::Ours if is_known => None,
            Author::Ours | Author::Unknown => (self.of(ca_url, eab_kid.as_deref()).count() >= most)
                .then_some("there are enough accounts of this CA"),
        }
    }

    /// The folder of the account with this URL.
    pub fn folder_of(&self, url: &str) -> Option<&str> {
        self.by_url.get(url).map(String::as_str)
    }

    /// Adds an account that was registered elsewhere, unless it is here already. Gives its folder and whether
    /// that is new; `None`: no number is free.
    pub fn take_in(
        &mut self,
        store: &StartStore,
        json: &Value,
        key: &PrivateKey,
    ) -> Result<Option<(String, bool)>, Error> {
        let (Some(url), Some(ca_url)) = (text(json, "url"), text(json, "ca-url")) else { return Ok(None) };
        if let Some(folder) = self.by_url.get(&url) {
            return Ok(Some((folder.clone(), false)));
        }
        Ok(self.save(store, &ca_url, json, key)?.map(|folder| (folder, true)))
    }

    /// Writes a new account to a folder of its own in `accounts`, if any number is free.
    pub fn save(
        &mut self,
        store: &StartStore,
        ca_url: &str,
        staged: &Value,
        key: &PrivateKey,
    ) -> Result<Option<String>, Error> {
        let Some(folder) = self.free_folder(ca_url) else { return Ok(None) };
        // Only processes with the rights of the one that starts httpd can write to `accounts`.
        let Some(mut json) = ROOM.take(&auth::bare(staged)) else { return Ok(None) };
        // The C module leaves out the CA's own object here, too; it is asked for when it is needed.
        if let Value::Object(fields) = &mut json {
            fields.remove("registration");
            fields.remove(REPLACES);
        }
        store.write_key(Group::Accounts, &folder, ACCOUNT_KEY_FILE, key)?;
        store.write_json(Group::Accounts, &folder, ACCOUNT_FILE, &json)?;
        self.add(folder.clone(), &json);
        Ok(Some(folder))
    }

    /// Stores the contacts of a staged account that a worker has changed at the CA.
    fn take_contacts(&mut self, store: &StartStore, folder: &str, staged: &Value) -> Result<(), Error> {
        let new = contacts(staged);
        let known = self.accounts.iter_mut().find(|account| account.folder == folder);
        let Some(known) = known.filter(|account| account.contacts != new) else { return Ok(()) };
        let Some(mut json) = store.read_json(Group::Accounts, folder, ACCOUNT_FILE)? else { return Ok(()) };
        if let (Value::Object(fields), Some(contact)) = (&mut json, staged.get("contact")) {
            fields.insert("contact".into(), contact.clone());
        }
        store.write_json(Group::Accounts, folder, ACCOUNT_FILE, &json)?;
        known.contacts = new;
        Ok(())
    }

    /// `ACME-<ca host>-NNNN` with the lowest free number.
    fn free_folder(&self, ca_url: &str) -> Option<String> {
        let host = Url::parse(ca_url).ok()?.host().to_string();
        (0..=NUMBER_MAX).map(|n| format!("ACME-{host}-{n:04}")).find(|folder| !self.taken.contains(folder))
    }
}

/// Puts the key that waits for an account in its place, where a copy in the staging of `name` says that a renewal has
/// had the CA take it: only children make such copies, after the CA has. The same of a key that another node of a fleet
/// has given to the account, where the copy names the former one.
fn take_key(
    store: &StartStore,
    name: &str,
    folder: &str,
    staged: &Value,
    key_file: &str,
) -> Result<(), Error> {
    let former = text(staged, REPLACES);
    let waits = || store.read(Group::Accounts, folder, NEXT_ACCOUNT_KEY).is_ok_and(|key| key.is_some());
    if former.is_none() && !waits() {
        return Ok(());
    }
    // Whoever holds it ends what the renewal has begun.
    let Some(_lock) = store.lock_account(folder, Duration::ZERO)? else { return Ok(()) };
    // One that cannot be read is none, and children say so.
    let next = store.read_key(Group::Accounts, folder, NEXT_ACCOUNT_KEY).ok().flatten();
    let Some(key) = store.read_key(Group::Staging, name, key_file)? else { return Ok(()) };
    let is_next = next.is_some_and(|next| key.is_same(&next));
    let thumbprint_of_stored = || {
        let stored = store.read_key(Group::Accounts, folder, ACCOUNT_KEY).ok().flatten();
        stored.and_then(|stored| jws::thumbprint(&stored).ok())
    };
    let is_valid = is_next || (former.is_some() && former == thumbprint_of_stored());
    if !is_valid || account_author(store, name, staged, &key) != Author::Ours {
        return Ok(());
    }
    store.write_key(Group::Accounts, folder, ACCOUNT_KEY, &key)?;
    // Another one that waits was outrun.
    store.remove(Group::Accounts, folder, NEXT_ACCOUNT_KEY)?;
    crate::log!(Info, "ACME account {folder}: the key that a renewal has given it is in its place");
    Ok(())
}

/// Removes a staged account that is not used, so that later starts do not report it again.
fn drop_staged(store: &StartStore, name: &str, json_file: &str, key_file: &str) -> Result<(), Error> {
    store.remove(Group::Staging, name, json_file)?;
    store.remove(Group::Staging, name, key_file)
}

fn text(json: &Value, key: &str) -> Option<String> {
    bounded::name_at(json, key)
}

fn contacts(json: &Value) -> Vec<String> {
    let items = json.get("contact").and_then(Value::as_array);
    let mut contacts: Vec<String> =
        items.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect();
    contacts.sort();
    contacts
}

fn eab_kid(json: &Value) -> Option<String> {
    text(json.get("eab")?, "kid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::{CA_URL, Lab, account, md};
    use crate::managed::staging::signed_account;
    use crate::model::{Eab, KeySpec};
    use serde_json::json;

    fn all(_: &str, _: Option<&str>) -> bool {
        true
    }

    #[test]
    fn an_account_from_elsewhere_is_taken_in_once_wherever_the_process_dies() {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        for steps in 0.. {
            let lab = Lab::new();
            let fuse = crate::store::Fuse::after(usize::MAX);
            let dying = lab.dying_by(&fuse);
            let mut accounts = Accounts::read(&dying).unwrap();
            fuse.blow_after(steps);
            let is_done = accounts.take_in(&dying, &account(1), &key).is_ok();
            let mut accounts = Accounts::read(&lab.store).unwrap();
            let (folder, is_new) = accounts.take_in(&lab.store, &account(1), &key).unwrap().unwrap();
            assert_eq!(folder, "ACME-ca.test-0000");
            assert!(!is_done || !is_new);
            let read = lab.store.read_key(Group::Accounts, &folder, ACCOUNT_KEY_FILE).unwrap().unwrap();
            assert!(read.pkey().public_eq(key.pkey()));
            assert_eq!(lab.store.names(Group::Accounts).unwrap().len(), 1);
            if is_done {
                assert!(steps > 5, "{steps}");
                return;
            }
        }
    }

    #[test]
    fn an_account_moves_once_however_often_it_is_staged() {
        let lab = Lab::new();
        for name in ["a.test", "b.test"] {
            lab.stage_account(name, &account(1));
        }
        lab.stage_account("c.test", &account(2));
        let mut accounts = Accounts::read(&lab.store).unwrap();
        let mut adopt = |name| accounts.adopt(&lab.store, name, &all).unwrap();
        let at = |folder: &str| vec![(CA_URL.to_string(), folder.to_string())];
        assert_eq!(adopt("a.test"), at("ACME-ca.test-0000"));
        assert_eq!(adopt("b.test"), at("ACME-ca.test-0000"));
        assert_eq!(adopt("c.test"), at("ACME-ca.test-0001"));
        assert_eq!(adopt("d.test"), []);
        let mut again = Accounts::read(&lab.store).unwrap();
        assert_eq!(again.adopt(&lab.store, "a.test", &all).unwrap(), at("ACME-ca.test-0000"));
        assert_eq!(lab.store.names(Group::Accounts).unwrap(), ["ACME-ca.test-0000", "ACME-ca.test-0001"]);
        let json = lab.store.read_json(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_FILE).unwrap().unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["status", "url", "ca-url", "contact", "orders"]);
        assert!(
            lab.store.read_key(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_KEY_FILE).unwrap().is_some()
        );
    }

    #[test]
    fn an_account_fits_with_the_same_ca_and_binding_whatever_the_contacts() {
        let lab = Lab::new();
        let mut bound = account(2);
        bound["eab"] = json!({"kid": "k", "hmac": "h"});
        lab.stage_account("a.test", &account(1));
        lab.stage_account("b.test", &bound);
        let mut accounts = Accounts::read(&lab.store).unwrap();
        let mut adopt =
            |name| accounts.adopt(&lab.store, name, &all).unwrap().pop().map(|(_, folder)| folder);
        let plain = adopt("a.test");
        let with_eab = adopt("b.test");
        let mut md = md(&["x.test"]);
        assert_eq!(accounts.find(CA_URL, &md), plain.as_deref());
        assert_eq!(accounts.find("https://other.test/dir", &md), None);
        md.eab = Some(Eab { kid: "k".into(), hmac: "h".into() });
        assert_eq!(accounts.find(CA_URL, &md), with_eab.as_deref());
        md.contacts.push("mailto:two@a.test".into());
        assert_eq!(accounts.find(CA_URL, &md), with_eab.as_deref());
        let fits = |folder: &Option<String>| accounts.fits(folder.as_deref().unwrap(), CA_URL, &md);
        assert!(fits(&with_eab) && !fits(&plain));
        assert!(!accounts.fits(with_eab.as_deref().unwrap(), "https://other.test/dir", &md));
        md.eab = Some(Eab { kid: "other".into(), hmac: "h".into() });
        assert_eq!(accounts.find(CA_URL, &md), None);
    }

    fn ec() -> PrivateKey {
        PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
    }

    /// An account in `accounts/` for which a key waits; the folder, the present and the next key.
    fn awaiting(lab: &Lab) -> (String, PrivateKey, PrivateKey) {
        let (old, next) = (ec(), ec());
        let mut accounts = Accounts::read(&lab.store).unwrap();
        let (folder, _) = accounts.take_in(&lab.store, &account(1), &old).unwrap().unwrap();
        lab.store.write_key(Group::Accounts, &folder, NEXT_ACCOUNT_KEY, &next).unwrap();
        (folder, old, next)
    }

    fn leave(lab: &Lab, json: &Value, key: &PrivateKey) {
        let store = &lab.store;
        store.write_key(Group::Staging, "a.test", file::ACCOUNTS[0].1, key).unwrap();
        store.write_json(Group::Staging, "a.test", file::ACCOUNTS[0].0, json).unwrap();
    }

    fn adopt(store: &StartStore) -> Result<(), Error> {
        Accounts::read(store)?.adopt(store, "a.test", &all).map(drop)
    }

    fn keys(lab: &Lab, folder: &str) -> (PrivateKey, Option<PrivateKey>) {
        let read = |file| lab.store.read_key(Group::Accounts, folder, file).unwrap();
        (read(ACCOUNT_KEY).unwrap(), read(NEXT_ACCOUNT_KEY))
    }

    #[test]
    fn a_key_that_waits_takes_its_place_where_a_child_says_that_the_ca_took_it() {
        let signed = |lab: &Lab, name: &str, key: &PrivateKey| {
            signed_account(&lab.store, name, &account(1), key).unwrap()
        };
        let lab = Lab::new();
        let (folder, old, next) = awaiting(&lab);
        let other = ec();
        let elsewhere = json!({"url": account(1)["url"], "ca-url": "https://other.test/dir"});
        let elsewhere = signed_account(&lab.store, "a.test", &elsewhere, &next).unwrap();
        for (json, key) in [
            (signed(&lab, "a.test", &old), &old),
            (signed(&lab, "a.test", &other), &other),
            // Nobody vouches for it, it is another domain's, for another key, and of another CA.
            (account(1), &next),
            (signed(&lab, "b.test", &next), &next),
            (signed(&lab, "a.test", &other), &next),
            (elsewhere, &next),
        ] {
            leave(&lab, &json, key);
            adopt(&lab.store).unwrap();
            let (key, waiting) = keys(&lab, &folder);
            assert!(key.is_same(&old) && waiting.unwrap().is_same(&next), "{json}");
        }
        leave(&lab, &signed(&lab, "a.test", &next), &next);
        let held = lab.store.lock_account(&folder, Duration::ZERO).unwrap().unwrap();
        adopt(&lab.store).unwrap();
        assert!(keys(&lab, &folder).0.is_same(&old), "another process is at work on it");
        drop(held);
        adopt(&lab.store).unwrap();
        let (key, waiting) = keys(&lab, &folder);
        assert!(key.is_same(&next) && waiting.is_none());
        assert_eq!(lab.store.names(Group::Accounts).unwrap(), [folder]);
    }

    #[test]
    fn a_key_of_another_node_takes_the_place_of_the_one_that_its_copy_names() {
        let lab = Lab::new();
        let (folder, old, _) = awaiting(&lab);
        let (new, newest) = (ec(), ec());
        let copy = |former: &PrivateKey, key: &PrivateKey| {
            let mut json = account(1);
            json[REPLACES] = json!(jws::thumbprint(former).unwrap());
            signed_account(&lab.store, "a.test", &json, key).unwrap()
        };
        let mut unsigned = copy(&old, &new);
        unsigned.as_object_mut().unwrap().remove("auth");
        for json in [unsigned, copy(&newest, &new)] {
            leave(&lab, &json, &new);
            adopt(&lab.store).unwrap();
            let (key, waiting) = keys(&lab, &folder);
            assert!(key.is_same(&old) && waiting.is_some());
        }
        for (former, key) in [(&old, &new), (&new, &newest)] {
            leave(&lab, &copy(former, key), key);
            adopt(&lab.store).unwrap();
            let (stored, waiting) = keys(&lab, &folder);
            assert!(stored.is_same(key) && waiting.is_none());
        }
        // A copy from before is one of a former key.
        leave(&lab, &copy(&old, &new), &new);
        adopt(&lab.store).unwrap();
        assert!(keys(&lab, &folder).0.is_same(&newest));
    }

    #[test]
    fn a_start_that_dies_while_it_puts_a_key_in_its_place_loses_none() {
        for steps in 0.. {
            let lab = Lab::new();
            let (folder, _, next) = awaiting(&lab);
            leave(&lab, &signed_account(&lab.store, "a.test", &account(1), &next).unwrap(), &next);
            let fuse = crate::store::Fuse::after(usize::MAX);
            let dying = lab.dying_by(&fuse);
            fuse.blow_after(steps);
            let is_done = adopt(&dying).is_ok() && !fuse.is_blown();
            let (key, waiting) = keys(&lab, &folder);
            assert!(key.is_same(&next) || waiting.is_some_and(|key| key.is_same(&next)), "after {steps}");
            adopt(&lab.store).unwrap();
            let (key, waiting) = keys(&lab, &folder);
            assert!(key.is_same(&next) && waiting.is_none(), "after {steps}");
            if is_done {
                assert!(steps > 3, "{steps}");
                return;
            }
        }
    }

    #[test]
    fn accounts_of_several_cas_move_and_later_contacts_are_taken_over() {
        let lab = Lab::new();
        let other = json!({"url": "https://second.test/account/1", "ca-url": "https://second.test/dir"});
        lab.stage_account("a.test", &account(1));
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        lab.store.write_key(Group::Staging, "a.test", file::ACCOUNTS[1].1, &key).unwrap();
        lab.store.write_json(Group::Staging, "a.test", file::ACCOUNTS[1].0, &other).unwrap();
        let adopted = Accounts::read(&lab.store).unwrap().adopt(&lab.store, "a.test", &all).unwrap();
        let folders: Vec<&str> = adopted.iter().map(|(_, folder)| folder.as_str()).collect();
        assert_eq!(folders, ["ACME-ca.test-0000", "ACME-second.test-0000"]);

        let mut changed = account(1);
        changed["contact"] = json!(["mailto:new@a.test"]);
        lab.stage_account("a.test", &changed);
        let mut accounts = Accounts::read(&lab.store).unwrap();
        accounts.adopt(&lab.store, "a.test", &all).unwrap();
        let stored = lab.store.read_json(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_FILE).unwrap();
        assert_eq!(stored.unwrap()["contact"], json!(["mailto:new@a.test"]));
    }

    #[test]
    fn a_binding_that_everyone_could_read_is_hidden() {
        use std::os::unix::fs::PermissionsExt;
        let lab = Lab::new();
        let json = json!({"eab": {"kid": "k", "hmac": "h"}}).to_string();
        lab.store.write(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_FILE, json.as_bytes()).unwrap();
        Accounts::read(&lab.store).unwrap();
        let path = lab.root().join("accounts/ACME-ca.test-0000/account.json");
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_account_is_left_where_it_is() {
        let lab = Lab::new();
        lab.store.write(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_FILE, b"garbage").unwrap();
        lab.stage_account("a.test", &json!({"url": 5}));
        lab.stage_account("b.test", &json!({"url": "https://x.test", "ca-url": "../../etc"}));
        lab.stage_account("c.test", &account(1));
        lab.stage_account("d.test", &account(2));
        lab.store.write(Group::Staging, "d.test", ACCOUNT_KEY_FILE, b"garbage").unwrap();
        let mut accounts = Accounts::read(&lab.store).unwrap();
        assert_eq!(accounts.adopt(&lab.store, "a.test", &all).unwrap(), []);
        assert_eq!(accounts.adopt(&lab.store, "b.test", &all).unwrap(), []);
        assert_eq!(accounts.adopt(&lab.store, "d.test", &all).unwrap(), []);
        let adopted = accounts.adopt(&lab.store, "c.test", &all).unwrap();
        assert_eq!(adopted, [(CA_URL.to_string(), "ACME-ca.test-0001".to_string())]);
        let kept = lab.store.read(Group::Accounts, "ACME-ca.test-0000", ACCOUNT_FILE).unwrap();
        assert_eq!(kept.unwrap(), b"garbage");
    }
}
