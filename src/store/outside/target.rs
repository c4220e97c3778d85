// SPDX-License-Identifier: Apache-2.0
//! A folder of another program that gets files with keys. It is opened once, without following a link; files
//! are made under names that cannot be guessed, get owner and mode by their descriptors, and then take their
//! places. Refuses folders in which users could interfere who are not to have the files.

use crate::crypto;
use crate::store::Error;
use crate::store::disk::rights::own_uid;
use crate::store::disk::{Access, Folder, Fuse, LockedFolder};
use data_encoding::HEXLOWER;
use std::path::Path;
use std::time::Duration;

/// What files have as long as they are not in their places.
const PREFIX: &str = ".a2md-";
const SUFFIX: &str = ".new";
/// Bytes of a file that is compared with a new one.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Owner and mode of a file. `None`: those of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: u32,
}

/// A file to be placed.
pub struct NewFile<'a> {
    pub name: &'a str,
    pub content: &'a [u8],
    pub rights: Rights,
}

/// The folder, held open.
pub struct Target(Folder);

impl Target {
    /// `uid` and `gid`: the user and the group who are to have the files, and may change the folder.
    pub fn open(path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<Self, Error> {
        Target::open_with(path, uid, gid, Fuse::default())
    }

    /// The same for tests that let the process die.
    pub fn open_with(path: &Path, uid: Option<u32>, gid: Option<u32>, fuse: Fuse) -> Result<Self, Error> {
        let folder = Folder::open_unlinked(path, &fuse)?;
        let (owner, mode) = (folder.owner()?, folder.mode()?);
        let refuse = |reason: String| Err(Error::refused(path, reason));
        if ![0, own_uid()].contains(&owner.uid) && Some(owner.uid) != uid {
            return refuse(format!(
                "it belongs to the user with number {}, who is not to have the files",
                owner.uid
            ));
        }
        if mode & 0o002 != 0 {
            return refuse("every user can write there".into());
        }
        if mode & 0o020 != 0 && owner.gid != 0 && Some(owner.gid) != gid {
            return refuse(format!(
                "the group with number {} can write there, which is not to have the files",
                owner.gid
            ));
        }
        Ok(Target(folder))
    }

    /// Keeps other calls from this folder; `None` where one holds it for longer than `within`.
    pub fn lock(&self, within: Duration) -> Result<Option<LockedFolder<'_>>, Error> {
        self.0.lock_itself(within)
    }

    /// Removes what calls that were killed have left. Only under the lock.
    pub fn remove_leftovers(&self) -> Result<(), Error> {
        for (name, _) in self.0.entries()? {
            match name.to_str() {
                Some(name) if name.starts_with(PREFIX) && name.ends_with(SUFFIX) => self.0.remove(name)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The content of a file and whether it has these rights; `None` where there is none that could be read.
    pub fn read(&self, name: &str, rights: Rights) -> Option<(Vec<u8>, bool)> {
        // A note in the folder may name it, and others may have written that.
        (!name.contains('/')).then_some(())?;
        let (content, mode, uid, gid) = self.0.read_with_rights(name, FILE_MAX).ok().flatten()?;
        let is = |wanted: Option<u32>, found: u32| wanted.is_none_or(|wanted| wanted == found);
        Some((content, is(rights.uid, uid) && is(rights.gid, gid) && mode == rights.mode))
    }

    /// Makes a file. `false`, and no change: something has this name, whatever it is, even where another process
    /// gives it at the same time.
    pub fn place_new(&self, file: &NewFile<'_>) -> Result<bool, Error> {
        let Rights { uid, gid, mode } = file.rights;
        self.0.write_new(file.name, file.content, Access { mode, uid, gid })
    }

    /// Removes a file; that there is none is fine.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        // As in `read`.
        if name.contains('/') { Ok(()) } else { self.0.remove(name) }
    }

    /// Puts the files into their places, one directly after the other in this order, once all are written. What
    /// is there, a link for example, is replaced.
    pub fn place(&self, files: &[NewFile<'_>]) -> Result<(), Error> {
        let files: Vec<_> = files
            .iter()
            .map(|file| {
                let random = crypto::random::<8>()
                    .map_err(|source| Error::Crypto { path: self.0.path().join(file.name), source })?;
                let temporary = format!("{PREFIX}{}{SUFFIX}", HEXLOWER.encode(&random));
                let Rights { uid, gid, mode } = file.rights;
                Ok((file.name, temporary, file.content, Access { mode, uid, gid }))
            })
            .collect::<Result<_, Error>>()?;
        self.0.replace_together(&files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    const OWN: Rights = Rights { uid: None, gid: None, mode: 0o600 };

    fn is_root() -> bool {
        own_uid() == 0
    }

    fn file<'a>(name: &'a str, content: &'a [u8]) -> NewFile<'a> {
        NewFile { name, content, rights: OWN }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_take_the_places_of_what_is_there_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        let folder = dir.path().join("to");
        fs::create_dir(&folder).unwrap();
        symlink(&outside, folder.join("key")).unwrap();
        let target = Target::open(&folder, None, None).unwrap();
        assert!(target.read("key", OWN).is_none() && target.read("../outside", OWN).is_none());
        target.place(&[file("key", b"k"), file("cert", b"c")]).unwrap();
        assert_eq!(target.read("key", OWN), Some((b"k".to_vec(), true)));
        assert_eq!(target.read("cert", Rights { mode: 0o644, ..OWN }), Some((b"c".to_vec(), false)));
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
        assert_eq!(names(&folder), ["cert", "key"]);
        fs::remove_file(folder.join("key")).unwrap();
        fs::create_dir(folder.join("key")).unwrap();
        assert!(target.place(&[file("cert", b"d"), file("key", b"k")]).is_err());
        assert_eq!(names(&folder), ["cert", "key"], "nothing is left over");
    }

    #[test]
    fn folders_that_others_can_change_and_links_to_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("to");
        fs::create_dir(&folder).unwrap();
        symlink(&folder, dir.path().join("link")).unwrap();
        let open = |path: &Path, uid| Target::open(path, uid, None).err().map(|error| error.to_string());
        for link in ["link", "link/", "link/."] {
            assert!(open(&dir.path().join(link), None).is_some(), "{link}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(open(&dir.path().join("file"), None).is_some());
        assert_eq!(open(&folder, None), None);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open(&folder, None).unwrap().contains("every user can write there"));
        if is_root() {
            chown(&folder, Some(1234), Some(1235)).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
            assert!(open(&folder, None).unwrap().contains("1234"));
            assert!(open(&folder, Some(1234)).unwrap().contains("1235"));
            assert!(Target::open(&folder, Some(1234), Some(1235)).is_ok());
        }
    }

    #[test]
    fn owner_group_and_mode_are_those_asked_for() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let target = Target::open(dir.path(), Some(1234), None).unwrap();
        let rights = Rights { uid: Some(1234), gid: Some(1235), mode: 0o640 };
        target.place(&[NewFile { name: "key", content: b"k", rights }]).unwrap();
        let meta = fs::metadata(dir.path().join("key")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 1235, 0o640));
        assert_eq!(target.read("key", rights), Some((b"k".to_vec(), true)));
    }

    #[test]
    fn a_call_that_dies_anywhere_leaves_no_half_file_and_the_next_one_clears_up() {
        for steps in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let good = Target::open(dir.path(), None, None).unwrap();
            good.place(&[file("a", b"old"), file("b", b"old")]).unwrap();
            let fuse = Fuse::after(usize::MAX);
            let dying = Target::open_with(dir.path(), None, None, fuse.clone()).unwrap();
            fuse.blow_after(steps);
            let is_done = dying.place(&[file("a", b"new"), file("b", b"new")]).is_ok();
            for name in ["a", "b"] {
                let content = fs::read_to_string(dir.path().join(name)).unwrap();
                assert!(["old", "new"].contains(&content.as_str()), "{content}");
            }
            let _held = good.lock(Duration::ZERO).unwrap().unwrap();
            good.remove_leftovers().unwrap();
            assert_eq!(names(dir.path()), ["a", "b"]);
            if is_done {
                assert!(steps > 5, "{steps}");
                return;
            }
        }
    }

    #[test]
    fn one_call_at_a_time_has_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Target::open(dir.path(), None, None).unwrap());
        let held = one.lock(Duration::ZERO).unwrap().unwrap();
        assert!(other.lock(Duration::from_millis(150)).unwrap().is_none());
        drop(held);
        assert!(other.lock(Duration::ZERO).unwrap().is_some());
    }
}
