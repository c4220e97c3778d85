// SPDX-License-Identifier: Apache-2.0
//! Opens a store for a program beside httpd, which may be the first to use it: makes it where there is none,
//! converts one of an older version, and changes nothing in any other.

use super::disk::Fuse;
use super::disk::rights::own_uid;
use super::layout::{JSON_MAX, Layout, STORE_FILE};
use super::{Error, Group, REACH_FILE, StartStore, Store, owners, setup};
use serde_json::Value;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

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

    /// The same with httpd's `User` and `Group` as its configuration has them. Without effect where this
    /// process is not root's, or the store is another user's.
    #[must_use]
    pub fn with_workers(self, owner: super::Owner) -> Self {
        let is_own = matches!(self.other_holder(), Ok(None));
        if own_uid() != 0 || owner.uid == 0 || !is_own {
            return self;
        }
        let layout = Layout { owner: Some(owner), ..self.layout.as_ref().clone() };
        Store { layout: Arc::new(layout), rights: PhantomData }
    }

    /// httpd's `User` and `Group`, where that is not the user of this process.
    pub fn worker_owner(&self) -> Option<super::Owner> {
        self.layout.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Owner;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    #[test]
    fn files_that_workers_read_have_the_group_of_the_configuration() {
        if own_uid() != 0 {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let user = Owner { uid: 33, gid: 34 };
        drop(StartStore::open(dir.path(), Some(user)).unwrap());
        // As starts leave it: they set the owner alone.
        chown(dir.path().join("staging"), Some(33), Some(0)).unwrap();
        let group_of_account = |store: StartStore| {
            let json = json!({"eab": {"hmac": "h"}});
            store.write_json(Group::Accounts, "ACME-ca.test-0000", "account.json", &json).unwrap();
            let meta = fs::metadata(dir.path().join("accounts/ACME-ca.test-0000/account.json")).unwrap();
            (meta.mode() & 0o777, meta.gid())
        };
        let open = || StartStore::open_existing(dir.path()).unwrap();
        assert_eq!(group_of_account(open()), (0o640, 0), "a guess");
        assert_eq!(group_of_account(open().with_workers(user)), (0o640, 34));
        // Another user's store stays that user's.
        chown(dir.path().join(STORE_FILE), Some(1234), None).unwrap();
        assert_eq!(open().with_workers(user).worker_owner(), Some(Owner { uid: 33, gid: 0 }));
    }
}
