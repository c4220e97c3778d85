// SPDX-License-Identifier: Apache-2.0
//! A store in a temporary folder, with certificates in use and in staging, for tests.

use crate::crypto::fixture::{Ca, NOW, Wish, rsa_key};
use crate::crypto::{CertInfo, PrivateKey};
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, JOB_FILE, MD_FILE};
use crate::managed::staging::{file, signed_account};
use crate::model::{Job, KeySpec, Md, Trial};
use crate::store::{Fuse, Group, StartStore};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const CA_URL: &str = "https://ca.test/dir";

pub struct Lab {
    dir: TempDir,
    /// No machine fails here: nothing has to wait for the disk.
    pub store: StartStore,
    pub ca: Ca,
}

#[allow(clippy::new_without_default, reason = "it makes folders and keys")]
impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().unsynced();
        Lab { dir, store, ca: Ca::new("Test CA") }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("md")
    }

    /// The store as seen by a start that dies after this many steps.
    pub fn dying(&self, steps: usize) -> StartStore {
        self.dying_by(&Fuse::after(steps))
    }

    /// The same, with the fuse that says whether it has died.
    pub fn dying_by(&self, fuse: &Fuse) -> StartStore {
        StartStore::open_with(&self.root(), None, fuse.clone()).unwrap().unsynced()
    }

    pub fn set(&self, names: &[&str], spec: &KeySpec) -> Bundle {
        self.set_like(&Wish { names, ..Wish::default() }, spec)
    }

    pub fn set_like(&self, wish: &Wish<'_>, spec: &KeySpec) -> Bundle {
        let key = if *spec == KeySpec::default() { rsa_key() } else { PrivateKey::generate(spec).unwrap() };
        let chain = self.ca.grant(wish, &key);
        let info = CertInfo::from_chain(&chain);
        Bundle { spec: spec.clone(), key, chain, info }
    }

    /// Puts a set into use, as if it had been activated. Gives the fingerprint of the certificate.
    pub fn install(&self, md: &Md) -> String {
        let names: Vec<&str> = md.domains.iter().map(String::as_str).collect();
        let set = self.set(&names, &md.keys()[0]);
        bundle::write(&self.store, Group::Domains, &md.name, &set).unwrap();
        self.store.write_json(Group::Domains, &md.name, MD_FILE, &md.to_json()).unwrap();
        set.info.fingerprint
    }

    /// Puts a finished job with this set into staging. Gives the fingerprint of the certificate.
    pub fn stage(&self, md: &Md, set: &Bundle) -> String {
        self.stage_tried(md, set, None)
    }

    /// The same where hosts have said this of it.
    pub fn stage_tried(&self, md: &Md, set: &Bundle, trial: Option<Trial>) -> String {
        let mut staged = md.clone();
        staged.ca.url = Some(CA_URL.into());
        bundle::write(&self.store, Group::Staging, &md.name, set).unwrap();
        self.store.write_json(Group::Staging, &md.name, MD_FILE, &staged.to_json()).unwrap();
        let (last_run, valid_from) = (Some(NOW), Some(set.info.not_before));
        let is_tried = trial == Some(Trial::Accepted);
        let auth =
            bundle::vouch(&self.store, &md.name, &staged, std::slice::from_ref(set), is_tried).unwrap();
        let job = Job { finished: true, last_run, valid_from, trial, ..Job::new(&md.name) };
        let job = Job { auth: Some(auth), ..job };
        self.store.write_json(Group::Staging, &md.name, JOB_FILE, &job.to_record()).unwrap();
        set.info.fingerprint.clone()
    }

    /// An account waits in staging.
    pub fn stage_account(&self, name: &str, json: &Value) {
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        self.store.write_key(Group::Staging, name, file::ACCOUNTS[0].1, &key).unwrap();
        let json = signed_account(&self.store, name, json, &key).unwrap();
        self.store.write_json(Group::Staging, name, file::ACCOUNTS[0].0, &json).unwrap();
    }

    /// Every file of the store, with the attributes that change when it is written.
    pub fn files(&self) -> BTreeMap<PathBuf, Written> {
        let mut found = BTreeMap::new();
        walk(&self.root(), &mut found);
        found
    }

    pub fn has(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }
}

/// Inode, time of the last change, content.
pub type Written = (u64, (i64, i64), Vec<u8>);

fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, Written>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        } else {
            let meta = entry.metadata().unwrap();
            let changed = (meta.ctime(), meta.ctime_nsec());
            found.insert(entry.path(), (meta.ino(), changed, fs::read(entry.path()).unwrap()));
        }
    }
}

/// An MD with a key that is made quickly.
pub fn md(names: &[&str]) -> Md {
    let mut md = Md {
        name: names[0].into(),
        domains: names.iter().map(ToString::to_string).collect(),
        contacts: vec!["mailto:me@a.test".into()],
        key_specs: vec![KeySpec::Ec("P-256".into())],
        ..Md::default()
    };
    md.ca.urls = vec![CA_URL.into()];
    md
}

pub fn account(number: u32) -> Value {
    json!({
        "status": "valid",
        "url": format!("https://ca.test/account/{number}"),
        "ca-url": CA_URL,
        "contact": ["mailto:me@a.test"],
        "registration": {"status": "valid"},
        "orders": "https://ca.test/orders"
    })
}
