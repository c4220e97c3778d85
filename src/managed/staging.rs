// SPDX-License-Identifier: Apache-2.0
//! `staging/NAME/`: the progress of a renewal. The start activates a complete set from here.

use super::saved_order::SavedOrder;
use crate::crypto::cert::Chain;
use crate::crypto::{self, PrivateKey, jws};
use crate::model::ledger::Ledger;
use crate::model::{Job, KeySpec, Md, ari};
use crate::store::auth::{self, Author, Purpose};
use crate::store::{ATTEMPT_LOCK_FILE, Error, Group, Rights, StartStore, Store, WorkGroup, WorkStore};
use serde_json::{Value, json};

const GROUP: WorkGroup = WorkGroup::Staging;

/// File names in a folder of staging.
pub mod file {
    pub const MD: &str = "md.json";
    pub const JOB: &str = "job.json";
    pub const ORDER: &str = "order.json";
    /// The advice of CAs about the certificates in use: exists without a job, too.
    pub const ARI: &str = "ari.json";
    /// The set that is live until the next restart moves it to `domains`.
    pub const LIVE: &str = "live.json";
    /// The recently issued certificates: exists without a job, too.
    pub const LEDGER: &str = "issued.json";
    /// JSON and key of the first account that waits here, and of further ones, each of another CA.
    pub const ACCOUNTS: [(&str, &str); 4] = [
        ("account.json", "account.pem"),
        ("account-2.json", "account-2.pem"),
        ("account-3.json", "account-3.pem"),
        ("account-4.json", "account-4.pem"),
    ];
    /// Stems; the key's kind goes between these and `.pem`.
    pub const KEY_STEM: &str = "privkey";
    pub const CHAIN_STEM: &str = "pubcert";
}

/// In the JSON of an account: the thumbprint of its former key, which stands in `accounts` yet. The CA has confirmed
/// that the account has the key beside it.
pub const REPLACES: &str = "replaces";

/// The files about the certificates in use and those issued recently.
const KEPT: [&str; 2] = [file::ARI, file::LEDGER];
/// The files that stay when a renewal is given up: the same, and the live set.
pub const KEPT_BESIDE: [&str; 3] = [file::ARI, file::LEDGER, file::LIVE];

/// Empties the staging of a name, except for the files about the certificates in use.
pub fn purge(store: &StartStore, name: &str) -> Result<(), Error> {
    store.purge_but(Group::Staging, name, &KEPT)
}

/// The same, but a set that is live stays: where starts may not use it, children do.
pub fn purge_job(store: &StartStore, name: &str) -> Result<(), Error> {
    store.purge_but(Group::Staging, name, &KEPT_BESIDE)
}

/// The folder of one MD.
#[derive(Clone, Copy)]
pub struct Staging<'a> {
    store: &'a WorkStore,
    name: &'a str,
}

impl<'a> Staging<'a> {
    pub fn new(store: &'a WorkStore, name: &'a str) -> Self {
        Staging { store, name }
    }

    /// The MD as it was when the renewal began, with the CA in use.
    pub fn md(&self) -> Result<Option<Md>, Error> {
        Ok(self.store.read_json(GROUP, self.name, file::MD)?.as_ref().and_then(Md::from_json))
    }

    pub fn save_md(&self, md: &Md) -> Result<(), Error> {
        self.store.write_json(GROUP, self.name, file::MD, &md.to_json())
    }

    pub fn job(&self) -> Result<Option<Job>, Error> {
        let json = self.store.read_json(GROUP, self.name, file::JOB)?;
        Ok(json.as_ref().and_then(|json| Job::from_json(self.name, json)))
    }

    pub fn save_job(&self, job: &Job) -> Result<(), Error> {
        self.store.write_json(GROUP, self.name, file::JOB, &job.to_record())
    }

    pub fn order(&self) -> Result<Option<SavedOrder>, Error> {
        let json = self.store.read_json(GROUP, self.name, file::ORDER)?;
        Ok(json.as_ref().and_then(SavedOrder::from_json))
    }

    /// Does not wait for the disk: an order lost in a power failure costs a new order.
    pub fn save_order(&self, order: &SavedOrder) -> Result<(), Error> {
        self.store.unsynced().write_json(GROUP, self.name, file::ORDER, &order.to_json())
    }

    /// Nor does this: an order that is done with is known to the CA as such.
    pub fn remove_order(&self) -> Result<(), Error> {
        self.store.unsynced().remove(GROUP, self.name, file::ORDER)
    }

    pub fn key(&self, spec: &KeySpec) -> Result<Option<PrivateKey>, Error> {
        self.store.read_key(GROUP, self.name, &spec.file_name(file::KEY_STEM))
    }

    pub fn save_key(&self, spec: &KeySpec, key: &PrivateKey) -> Result<(), Error> {
        self.store.write_key(GROUP, self.name, &spec.file_name(file::KEY_STEM), key)
    }

    pub fn chain(&self, spec: &KeySpec) -> Result<Option<Chain>, Error> {
        self.store.read_chain(GROUP, self.name, &spec.file_name(file::CHAIN_STEM))
    }

    pub fn save_chain(&self, spec: &KeySpec, chain: &Chain) -> Result<(), Error> {
        self.store.write_chain(GROUP, self.name, &spec.file_name(file::CHAIN_STEM), chain)
    }

    /// Whether any certificate is here, for whichever key.
    pub fn has_chain(&self) -> bool {
        let files = self.store.files(GROUP, self.name).unwrap_or_default();
        files.iter().any(|found| found.starts_with(file::CHAIN_STEM))
    }

    /// Whether it has all files of a finished job.
    pub fn is_complete(&self) -> bool {
        let has_chain = |spec: &KeySpec| self.chain(spec).is_ok_and(|chain| chain.is_some());
        self.md().is_ok_and(|md| md.is_some_and(|md| md.keys().iter().all(has_chain)))
    }

    /// The advice of CAs about the certificates in use.
    pub fn ari(&self) -> Result<Vec<ari::Entry>, Error> {
        let json = self.store.read_json(GROUP, self.name, file::ARI)?;
        Ok(json.as_ref().map(ari::from_json).unwrap_or_default())
    }

    pub fn save_ari(&self, entries: &[ari::Entry]) -> Result<(), Error> {
        self.store.write_json(GROUP, self.name, file::ARI, &ari::to_json(entries))
    }

    /// The recently issued certificates; empty if the file cannot be read.
    pub fn ledger(&self) -> Ledger {
        let json = self.store.read_json(GROUP, self.name, file::LEDGER).unwrap_or_default();
        json.as_ref().map(Ledger::from_json).unwrap_or_default()
    }

    /// Does not wait for the disk.
    pub fn save_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        self.store.unsynced().write_json(GROUP, self.name, file::LEDGER, &ledger.to_json())
    }

    /// The accounts waiting here with their slots and keys. One that cannot be read is none, nor is one that
    /// was not left here by us: those of the C module a start puts where they belong.
    pub fn accounts(&self) -> Vec<(usize, Value, PrivateKey)> {
        let read = |slot: usize| {
            let (json, key) = self.account(slot).ok()?;
            let (json, key) = json.zip(key)?;
            let is_ours = account_author(self.store, self.name, &json, &key) == Author::Ours;
            is_ours.then_some((slot, json, key))
        };
        (0..file::ACCOUNTS.len()).filter_map(read).collect()
    }

    /// Where the account for this CA stands, or may: the account of one CA never stands beside the key for
    /// another. The last place is given up to the newest.
    pub fn account_slot(&self, ca_url: &str) -> usize {
        let is_free = |slot: &usize| match self.account(*slot) {
            Ok((Some(json), _)) => json.get("ca-url").and_then(Value::as_str) == Some(ca_url),
            Ok((None, _)) | Err(Error::Garbage { .. }) => true,
            Err(_) => false,
        };
        (0..file::ACCOUNTS.len()).find(is_free).unwrap_or(file::ACCOUNTS.len() - 1)
    }

    /// Where a copy of the account with this URL stands, or may: in the place of no other account.
    pub fn copy_slot(&self, url: Option<&str>) -> Option<usize> {
        let url_of = |json: &Value| json.get("url").and_then(Value::as_str).map(String::from);
        let found = |slot: usize| self.account(slot).ok();
        let is_it =
            |slot: &usize| matches!(found(*slot), Some((Some(json), _)) if url_of(&json).as_deref() == url);
        let is_free = |slot: &usize| matches!(found(*slot), Some((None, None)));
        let mut slots = 0..file::ACCOUNTS.len();
        slots.clone().find(is_it).or_else(|| slots.find(is_free))
    }

    /// An account waiting here, and its key. The key may stand alone: its registration was cut off.
    pub fn account(&self, slot: usize) -> Result<(Option<Value>, Option<PrivateKey>), Error> {
        let (json, key) = account_files(slot);
        let json = self.store.read_json(GROUP, self.name, json)?;
        Ok((json, self.store.read_key(GROUP, self.name, key)?))
    }

    pub fn save_account_key(&self, slot: usize, key: &PrivateKey) -> Result<(), Error> {
        self.store.write_key(GROUP, self.name, account_files(slot).1, key)
    }

    /// `key` is the one that stands there.
    pub fn save_account(&self, slot: usize, json: &Value, key: &PrivateKey) -> Result<(), Error> {
        let json = signed_account(self.store, self.name, json, key)?;
        self.store.write_json(GROUP, self.name, account_files(slot).0, &json)
    }

    pub fn remove_account(&self, slot: usize) -> Result<(), Error> {
        self.store.remove(GROUP, self.name, account_files(slot).0)
    }

    /// Removes the files of one order. The job's history stays, and so do accounts that other jobs may be
    /// using, the files about the certificates in use and those issued recently, and the live set.
    pub fn reset(&self) -> Result<(), Error> {
        for name in self.store.files(GROUP, self.name)? {
            let is_account = file::ACCOUNTS.iter().any(|(json, key)| [*json, *key].contains(&name.as_str()));
            let kept = [file::JOB, file::ARI, file::LEDGER, file::LIVE, ATTEMPT_LOCK_FILE];
            if !is_account && !kept.contains(&name.as_str()) {
                self.store.remove(GROUP, self.name, &name)?;
            }
        }
        Ok(())
    }
}

/// Which process left an account with this key in the folder of `name`.
pub(crate) fn account_author<R: Rights>(
    store: &Store<R>,
    name: &str,
    json: &Value,
    key: &PrivateKey,
) -> Author {
    match account_content(json, key) {
        Ok(content) => store.author(Purpose::Account, name, &content, json.get(auth::FIELD)),
        // No CA has such a key.
        Err(_) => Author::Forger,
    }
}

/// The account as it is left in the folder of `name`.
pub(crate) fn signed_account<R: Rights>(
    store: &Store<R>,
    name: &str,
    json: &Value,
    key: &PrivateKey,
) -> Result<Value, Error> {
    let mut signed = auth::bare(json);
    // A key that no CA takes is found out when it is used.
    if let (Value::Object(fields), Ok(content)) = (&mut signed, account_content(json, key)) {
        fields.insert(auth::FIELD.into(), json!(store.vouch(Purpose::Account, name, &content)?));
    }
    Ok(signed)
}

fn account_content(json: &Value, key: &PrivateKey) -> Result<Value, crypto::Error> {
    Ok(json!({"account": auth::bare(json), "key": jws::thumbprint(key)?}))
}

fn account_files(slot: usize) -> (&'static str, &'static str) {
    let [.., last] = file::ACCOUNTS;
    file::ACCOUNTS.get(slot).copied().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::Lab;

    #[test]
    fn a_copy_of_an_account_takes_the_place_of_no_other() {
        let lab = Lab::new();
        let store = lab.store.worker();
        let staging = Staging::new(&store, "a.test");
        let key = || PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        let account = |number: usize| json!({"url": format!("https://ca.test/{number}"), "ca-url": "https://ca.test/dir"});
        let slot = |number: usize| staging.copy_slot(Some(&format!("https://ca.test/{number}")));
        assert_eq!(slot(0), Some(0));
        // A key alone is of a registration that was cut off.
        staging.save_account_key(1, &key()).unwrap();
        for (number, free) in [(0, Some(2)), (2, Some(3)), (3, None)] {
            let key = key();
            staging.save_account_key(number, &key).unwrap();
            staging.save_account(number, &account(number), &key).unwrap();
            assert_eq!((slot(number), slot(9)), (Some(number), free));
        }
    }
}
