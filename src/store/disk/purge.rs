// SPDX-License-Identifier: Apache-2.0
//! Removes folders in which others may have put anything, and finds wanted folders among any number of
//! others. Follows no links; the work is bounded, whatever others have put there.

use super::{Access, FOLDER, Folder, Links};
use crate::crypto;
use crate::store::Error;
use data_encoding::HEXLOWER;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// The depth of folders that is visited. Deeper ones are moved up first.
const DEPTH_MAX: usize = 8;
/// The number of entries that are removed at a time. A folder of the store has a few dozen files, and on a
/// slow disk each takes a millisecond.
const REMOVED_MAX: usize = 500;
/// A folder with more entries is renamed to a name with this prefix, which nothing looks for.
const SET_ASIDE: &str = ".removed.";
/// Strangers that are passed over for each wanted entry, before the wanted ones are looked for one by one.
const STRANGERS_EACH: usize = 16;

/// The kind of an entry with a wanted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Folder,
    Other,
}

impl Folder {
    /// Removes `name`, be it a folder with all its content, in the order of the names, or anything else.
    /// Links are removed, never followed.
    pub fn purge(&self, name: &str) -> Result<(), Error> {
        self.purge_but(name, &[])
    }

    /// The same, but these files in the folder stay.
    pub fn purge_but(&self, name: &str, kept: &[&str]) -> Result<(), Error> {
        let name = OsStr::new(name);
        let Some(folder) = self.to_purge(name)? else { return Ok(()) };
        let mut left = REMOVED_MAX;
        loop {
            match folder.empty(&folder, DEPTH_MAX, kept, &mut left) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if left == 0 => return self.set_aside(name),
                Err(error) => return Err(error),
            }
        }
        if kept.is_empty() || folder.some_entries(0)?.is_empty() {
            self.unlink(name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }

    /// [`Folder::write`] where a folder may have been put in the file's place.
    pub fn write_over(&self, name: &str, content: &[u8], access: Access) -> Result<(), Error> {
        match self.write(name, content, access) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::IsADirectory => {
                self.purge(name)?;
                self.write(name, content, access)
            }
            written => written,
        }
    }

    /// The folder `name`; `None` where there is none any more.
    fn to_purge(&self, name: &OsStr) -> Result<Option<Folder>, Error> {
        let path = self.path.join(name);
        match fs::openat(self.file.as_ref(), name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Some(self.below(fd.into(), path, Links::Refuse))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => self.unlink(name, AtFlags::empty()).map(|()| None),
            Err(e) => Err(Error::io("opening folder", &path, e)),
        }
    }

    /// Removes everything in here, but moves entries that are too deep up to `top`. Returns whether it moved
    /// any.
    fn empty(&self, top: &Folder, depth: usize, kept: &[&str], left: &mut usize) -> Result<bool, Error> {
        let mut has_moved = false;
        for entry in self.some_entries(*left)? {
            let is_kept = kept.iter().any(|name| entry == *name);
            if is_kept && !self.leads_to_folder(&entry) {
                continue;
            }
            *left = left.checked_sub(1).ok_or_else(|| {
                Error::garbage(&top.path, format!("it has more than {REMOVED_MAX} entries"))
            })?;
            if depth == 0 {
                has_moved |= self.move_up(&entry, top)?;
            } else if let Some(folder) = self.to_purge(&entry)? {
                has_moved |= folder.empty(top, depth - 1, &[], left)?;
                self.unlink(&entry, AtFlags::REMOVEDIR)?;
            }
        }
        Ok(has_moved)
    }

    /// Takes a folder out of the way that is too large to be removed while others wait.
    fn set_aside(&self, name: &OsStr) -> Result<(), Error> {
        let path = self.path.join(name);
        if let Some(aside) = self.move_to(name, self, SET_ASIDE)? {
            crate::log!(
                Warn,
                "{} was to be removed and has more than {REMOVED_MAX} entries, which takes too long: it is {} now. Remove \
                 that, and where mod_md has not made it, look for who has",
                path.display(),
                self.path.join(aside).display()
            );
        }
        Ok(())
    }

    fn move_up(&self, entry: &OsStr, top: &Folder) -> Result<bool, Error> {
        Ok(self.move_to(entry, top, ".deep.")?.is_some())
    }

    /// Moves an entry to a random name, which cannot exist yet.
    fn move_to(&self, entry: &OsStr, top: &Folder, prefix: &str) -> Result<Option<String>, Error> {
        let path = self.path.join(entry);
        let failed = |e: io::Error| Error::io("removing", &path, e);
        let random: [u8; 16] = crypto::random().map_err(|e| failed(io::Error::other(e)))?;
        self.fuse.burn().map_err(failed)?;
        let name = format!("{prefix}{}", HEXLOWER.encode(&random));
        match fs::renameat(self.file.as_ref(), entry, top.file.as_ref(), &name) {
            Ok(()) => Ok(Some(name)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Names in here, sorted: all, or one more than `limit`.
    fn some_entries(&self, limit: usize) -> Result<Vec<OsString>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(self.file.as_ref()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                found.push(name.to_os_string());
            }
            if found.len() > limit {
                break;
            }
        }
        found.sort();
        Ok(found)
    }

    /// Which of the wanted names are here. Costs no more than these, whatever else is here.
    pub fn present(&self, wanted: &HashSet<String>) -> Result<Vec<(String, Kind)>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut strangers = wanted.len().saturating_add(64).saturating_mul(STRANGERS_EACH);
        let mut found = Vec::new();
        for entry in Dir::read_from(self.file.as_ref()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_str().ok().and_then(|name| wanted.get(name));
            match (name, entry.file_type()) {
                (Some(name), FileType::Directory) => found.push((name.clone(), Kind::Folder)),
                (Some(name), _) => found.extend(self.kind(name)?.map(|kind| (name.clone(), kind))),
                (None, _) if strangers == 0 => {
                    let kinds = wanted.iter().map(|name| Ok((name.clone(), self.kind(name)?)));
                    let kinds = kinds.filter_map(|kind: Result<_, Error>| match kind {
                        Ok((name, kind)) => kind.map(|kind| Ok((name, kind))),
                        Err(error) => Some(Err(error)),
                    });
                    return kinds.collect();
                }
                (None, _) => strangers -= 1,
            }
        }
        Ok(found)
    }

    fn kind(&self, name: &str) -> Result<Option<Kind>, Error> {
        match fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => Ok(Some(Kind::Folder)),
            Ok(_) => Ok(Some(Kind::Other)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::io("reading", &self.path.join(name), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::Fuse;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::{fs, iter};

    fn folder(path: &std::path::Path) -> Folder {
        Folder::open(path, Links::Refuse, &Fuse::default()).unwrap()
    }

    #[test]
    fn a_folder_is_removed_however_deep_it_is_and_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let here = dir.path().join("here");
        for depth in [0, 7, 8, 9, 10, 25, 100] {
            let mut path = here.join("a.test");
            fs::create_dir_all(&path).unwrap();
            for level in 0..depth {
                fs::write(path.join(format!("file-{level}")), "x").unwrap();
                symlink(&outside, path.join("link")).unwrap();
                path = path.join("d");
                fs::create_dir(&path).unwrap();
            }
            folder(&here).purge("a.test").unwrap();
            assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "{depth}");
        }
        symlink(&outside, here.join("a.test")).unwrap();
        folder(&here).purge("a.test").unwrap();
        assert!(outside.join("kept").exists() && !here.join("a.test").exists());
    }

    #[test]
    fn what_would_take_too_long_to_remove_is_out_of_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("a.test");
        let deep: PathBuf = iter::repeat_n("d", REMOVED_MAX + 100).collect();
        fs::create_dir_all(here.join(deep)).unwrap();
        folder(dir.path()).purge("a.test").unwrap();
        assert!(!here.exists());
        fs::create_dir(&here).unwrap();
        (0..=REMOVED_MAX).for_each(|n| fs::write(here.join(n.to_string()), "").unwrap());
        folder(dir.path()).purge("a.test").unwrap();
        assert!(!here.exists());
        let left = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.map(|name| name.to_string_lossy().starts_with(SET_ASIDE)).collect();
        assert_eq!(left, [true; 2]);
    }

    #[test]
    fn files_that_stay_are_all_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("a.test");
        for (kept, expected) in
            [(&["job.json", "none"][..], Some("job.json")), (&["in"], None), (&["none"], None)]
        {
            fs::create_dir_all(here.join("in/job.json")).unwrap();
            fs::write(here.join("job.json"), "x").unwrap();
            fs::write(here.join("other"), "x").unwrap();
            folder(dir.path()).purge_but("a.test", kept).unwrap();
            let left = fs::read_dir(&here).ok().map(|left| left.map(|e| e.unwrap().file_name()).collect());
            assert_eq!(left, expected.map(|name| vec![OsString::from(name)]), "{kept:?}");
        }
    }

    #[test]
    fn a_removal_that_ends_anywhere_is_ended_by_the_next() {
        for steps in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let path: PathBuf = iter::repeat_n("d", 30).collect();
            fs::create_dir_all(dir.path().join("a.test").join(path)).unwrap();
            let dying = Folder::open(dir.path(), Links::Refuse, &Fuse::after(steps)).unwrap();
            let is_done = dying.purge("a.test").is_ok();
            folder(dir.path()).purge("a.test").unwrap();
            assert!(!dir.path().join("a.test").exists());
            if is_done {
                assert!(steps > 30);
                return;
            }
        }
    }

    #[test]
    fn wanted_entries_are_found_among_however_many_strangers() {
        let dir = tempfile::tempdir().unwrap();
        let wanted: HashSet<String> = ["a.test", "b.test", "c.test", "none.test"].map(String::from).into();
        fs::create_dir(dir.path().join("a.test")).unwrap();
        fs::write(dir.path().join("b.test"), "x").unwrap();
        symlink("a.test", dir.path().join("c.test")).unwrap();
        let found = || {
            let mut found = folder(dir.path()).present(&wanted).unwrap();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.into_iter().map(|(name, kind)| format!("{name} {kind:?}")).collect::<Vec<_>>()
        };
        let expected = ["a.test Folder", "b.test Other", "c.test Other"];
        assert_eq!(found(), expected);
        (0..1100).for_each(|i| fs::create_dir(dir.path().join(format!("s{i}.test"))).unwrap());
        assert_eq!(found(), expected);
    }
}
