// SPDX-License-Identifier: Apache-2.0
//! Sealed files: what workers keep in `dns/` and `fleet/` is sealed with the store's key, each under its own
//! name, and open to httpd's `User` alone. Changes in `dns/` follow each other, also those of several processes.
//! Refuses what was not sealed by this store, and never replaces it there.

use super::disk::{Access, Folder, Links};
use super::json::{self, json_bytes};
use super::layout::{FILE_MAX, Layout, Owner};
use super::place::file_name;
use super::{Error, owners};
use crate::crypto::sealed_bytes;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

const DIR: &str = "dns";
const LOCK_FILE: &str = "dns.lock";
/// A change takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plain content, wiped when it is dropped.
pub type Opened = Zeroizing<Vec<u8>>;

/// Makes the folder, and gives it with its files to the workers.
pub(super) fn make_folder(root: &Folder, owner: Option<Owner>) -> Result<(), Error> {
    make_folder_of(root, DIR, owner)
}

/// The same for a folder in `root`.
pub(super) fn make_folder_of(root: &Folder, dir: &str, owner: Option<Owner>) -> Result<(), Error> {
    let (uid, gid) = (owner.map(|owner| owner.uid), owner.map(|owner| owner.gid));
    if owner.is_some() {
        owners::refuse_link(root, dir)?;
    }
    let folder = root.make_child(dir, Access { mode: 0o700, uid, gid })?;
    owners::give(root, dir, &folder, Access { mode: 0o700, uid, gid }, Access { mode: 0o600, uid, gid })
}

impl Layout {
    pub fn read_sealed(&self, file: &str) -> Result<Option<Opened>, Error> {
        self.open_sealed(&self.sealed_folder()?, DIR, file_name(file)?, FILE_MAX)
    }

    pub fn change_sealed<E: From<Error>>(
        &self,
        file: &str,
        change: impl FnOnce(Option<Opened>) -> Result<Option<Opened>, E>,
    ) -> Result<(), E> {
        let folder = self.sealed_folder()?;
        // Root changes files here, too, and workers take the same lock afterwards.
        let _held = folder.lock_shared(LOCK_FILE, self.sealed_access(), PATIENCE)?.ok_or_else(|| {
            Error::io("waiting for the lock", &folder.path().join(LOCK_FILE), ErrorKind::TimedOut)
        })?;
        let file = file_name(file)?;
        match change(self.open_sealed(&folder, DIR, file, FILE_MAX)?)? {
            Some(content) => Ok(self.write_sealed(&folder, DIR, file, &content)?),
            None => Ok(()),
        }
    }

    pub fn sealed_path(&self, file: &str) -> PathBuf {
        self.dir.join(DIR).join(file)
    }

    fn sealed_folder(&self) -> Result<Folder, Error> {
        Folder::open(&self.dir.join(DIR), Links::Refuse, &self.fuse)
    }

    /// `dir`: what the folder is called from the store's own; `bytes_max`: of the file as it is there.
    pub(super) fn open_sealed(
        &self,
        folder: &Folder,
        dir: &str,
        file: &str,
        bytes_max: u64,
    ) -> Result<Option<Opened>, Error> {
        let Some(content) = folder.read(file, bytes_max)? else { return Ok(None) };
        let damaged = |reason: String| Error::garbage(&folder.path().join(file), reason);
        // Anybody may have written it: the seal is inside.
        let value = json::read(content).map_err(damaged)?;
        let text = value.get("sealed").and_then(Value::as_str);
        let sealed = text.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
        let sealed = sealed.ok_or_else(|| damaged("it has no sealed content".into()))?;
        let opened = sealed_bytes::open(&sealed, self.key.bytes(), &place(dir, file));
        opened.map(Some).map_err(|e| damaged(e.to_string()))
    }

    pub(super) fn write_sealed(
        &self,
        folder: &Folder,
        dir: &str,
        file: &str,
        content: &[u8],
    ) -> Result<(), Error> {
        let failed = |source| Error::Crypto { path: folder.path().join(file), source };
        let sealed = sealed_bytes::seal(content, self.key.bytes(), &place(dir, file)).map_err(failed)?;
        let content = json_bytes(&json!({"sealed": BASE64URL_NOPAD.encode(&sealed)}));
        folder.write(file, &content, self.sealed_access())
    }

    pub(super) fn sealed_access(&self) -> Access {
        let (uid, gid) = (self.owner.map(|owner| owner.uid), self.owner.map(|owner| owner.gid));
        Access { mode: 0o600, uid, gid }
    }
}

fn place(dir: &str, file: &str) -> String {
    format!("{dir}/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Fuse, StartStore, WorkStore};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;
    use tempfile::TempDir;

    const FILE: &str = "acme-dns-a.test.json";

    fn is_root() -> bool {
        crate::store::disk::rights::own_uid() == 0
    }

    fn open(root: &Path) -> StartStore {
        StartStore::open(root, is_root().then_some(Owner { uid: 33, gid: 33 })).unwrap()
    }

    fn store() -> (TempDir, PathBuf, WorkStore) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("md");
        let store = open(&root).worker();
        (dir, root, store)
    }

    fn append(store: &WorkStore, text: &str) -> Result<(), Error> {
        store.change_sealed(FILE, |content| {
            let mut content = content.unwrap_or_default();
            content.extend_from_slice(text.as_bytes());
            Ok(Some(content))
        })
    }

    #[test]
    fn content_is_kept_for_the_workers_alone_and_sealed() {
        let (_dir, root, store) = store();
        assert!(store.read_sealed(FILE).unwrap().is_none());
        append(&store, "geheim").unwrap();
        append(&store, "nis").unwrap();
        assert_eq!(store.read_sealed(FILE).unwrap().unwrap().as_slice(), b"geheimnis");
        let path = root.join("dns").join(FILE);
        assert_eq!(store.sealed_path(FILE), path);
        assert!(!fs::read_to_string(&path).unwrap().contains("geheim"));
        for (path, mode) in [(root.join("dns"), 0o700), (path, 0o600)] {
            let meta = fs::metadata(&path).unwrap();
            assert_eq!(meta.mode() & 0o7777, mode, "{}", path.display());
            assert!(!is_root() || (meta.uid(), meta.gid()) == (33, 33), "{}", path.display());
        }
        assert!(store.read_sealed("../md_store.json").is_err());
        // Nothing was changed, nothing is written.
        let error = Error::Name("x".into());
        assert!(store.change_sealed(FILE, |_| Err::<Option<Opened>, _>(error)).is_err());
        assert_eq!(store.read_sealed(FILE).unwrap().unwrap().as_slice(), b"geheimnis");
    }

    #[test]
    fn the_lock_of_changes_stays_the_workers_when_root_takes_it() {
        let (dir, root, store) = store();
        let lock = root.join("dns/dns.lock");
        let check = || {
            let meta = fs::symlink_metadata(&lock).unwrap();
            assert!(meta.is_file() && meta.nlink() == 1 && meta.mode() & 0o7777 == 0o600);
            assert!(!is_root() || (meta.uid(), meta.gid()) == (33, 33));
            fs::remove_file(&lock).unwrap();
        };
        append(&store, "x").unwrap();
        check();
        // Root was killed before it gave it away.
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o640)).unwrap();
        append(&store, "x").unwrap();
        check();
        // Who owns the folder can put anything there.
        let outside = dir.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        let before = fs::metadata(&outside).unwrap();
        fs::hard_link(&outside, &lock).unwrap();
        append(&store, "x").unwrap();
        check();
        std::os::unix::fs::symlink(&outside, &lock).unwrap();
        append(&store, "x").unwrap();
        check();
        let after = fs::metadata(&outside).unwrap();
        assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
    }

    #[test]
    fn what_is_damaged_is_an_error_and_stays() {
        let (_dir, root, store) = store();
        append(&store, "x").unwrap();
        let path = root.join("dns").join(FILE);
        let good = fs::read_to_string(&path).unwrap();
        fs::copy(&path, root.join("dns/other.json")).unwrap();
        assert!(store.read_sealed("other.json").unwrap_err().to_string().contains("does not open it"));
        for bad in ["", "{}", "{\"sealed\": \"!\"}", "{\"sealed\": \"AQ\"}", &good[..good.len() / 2]] {
            fs::write(&path, bad).unwrap();
            let error = append(&store, "y").unwrap_err().to_string();
            assert!(error.contains("is damaged") && error.contains(FILE), "{bad}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn changes_of_many_follow_each_other() {
        let (_dir, _root, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..5).for_each(|_| append(&store, "x").unwrap()));
            }
        });
        assert_eq!(store.read_sealed(FILE).unwrap().unwrap().len(), 40);
    }

    #[test]
    fn a_write_that_ends_anywhere_leaves_the_old_content_or_the_new() {
        for steps in 0..20 {
            let (_dir, root, good) = store();
            append(&good, "old").unwrap();
            let fuse = Fuse::after(usize::MAX);
            let owner = is_root().then_some(Owner { uid: 33, gid: 33 });
            let dying = StartStore::open_with(&root, owner, fuse.clone()).unwrap().worker();
            fuse.blow_after(steps);
            let is_done = append(&dying, "new").is_ok();
            let left = good.read_sealed(FILE).unwrap().unwrap();
            assert!([&b"old"[..], b"oldnew"].contains(&left.as_slice()));
            if is_done {
                assert!(steps > 2 && left.as_slice() == b"oldnew");
                return;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_start_gives_the_folder_and_its_files_to_the_workers() {
        if !is_root() {
            return;
        }
        let (_dir, root, store) = store();
        append(&store, "x").unwrap();
        for path in [root.join("dns"), root.join("dns").join(FILE)] {
            chown(&path, Some(1234), Some(1234)).unwrap();
        }
        fs::set_permissions(root.join("dns"), fs::Permissions::from_mode(0o755)).unwrap();
        let store = open(&root).worker();
        let owner =
            |path: &Path| (fs::metadata(path).unwrap().uid(), fs::metadata(path).unwrap().mode() & 0o777);
        assert_eq!(owner(&root.join("dns")), (33, 0o700));
        assert_eq!(owner(&root.join("dns").join(FILE)), (33, 0o600));
        assert_eq!(store.read_sealed(FILE).unwrap().unwrap().as_slice(), b"x");
        fs::rename(root.join("dns"), root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.join("elsewhere"), root.join("dns")).unwrap();
        std::os::unix::fs::lchown(root.join("dns"), Some(1234), None).unwrap();
        let refused = StartStore::open(&root, Some(Owner { uid: 33, gid: 33 })).err().unwrap().to_string();
        assert!(refused.contains("dns") && refused.contains("chown -h root"), "{refused}");
    }
}
