// SPDX-License-Identifier: Apache-2.0
//! Opens a store for a program beside httpd, which may be the first to use it: makes it where there is none,
//! converts one of an older version, and changes nothing in any other.

use super::disk::Fuse;
use super::disk::rights::own_uid;
use super::layout::{JSON_MAX, STORE_FILE};
use super::{Error, Group, REACH_FILE, StartStore, owners, setup};
use serde_json::Value;
use std::path::Path;

impl StartStore {
    /// Opens the store in `dir`, an absolute path, and makes it where there is none.
    pub fn open_or_make(dir: &Path) -> Result<Self, Error> {
        StartStore::open_or_make_with(dir, Fuse::default())
    }

    /// The same for tests that let the process die.
    pub fn open_or_make_with(dir: &Path, fuse: Fuse) -> Result<Self, Error> {
        setup::make_root(dir)?;
        let root = setup::open_root(dir, &fuse)?;
        let is_current = match setup::present_store_file(&root) {
            Ok(file) => file.older.is_none(),
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        // The C module makes folders when it needs them.
        let is_whole = Group::ALL.iter().all(|group| matches!(root.child(group.dir_name()), Ok(Some(_))));
        let is_own = root.uid()? == own_uid();
        // Another user's store stays that user's.
        if is_current && (is_whole || !is_own) {
            return StartStore::open_existing_with(dir, fuse);
        }
        let owner = owners::of_workers(&root)?.filter(|_| is_own);
        StartStore::open_with(dir, owner, fuse)
    }

    /// The user that the store belongs to, where that is not the user of this process: what this one writes
    /// there, that one cannot use.
    pub fn other_holder(&self) -> Result<Option<u32>, Error> {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        Ok(root.uid_of(STORE_FILE).filter(|uid| *uid != own_uid()))
    }

    /// Which schemes reach the server by the last start (httpd.json); both where none has said so.
    pub fn read_reach(&self) -> (bool, bool) {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse);
        let content = root.and_then(|root| root.read(REACH_FILE, JSON_MAX)).ok().flatten();
        let json: Value =
            content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default();
        let reaches = |scheme: &str| json.pointer(scheme).and_then(Value::as_bool).unwrap_or(true);
        (reaches("/proto/http"), reaches("/proto/https"))
    }

    /// httpd's `User` and `Group`, where that is not the user of this process.
    pub fn worker_owner(&self) -> Option<super::Owner> {
        self.layout.owner
    }
}
