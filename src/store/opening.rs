// SPDX-License-Identifier: Apache-2.0
//! Opens a store for a program beside httpd, which may be the first to use it: makes it where there is none,
//! converts one of an older version, and changes nothing in any other.

use super::disk::Fuse;
use super::disk::rights::own_uid;
use super::layout::STORE_FILE;
use super::{Error, StartStore, owners, setup};
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
        if is_current {
            return StartStore::open_existing_with(dir, fuse);
        }
        // Another user's store stays that user's.
        let owner = owners::of_workers(&root)?.filter(|_| root.uid().is_ok_and(|uid| uid == own_uid()));
        StartStore::open_with(dir, owner, fuse)
    }

    /// The user that the store belongs to, where that is not the user of this process: what this one writes
    /// there, that one cannot use.
    pub fn other_holder(&self) -> Result<Option<u32>, Error> {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        Ok(root.uid_of(STORE_FILE).filter(|uid| *uid != own_uid()))
    }

    /// httpd's `User` and `Group`, where that is not the user of this process.
    pub fn worker_owner(&self) -> Option<super::Owner> {
        self.layout.owner
    }
}
