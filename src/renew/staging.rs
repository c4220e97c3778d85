//! `staging/NAME/`: what a renewal has got so far. The start takes over what is complete here.

use super::live;
use crate::crypto::PrivateKey;
use crate::crypto::cert::Chain;
use crate::model::{Job, KeySpec, Md};
use crate::store::{Error, WorkGroup, WorkStore};
use serde_json::{Value, json};

const GROUP: WorkGroup = WorkGroup::Staging;

/// File names in a folder of staging.
pub mod file {
    pub const MD: &str = "md.json";
    pub const JOB: &str = "job.json";
    pub const ORDER: &str = "order.json";
    pub const ACCOUNT: &str = "account.json";
    pub const ACCOUNT_KEY: &str = "account.pem";
    /// Stems; the key's kind goes between these and `.pem`.
    pub const KEY_STEM: &str = "privkey";
    pub const CHAIN_STEM: &str = "pubcert";
}

/// The folder of one MD.
#[derive(Clone, Copy)]
pub struct Staging<'a> {
    store: &'a WorkStore,
    name: &'a str,
}

/// An order under way: where the CA has it, and for which of the MD's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOrder {
    pub url: String,
    pub key: String,
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
        self.store.write_json(GROUP, self.name, file::JOB, &job.to_json())
    }

    pub fn order(&self) -> Result<Option<SavedOrder>, Error> {
        let json = self.store.read_json(GROUP, self.name, file::ORDER)?;
        let text = |key: &str| json.as_ref()?.get(key).and_then(Value::as_str).map(String::from);
        Ok(text("url").zip(text("key")).map(|(url, key)| SavedOrder { url, key }))
    }

    pub fn save_order(&self, order: &SavedOrder) -> Result<(), Error> {
        self.store.write_json(GROUP, self.name, file::ORDER, &json!({"url": order.url, "key": order.key}))
    }

    pub fn remove_order(&self) -> Result<(), Error> {
        self.store.remove(GROUP, self.name, file::ORDER)
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

    /// The account waiting here, and its key. The key may stand alone: its registration was cut off.
    pub fn account(&self) -> Result<(Option<Value>, Option<PrivateKey>), Error> {
        let json = self.store.read_json(GROUP, self.name, file::ACCOUNT)?;
        Ok((json, self.store.read_key(GROUP, self.name, file::ACCOUNT_KEY)?))
    }

    pub fn save_account_key(&self, key: &PrivateKey) -> Result<(), Error> {
        self.store.write_key(GROUP, self.name, file::ACCOUNT_KEY, key)
    }

    pub fn save_account(&self, json: &Value) -> Result<(), Error> {
        self.store.write_json(GROUP, self.name, file::ACCOUNT, json)
    }

    pub fn remove_account(&self) -> Result<(), Error> {
        self.store.remove(GROUP, self.name, file::ACCOUNT)
    }

    /// Removes what belongs to one order of certificates. The job's history stays, and so do an account that other jobs
    /// may be using and the set that is live.
    pub fn reset(&self) -> Result<(), Error> {
        for name in self.store.files(GROUP, self.name)? {
            if ![file::JOB, file::ACCOUNT, file::ACCOUNT_KEY, live::FILE].contains(&name.as_str()) {
                self.store.remove(GROUP, self.name, &name)?;
            }
        }
        Ok(())
    }
}
