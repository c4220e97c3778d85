// SPDX-License-Identifier: Apache-2.0
//! Folders of single files that root or the store's owner writes and workers only read: what an operator
//! asks of the running httpd, and which sets are withdrawn. Follows no links, and refuses files of anybody
//! else, so that who writes there needs no other proof. Imports `disk`.

use super::disk::rights::own_uid;
use super::disk::{Access, Folder, Links, Stamp};
use super::json::{self, json_bytes};
use super::layout::{Layout, STORE_FILE};
use super::place::Flat;
use super::{Error, Rights, StartStore, Store, setup};
use crate::names;
use crate::time::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Bytes of a file.
const SIZE_MAX: u64 = 64 * 1024;
/// Of a name: a temporary file has a longer name than its file, and a file system takes 255 bytes.
const NAME_MAX: usize = 220;
const SUFFIX: &str = ".json";
/// What is asked of the process that replicates, among the requests for names: no name is written so.
const FLEET_FILE: &str = "+fleet.json";

impl<R: Rights> Store<R> {
    /// The file of each name, with a stamp that changes with it; in no order. Other files are passed over.
    pub fn flat_stamps(&self, flat: Flat) -> Result<Vec<(String, Stamp)>, Error> {
        let Some(folder) = self.layout.flat(flat)? else { return Ok(Vec::new()) };
        let files = folder.file_stamps()?.into_iter();
        Ok(files.filter_map(|(file, stamp)| Some((name_of(&file)?, stamp))).collect())
    }

    /// A stamp of the whole folder, which changes when a file in it is made, replaced or removed; `None` where
    /// there is no folder.
    pub fn flat_stamp(&self, flat: Flat) -> Result<Option<Stamp>, Error> {
        self.layout.flat(flat)?.map(|folder| folder.stamp()).transpose()
    }

    /// `None` where there is no file. One that neither root nor the store's owner has written is an error.
    pub fn read_flat(&self, flat: Flat, name: &str) -> Result<Option<Value>, Error> {
        self.layout.read_flat(flat, &file_of(name)?)
    }

    /// What an operator asks of the process that replicates; the same rules hold for its file.
    pub fn read_fleet_request(&self) -> Result<Option<Value>, Error> {
        self.layout.read_flat(Flat::Requests, FLEET_FILE)
    }
}

impl StartStore {
    /// Replaces the file of a name.
    pub fn write_flat(&self, flat: Flat, name: &str, value: &Value) -> Result<(), Error> {
        self.layout.write_flat(flat, &file_of(name)?, value)
    }

    /// Removes the file of a name; that there is none is fine.
    pub fn remove_flat(&self, flat: Flat, name: &str) -> Result<(), Error> {
        let file = file_of(name)?;
        self.layout.flat(flat)?.map_or(Ok(()), |folder| folder.remove(&file))
    }

    /// Replaces what is asked of the process that replicates.
    pub fn write_fleet_request(&self, value: &Value) -> Result<(), Error> {
        self.layout.write_flat(Flat::Requests, FLEET_FILE, value)
    }

    pub fn remove_fleet_request(&self) -> Result<(), Error> {
        self.layout.flat(Flat::Requests)?.map_or(Ok(()), |folder| folder.remove(FLEET_FILE))
    }

    /// Removes the requests that nobody waits for any more, whatever has such a name, and what writers have
    /// left behind.
    pub fn remove_old_requests(&self, age: Duration, now: Timestamp) -> Result<(), Error> {
        let Some(folder) = self.layout.flat(Flat::Requests)? else { return Ok(()) };
        let folder = folder.synced(false);
        for (file, stamp) in folder.all_stamps()? {
            let written = stamp.modified();
            if now.since(written) >= age || written.since(now) >= age {
                folder.remove(&file)?;
            }
        }
        Ok(())
    }
}

impl Layout {
    fn read_flat(&self, flat: Flat, file: &str) -> Result<Option<Value>, Error> {
        let Some(folder) = self.flat(flat)? else { return Ok(None) };
        let Some(content) = folder.read_of_owner(file, SIZE_MAX)? else { return Ok(None) };
        let garbage = |reason: String| Error::garbage(&folder.path().join(file), reason);
        json::read(content).map(Some).map_err(garbage)
    }

    fn write_flat(&self, flat: Flat, file: &str, value: &Value) -> Result<(), Error> {
        let folder = self.flat_to_write(flat)?;
        // Root writes for an ordinary user that starts httpd.
        let uid = folder.uid()?;
        let uid = (own_uid() == 0 && uid != 0).then_some(uid);
        folder.write(file, &json_bytes(value), Access { mode: Flat::FILE_MODE, uid, gid: None })
    }

    /// `None` where an httpd of an earlier version has made the store.
    fn flat(&self, flat: Flat) -> Result<Option<Folder>, Error> {
        match self.open_flat(flat) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder of requests is there where an httpd looks for them; what is withdrawn counts for the first one
    /// that knows of it.
    fn flat_to_write(&self, flat: Flat) -> Result<Folder, Error> {
        match self.open_flat(flat) {
            Err(error) if error.is_not_found() && flat == Flat::Withdrawn => {}
            opened => return opened,
        }
        let root = setup::open_root(&self.dir, &self.fuse)?;
        // Root makes it for an ordinary user that starts httpd.
        let uid = root.uid_of(STORE_FILE).filter(|_| own_uid() == 0);
        root.make_child(flat.dir_name(), Access { mode: Flat::DIR_MODE, uid, gid: None })?;
        self.open_flat(flat)
    }

    fn open_flat(&self, flat: Flat) -> Result<Folder, Error> {
        let root = || setup::open_root(&self.dir, &self.fuse);
        let folder = match own_uid() {
            0 => root()?.below_unless_strangers_link(flat.dir_name())?,
            _ => Folder::open(&self.dir.join(flat.dir_name()), Links::Refuse, &self.fuse)?,
        };
        let uid = folder.uid()?;
        if uid != 0 && root()?.uid_of(STORE_FILE) != Some(uid) {
            let reason = format!("it belongs to the user with number {uid}, who does not own the store");
            return Err(Error::garbage(folder.path(), reason));
        }
        Ok(folder.synced(self.is_synced))
    }
}

fn file_of(name: &str) -> Result<String, Error> {
    let normal = names::normalize(name).ok().filter(|name| name.len() <= NAME_MAX);
    normal.map(|name| format!("{name}{SUFFIX}")).ok_or_else(|| Error::Name(name.to_string()))
}

/// The name that a file is for.
fn name_of(file: &str) -> Option<String> {
    let name = file.strip_suffix(SUFFIX)?;
    file_of(name).is_ok_and(|normal| normal == file).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Fuse, Owner, WorkStore};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
    use std::path::{Path, PathBuf};
    use tempfile::TempDir;

    const NAME: &str = "a.test";
    const USER: u32 = 33;
    const MINUTES: Duration = Duration::from_secs(300);

    fn is_root() -> bool {
        own_uid() == 0
    }

    fn open(root: &Path) -> StartStore {
        StartStore::open(root, is_root().then_some(Owner { uid: USER, gid: USER })).unwrap()
    }

    fn store() -> (TempDir, PathBuf, StartStore) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("md");
        let store = open(&root);
        (dir, root, store)
    }

    fn read(store: &WorkStore) -> Result<Option<Value>, Error> {
        store.read_flat(Flat::Requests, NAME)
    }

    fn names(store: &StartStore, flat: Flat) -> Vec<String> {
        let mut names: Vec<_> = store.flat_stamps(flat).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn files_are_written_by_the_owner_and_read_by_all() {
        let (_dir, root, store) = store();
        for flat in Flat::ALL {
            assert_eq!(store.read_flat(flat, NAME).unwrap(), None);
            store.write_flat(flat, "A.test.", &json!({"id": 1})).unwrap();
            store.unsynced().write_flat(flat, "*.b.test", &json!({"id": 2})).unwrap();
            assert_eq!(store.worker().read_flat(flat, NAME).unwrap(), Some(json!({"id": 1})));
            assert_eq!(names(&store, flat), ["*.b.test", NAME]);
            let folder = root.join(flat.dir_name());
            for (path, mode) in
                [(folder.clone(), Flat::DIR_MODE), (folder.join("a.test.json"), Flat::FILE_MODE)]
            {
                let meta = fs::metadata(&path).unwrap();
                assert_eq!((meta.mode() & 0o7777, meta.uid()), (mode, own_uid()), "{}", path.display());
            }
            store.remove_flat(flat, NAME).unwrap();
            store.remove_flat(flat, NAME).unwrap();
            assert_eq!(names(&store, flat), ["*.b.test"]);
        }
        for bad in ["../a", "", ".hidden", "a/b", &format!("{}test", "a.".repeat(120))] {
            assert!(matches!(store.write_flat(Flat::Requests, bad, &json!({})), Err(Error::Name(_))));
        }
    }

    #[test]
    fn what_is_asked_of_the_fleet_stands_among_requests_and_is_that_of_no_name() {
        let (_dir, root, store) = store();
        let worker = store.worker();
        let before = worker.flat_stamp(Flat::Requests).unwrap();
        assert_eq!(worker.read_fleet_request().unwrap(), None);
        store.write_fleet_request(&json!({"id": 1})).unwrap();
        assert_ne!(worker.flat_stamp(Flat::Requests).unwrap(), before);
        assert_eq!(worker.read_fleet_request().unwrap(), Some(json!({"id": 1})));
        assert!(names(&store, Flat::Requests).is_empty(), "an httpd without a fleet passes it over");
        assert!(crate::names::normalize("+fleet").is_err());
        if is_root() {
            chown(root.join("requests/+fleet.json"), Some(1234), None).unwrap();
            assert!(worker.read_fleet_request().is_err(), "a stranger has no say");
        }
        store.remove_fleet_request().unwrap();
        store.remove_fleet_request().unwrap();
        assert_eq!(worker.read_fleet_request().unwrap(), None);
        store.write_fleet_request(&json!({"id": 2})).unwrap();
        store.remove_old_requests(Duration::ZERO, Timestamp::from_unix(1)).unwrap();
        assert_eq!(worker.read_fleet_request().unwrap(), None);
    }

    #[test]
    fn the_stamp_of_the_folder_changes_with_its_files() {
        let (_dir, root, store) = store();
        let worker = store.worker();
        let mut last = worker.flat_stamp(Flat::Requests).unwrap();
        assert!(last.is_some());
        for step in 0..4 {
            std::thread::sleep(Duration::from_millis(10));
            match step {
                3 => store.remove_flat(Flat::Requests, NAME).unwrap(),
                _ => store.write_flat(Flat::Requests, NAME, &json!(step)).unwrap(),
            }
            let stamp = worker.flat_stamp(Flat::Requests).unwrap();
            assert_ne!(stamp, last, "step {step}");
            last = stamp;
        }
        // A store of an httpd of an earlier version.
        fs::remove_dir(root.join("requests")).unwrap();
        assert_eq!(worker.flat_stamp(Flat::Requests).unwrap(), None);
        assert!(worker.flat_stamps(Flat::Requests).unwrap().is_empty() && read(&worker).unwrap().is_none());
    }

    /// What stands in the place of the file is refused with this reason, and a new file replaces it.
    fn refused(make: impl FnOnce(&Path), reason: &str) {
        let (dir, root, store) = store();
        fs::write(dir.path().join("outside"), "{\"id\": \"x\"}").unwrap();
        make(&root.join("requests/a.test.json"));
        let error = read(&store.worker()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("a.test.json"), "{reason}: {error}");
        store.write_flat(Flat::Requests, NAME, &json!(1)).unwrap();
        assert_eq!(read(&store.worker()).unwrap(), Some(json!(1)));
        assert_eq!(fs::read(dir.path().join("outside")).unwrap(), b"{\"id\": \"x\"}");
    }

    #[test]
    fn what_is_no_file_of_the_owner_is_not_read() {
        let outside = |file: &Path| file.ancestors().nth(3).unwrap().join("outside");
        refused(|file| symlink(outside(file), file).unwrap(), "symbolic link");
        refused(|file| fs::hard_link(outside(file), file).unwrap(), "hard link");
        let fifo = |file: &Path| mknodat(CWD, file, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        refused(fifo, "not a file");
        refused(|file| fs::write(file, "[".repeat(1000)).unwrap(), "recursion");
        refused(|file| fs::write(file, "not JSON").unwrap(), "expected");
        refused(|file| fs::write(file, "1".repeat(70_000)).unwrap(), "larger than 65536");
        if is_root() {
            let of_user = |file: &Path| {
                fs::write(file, "{}").unwrap();
                chown(file, Some(USER), None).unwrap();
            };
            refused(of_user, "belongs to the user with number 33");
        }
    }

    #[test]
    fn a_folder_of_another_user_is_not_looked_into() {
        if !is_root() {
            return;
        }
        let (_dir, root, store) = store();
        store.write_flat(Flat::Withdrawn, NAME, &json!(1)).unwrap();
        for folder in ["requests", "withdrawn"] {
            chown(root.join(folder), Some(USER), None).unwrap();
        }
        let error = store.worker().flat_stamps(Flat::Withdrawn).unwrap_err().to_string();
        assert!(error.contains("withdrawn") && error.contains("does not own the store"), "{error}");
        assert!(store.write_flat(Flat::Withdrawn, NAME, &json!(2)).is_err());
        let store = open(&root);
        assert_eq!(store.read_flat(Flat::Withdrawn, NAME).unwrap(), Some(json!(1)));
        assert_eq!(fs::metadata(root.join("requests")).unwrap().uid(), 0);
        // A link that root has not made leads nowhere.
        fs::rename(root.join("requests"), root.join("elsewhere")).unwrap();
        symlink(root.join("elsewhere"), root.join("requests")).unwrap();
        lchown(root.join("requests"), Some(USER), None).unwrap();
        let refused = StartStore::open(&root, Some(Owner { uid: USER, gid: USER })).err().unwrap();
        assert!(refused.to_string().contains("chown -h root"), "{refused}");
    }

    #[test]
    fn a_store_that_no_start_of_this_version_has_seen_gets_the_folder_of_withdrawn_sets() {
        let (_dir, root, store) = store();
        for folder in ["requests", "withdrawn"] {
            fs::remove_dir(root.join(folder)).unwrap();
        }
        store.write_flat(Flat::Withdrawn, NAME, &json!(1)).unwrap();
        assert_eq!(store.worker().read_flat(Flat::Withdrawn, NAME).unwrap(), Some(json!(1)));
        let meta = fs::metadata(root.join("withdrawn")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (own_uid(), Flat::DIR_MODE));
        // Nobody looks for requests there.
        assert!(store.write_flat(Flat::Requests, NAME, &json!(1)).unwrap_err().is_not_found());
        if is_root() {
            fs::remove_dir_all(root.join("withdrawn")).unwrap();
            for path in ["", "md_store.json"] {
                chown(root.join(path), Some(USER), None).unwrap();
            }
            store.write_flat(Flat::Withdrawn, NAME, &json!(1)).unwrap();
            for path in ["withdrawn", "withdrawn/a.test.json"] {
                assert_eq!(fs::metadata(root.join(path)).unwrap().uid(), USER, "{path}");
            }
        }
    }

    #[test]
    fn root_follows_no_link_that_an_ordinary_user_has_made() {
        if !is_root() {
            return;
        }
        let (dir, root, store) = store();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        for path in ["", "md_store.json"] {
            chown(root.join(path), Some(USER), None).unwrap();
        }
        for flat in Flat::ALL {
            let folder = root.join(flat.dir_name());
            fs::remove_dir(&folder).unwrap();
            symlink(&outside, &folder).unwrap();
            // The user may have taken root's link from elsewhere.
            for maker in [USER, 0] {
                lchown(&folder, Some(maker), None).unwrap();
                let error = store.write_flat(flat, NAME, &json!(1)).unwrap_err().to_string();
                assert!(error.contains("symbolic link") && error.contains(flat.dir_name()), "{error}");
            }
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // Root's link in a store of root's leads to another disk.
        chown(&root, Some(0), None).unwrap();
        for flat in Flat::ALL {
            store.write_flat(flat, NAME, &json!(1)).unwrap();
            assert_eq!(store.worker().read_flat(flat, NAME).unwrap(), Some(json!(1)));
        }
    }

    #[test]
    fn root_writes_for_the_ordinary_user_that_starts_httpd() {
        if !is_root() {
            return;
        }
        let (_dir, root, _) = store();
        for path in ["", "md_store.json", "requests", "withdrawn", "staging"] {
            chown(root.join(path), Some(USER), Some(USER)).unwrap();
        }
        let store = StartStore::open_existing(&root).unwrap();
        store.write_flat(Flat::Requests, NAME, &json!(1)).unwrap();
        assert_eq!(fs::metadata(root.join("requests/a.test.json")).unwrap().uid(), USER);
        assert_eq!(read(&store.worker()).unwrap(), Some(json!(1)));
        // Root's own file counts as well.
        chown(root.join("requests/a.test.json"), Some(0), None).unwrap();
        assert_eq!(read(&store.worker()).unwrap(), Some(json!(1)));
        chown(root.join("requests/a.test.json"), Some(1234), None).unwrap();
        assert!(read(&store.worker()).is_err());
    }

    #[test]
    fn two_writers_leave_one_whole_file() {
        let (_dir, root, store) = store();
        let long = "x".repeat(10_000);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (store, long) = (open(&root), &long);
                scope.spawn(move || {
                    for _ in 0..50 {
                        store
                            .unsynced()
                            .write_flat(Flat::Requests, NAME, &json!({"by": writer, "text": long}))
                            .unwrap();
                    }
                });
            }
            let worker = store.worker();
            for _ in 0..200 {
                if let Some(value) = read(&worker).unwrap() {
                    assert_eq!(value["text"].as_str().unwrap().len(), 10_000);
                }
            }
        });
        assert_eq!(fs::read_dir(root.join("requests")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_write_that_ends_anywhere_leaves_the_old_file_or_the_new() {
        for steps in 0..20 {
            let (_dir, root, store) = store();
            store.write_flat(Flat::Requests, NAME, &json!("old")).unwrap();
            let dying = StartStore::open_existing_with(&root, Fuse::after(steps)).unwrap();
            let is_done = dying.write_flat(Flat::Requests, NAME, &json!("new")).is_ok();
            let left = read(&store.worker()).unwrap().unwrap();
            assert!(left == json!("new") || (left == json!("old") && !is_done));
            if is_done {
                return;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn requests_that_nobody_waits_for_are_removed() {
        let (_dir, root, store) = store();
        store.write_flat(Flat::Requests, NAME, &json!(1)).unwrap();
        store.write_flat(Flat::Withdrawn, NAME, &json!(1)).unwrap();
        fs::write(root.join("requests/.b.test.json.1.0"), "").unwrap();
        symlink(&root, root.join("requests/c.test.json")).unwrap();
        let left = || fs::read_dir(root.join("requests")).unwrap().count();
        let now = crate::time::now();
        store.remove_old_requests(MINUTES, now).unwrap();
        assert_eq!(left(), 3);
        store.remove_old_requests(MINUTES, now.plus(MINUTES)).unwrap();
        assert_eq!((left(), names(&store, Flat::Withdrawn).len()), (0, 1));
        assert!(root.join("md_store.json").exists());
    }
}
