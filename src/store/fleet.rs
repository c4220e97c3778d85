// SPDX-License-Identifier: Apache-2.0
//! `fleet/`: what the child that replicates the store keeps: its lock, its state, the sets of the fleet, and
//! what it tells status pages. Of httpd's `User` alone; all but the report is sealed with the store's key, each
//! file under its own name. Does not know what a fleet is.

use super::disk::{Folder, Links, LockedFile};
use super::json::{self, json_bytes};
use super::layout::{FILE_MAX, JSON_MAX, Layout};
use super::lock::{Holder, holder_in, sign};
use super::sealed::{Opened, make_folder_of};
use super::{Error, Rights, Stamp, StartStore, Store, WorkStore, setup};
use crate::crypto::sha256;
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use serde_json::Value;
use std::io;
use std::os::unix::fs::MetadataExt;

const DIR: &str = "fleet";
const LOCK_FILE: &str = "lock";
const STATE_FILE: &str = "state.json";
/// It has an entry for each domain: a hundred thousand of them, with names of 60 letters, take a third.
const STATE_MAX: u64 = 32 * 1024 * 1024;
const STATUS_FILE: &str = "status.json";
const SET_PREFIX: &str = "set-";
const SET_SUFFIX: &str = ".json";

/// The lock of the one process that replicates the store. Released by the kernel when the process ends, and
/// not passed on to commands.
#[must_use]
pub struct FleetLock {
    folder: Folder,
    held: LockedFile,
}

impl StartStore {
    /// Makes the folder, where a fleet is configured, and gives it with its files to the workers.
    pub fn make_fleet_folder(&self) -> Result<(), Error> {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        make_folder_of(&root, DIR, self.layout.owner)
    }

    /// When the set of an MD was written, or last touched; `None` where there is none.
    pub fn fleet_set_modified(&self, name: &str) -> Option<Timestamp> {
        Some(self.layout.fleet().ok()?.stamp_of(&set_file(name))?.modified())
    }

    /// Notes that the set of an MD was looked at.
    pub fn touch_fleet_set(&self, name: &str) -> Result<(), Error> {
        self.layout.fleet()?.touch(&set_file(name))
    }
}

impl WorkStore {
    /// Takes the lock of the process that replicates the store. The inner error is who has it.
    pub fn lock_fleet(&self, own: &Holder) -> Result<Result<FleetLock, Holder>, Error> {
        let folder = self.layout.fleet()?;
        let failed = |error: io::Error| Error::io("locking", &folder.path().join(LOCK_FILE), error);
        match folder.take_shared_lock(LOCK_FILE, self.layout.sealed_access())? {
            Ok(held) => {
                sign(held.file(), own).map_err(failed)?;
                Ok(Ok(FleetLock { folder, held }))
            }
            Err(file) => holder_in(&file).map(Err).map_err(failed),
        }
    }

    pub fn write_fleet_state(&self, content: &[u8]) -> Result<(), Error> {
        self.layout.write_sealed(&self.layout.fleet()?, DIR, STATE_FILE, content)
    }

    /// The sets of the fleet, as far as they can be read, and the errors of the others.
    pub fn read_fleet_sets(&self) -> Result<(Vec<Opened>, Vec<Error>), Error> {
        let folder = self.layout.fleet()?;
        let (mut sets, mut errors) = (Vec::new(), Vec::new());
        for (file, is_folder) in folder.entries()? {
            let Some(file) = file.to_str().filter(|file| !is_folder && is_set(file)) else { continue };
            match self.layout.open_sealed(&folder, DIR, file, FILE_MAX) {
                Ok(set) => sets.extend(set),
                Err(error) => errors.push(error),
            }
        }
        Ok((sets, errors))
    }

    pub fn write_fleet_set(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.layout.write_sealed(&self.layout.fleet()?, DIR, &set_file(name), content)
    }

    pub fn remove_fleet_set(&self, name: &str) -> Result<(), Error> {
        self.layout.fleet()?.remove(&set_file(name))
    }

    /// What status pages show. Does not wait for the disk.
    pub fn write_fleet_status(&self, report: &Value) -> Result<(), Error> {
        let folder = self.layout.fleet()?.synced(false);
        folder.write(STATUS_FILE, &json_bytes(report), self.layout.sealed_access())
    }
}

impl<R: Rights> Store<R> {
    /// The state that an earlier process has left.
    pub fn read_fleet_state(&self) -> Result<Option<Opened>, Error> {
        self.layout.open_sealed(&self.layout.fleet()?, DIR, STATE_FILE, STATE_MAX)
    }

    pub fn read_fleet_set(&self, name: &str) -> Result<Option<Opened>, Error> {
        self.layout.open_sealed(&self.layout.fleet()?, DIR, &set_file(name), FILE_MAX)
    }

    /// Changes when what that child has told does; `None` where it has told nothing.
    pub fn fleet_status_stamp(&self) -> Option<Stamp> {
        self.layout.fleet().ok()?.stamp_of(STATUS_FILE)
    }

    /// What the child that replicates the store has told last; `None` where there is none.
    pub fn read_fleet_status(&self) -> Result<Option<Value>, Error> {
        let folder = match self.layout.fleet() {
            Err(error) if error.is_not_found() => return Ok(None),
            folder => folder?,
        };
        let Some(content) = folder.read(STATUS_FILE, JSON_MAX)? else { return Ok(None) };
        let garbage = |reason: String| Error::garbage(&folder.path().join(STATUS_FILE), reason);
        json::read(content).map(Some).map_err(garbage)
    }
}

impl FleetLock {
    /// Whether it still keeps others out: its file may have been removed.
    pub fn is_held(&self) -> bool {
        self.folder.holds(LOCK_FILE, self.held.file())
    }

    /// Differs in a copy of the store: file system and number of the file.
    pub fn place(&self) -> String {
        let meta = self.held.file().metadata();
        meta.map(|meta| format!("{:x}-{:x}", meta.dev(), meta.ino())).unwrap_or_default()
    }
}

impl Layout {
    fn fleet(&self) -> Result<Folder, Error> {
        let folder = Folder::open(&self.dir.join(DIR), Links::Refuse, &self.fuse)?;
        Ok(folder.synced(self.is_synced))
    }
}

/// Names are as long as names of files may be, and hold characters that ours have not.
fn set_file(name: &str) -> String {
    format!("{SET_PREFIX}{}{SET_SUFFIX}", HEXLOWER.encode(&sha256(name.as_bytes())))
}

fn is_set(file: &str) -> bool {
    let digits = file.strip_prefix(SET_PREFIX).and_then(|file| file.strip_suffix(SET_SUFFIX));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StartStore;
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn one_process_replicates_and_its_files_are_sealed_each_under_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let start = StartStore::open(&dir.path().join("md"), None).unwrap();
        assert!(start.read_fleet_status().unwrap().is_none() && start.worker().read_fleet_state().is_err());
        start.make_fleet_folder().unwrap();
        let (store, own) = (start.worker(), Holder::own(1, NOW));
        let held = store.lock_fleet(&own).unwrap().unwrap();
        assert_eq!(start.worker().lock_fleet(&Holder::own(2, NOW)).unwrap().err(), Some(own.clone()));
        assert!(held.is_held() && !held.place().is_empty());
        store.write_fleet_state(b"state").unwrap();
        store.write_fleet_set("*.a.test", b"one").unwrap();
        store.write_fleet_set("b.test", b"two").unwrap();
        assert_eq!(store.read_fleet_state().unwrap().unwrap().as_slice(), b"state");
        let folder = dir.path().join("md/fleet");
        // Values take many times as much memory as their text: root reads it, too.
        std::fs::write(folder.join("state.json"), format!("{{\"x\":[{}0]}}", "0,".repeat(200_000))).unwrap();
        let refused = store.read_fleet_state().err().unwrap().to_string();
        assert!(refused.contains("values"), "{refused}");
        let file = folder.join(set_file("b.test"));
        assert!(!std::fs::read_to_string(&file).unwrap().contains("two"));
        std::fs::copy(&file, folder.join(set_file("c.test"))).unwrap();
        let (sets, errors) = store.read_fleet_sets().unwrap();
        let mut sets: Vec<_> = sets.iter().map(|set| set.to_vec()).collect();
        sets.sort();
        assert_eq!(
            (sets, errors.len()),
            (vec![b"one".to_vec(), b"two".to_vec()], 1),
            "a renamed one is refused"
        );
        assert!(store.read_fleet_set("c.test").is_err());
        store.remove_fleet_set("b.test").unwrap();
        assert!(store.read_fleet_set("b.test").unwrap().is_none());
        drop(held);
        drop(store.lock_fleet(&own).unwrap().unwrap());
    }
}
