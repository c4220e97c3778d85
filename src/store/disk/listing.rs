// SPDX-License-Identifier: Apache-2.0
//! Lists the entries of a folder, and the stamps by which a reader notices changes without opening files.
//! Opens no file, and follows a link only to see whether it leads to a folder. Imports the folder above.

use super::{FOLDER, Folder};
use crate::store::Error;
use crate::time::Timestamp;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Identifies the state of a folder: differs once a file in it is made, replaced or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    /// In nanoseconds since the epoch.
    modified: i128,
}

impl Stamp {
    pub(super) fn of(stat: &fs::Stat) -> Self {
        // Their types differ from one platform to the next.
        let (seconds, nanoseconds) = (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec));
        Stamp { inode: stat.st_ino, modified: seconds * 1_000_000_000 + nanoseconds }
    }

    pub fn modified(self) -> Timestamp {
        Timestamp::from_unix_millis(i64::try_from(self.modified / 1_000_000).unwrap_or(i64::MAX))
    }
}

impl Folder {
    /// Names of everything in here, sorted, and whether each is (or leads to) a folder.
    pub fn entries(&self) -> Result<Vec<(OsString, bool)>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(self.file.as_ref()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown | FileType::Symlink => self.leads_to_folder(name),
                _ => false,
            };
            found.push((name.to_os_string(), is_folder));
        }
        found.sort();
        Ok(found)
    }

    /// The folders in here, each with its stamp. Links, and folders removed meanwhile, are left out.
    pub fn stamps(&self) -> Result<Vec<(String, Stamp)>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.starts_with('.') || !matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            {
                continue;
            }
            match fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                    found.push((name.to_string(), Stamp::of(&stat)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(found)
    }

    /// The stamp of this folder itself.
    pub fn stamp(&self) -> Result<Stamp, Error> {
        let stat = fs::fstat(self.file.as_ref()).map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(Stamp::of(&stat))
    }

    /// The stamp of a plain file in here; `None` where there is none that could be looked at.
    pub fn stamp_of(&self, name: &str) -> Option<Stamp> {
        let stat = fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_file().then(|| Stamp::of(&stat))
    }

    /// The plain files in here, each with its stamp. Temporary ones, links, and files removed meanwhile are
    /// left out.
    pub fn file_stamps(&self) -> Result<Vec<(String, Stamp)>, Error> {
        let is_plain = |name: &str, stat: &fs::Stat| {
            !name.starts_with('.') && FileType::from_raw_mode(stat.st_mode).is_file()
        };
        self.stamps_of(is_plain)
    }

    /// Everything in here with a name in UTF-8, each with its own stamp.
    pub fn all_stamps(&self) -> Result<Vec<(String, Stamp)>, Error> {
        self.stamps_of(|_, _| true)
    }

    fn stamps_of(&self, is_wanted: impl Fn(&str, &fs::Stat) -> bool) -> Result<Vec<(String, Stamp)>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            match fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_wanted(name, &stat) => found.push((name.to_string(), Stamp::of(&stat))),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(found)
    }

    /// Whether `name` is a folder, or a link to one where this folder follows links.
    pub(super) fn leads_to_folder(&self, name: &OsStr) -> bool {
        fs::openat(self.file.as_ref(), name, FOLDER | self.links.flags(), Mode::empty()).is_ok()
    }
}
