// SPDX-License-Identifier: Apache-2.0
//! Looks at the entries of a folder as they are, without following links. Opens no file. Imports the folder
//! above.

use super::{Folder, Stamp};
use crate::store::Error;
use crate::time::Timestamp;
use rustix::fs::{self, AtFlags, Dir, FileType};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    File,
    Folder,
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// An entry of a folder, as it is without following links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: OsString,
    pub sort: Sort,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// It is a file with another hard link.
    pub has_other_names: bool,
    pub size: u64,
    /// Which one it is, and when its content changed last.
    pub stamp: Stamp,
    /// The later of the times at which content and attributes changed last: no program can set that back.
    pub changed: Timestamp,
}

impl Found {
    fn of(name: &OsStr, stat: &fs::Stat) -> Self {
        let sort = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Folder,
            FileType::Symlink => Sort::Link,
            _ => Sort::Other,
        };
        // Their types differ from one platform to the next.
        let changed = i128::from(stat.st_ctime).max(i128::from(stat.st_mtime));
        Found {
            name: name.to_os_string(),
            sort,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            has_other_names: sort == Sort::File && stat.st_nlink > 1,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            stamp: Stamp::of(stat),
            changed: Timestamp::from_unix(i64::try_from(changed).unwrap_or_default()),
        }
    }
}

impl Folder {
    /// Everything in here, sorted by name; at most `limit` entries, more are an error.
    pub fn look(&self, limit: usize) -> Result<Vec<Found>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(self.file.as_ref()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push(Found::of(name, &stat)),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(failed(e)),
            }
            if found.len() > limit {
                return Err(Error::garbage(&self.path, format!("it has more than {limit} entries")));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}
