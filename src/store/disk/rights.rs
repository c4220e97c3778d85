// SPDX-License-Identifier: Apache-2.0
//! Corrects the owners of files that are in the store already, after `User` has changed or somebody restored
//! the store.
//!
//! Anyone who could write to a folder may have put links to files elsewhere into it, or files that only they
//! could not read. So a folder is closed first, links are never followed, and a file with another hard link
//! is left alone.

use super::{Access, FOLDER, Folder, grant, read_whole};
use crate::store::{Error, Owner};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

/// Entries that are looked at in one folder. Those of the store have a few dozen files at most.
const ENTRIES_MAX: usize = 4096;

/// Only the process that corrects a folder can add to it in this mode, which no folder in order has.
const CLOSED: u32 = 0o500;

/// Whose files are handed over.
#[derive(Clone, Copy, PartialEq)]
pub enum Giver {
    /// Those of the folder's former owner: files of other users in there were not put there by us.
    Before,
    Anybody,
}

impl Folder {
    /// Whose this is.
    pub fn uid(&self) -> Result<u32, Error> {
        let meta = self.file.metadata().map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(meta.uid())
    }

    pub fn owner(&self) -> Result<Owner, Error> {
        let meta = self.file.metadata().map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(Owner { uid: meta.uid(), gid: meta.gid() })
    }

    /// Why a file here is not one that its owner put here, but another one that was given a name here.
    pub(super) fn stranger(&self, meta: &Metadata) -> Result<Option<String>, Error> {
        if meta.nlink() > 1 {
            return Ok(Some("it has another name elsewhere (a hard link)".into()));
        }
        let uid = meta.uid();
        let is_ours = uid == own_uid() || uid == self.uid()?;
        Ok((!is_ours).then(|| of_stranger(uid)))
    }

    /// [`Folder::read`] of a file that neither the user of this process nor anybody else may have written,
    /// but root or the folder's owner.
    pub fn read_of_owner(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        let Some(opened) = self.open_file(name, &path)? else { return Ok(None) };
        let uid = opened.0.metadata().map_err(|e| Error::io("reading", &path, e))?.uid();
        if uid != 0 && uid != self.uid()? {
            return Err(Error::garbage(&path, of_stranger(uid)));
        }
        read_whole(opened, &path, limit).map(Some)
    }

    /// Whether owner and mode are these.
    pub fn has(&self, access: Access) -> Result<bool, Error> {
        let meta = self.file.metadata().map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(access.uid.is_none_or(|uid| uid == meta.uid()) && meta.mode() & 0o7777 == access.mode)
    }

    /// Takes this folder from everyone until [`Folder::grant`].
    pub fn close(&self) -> Result<(), Error> {
        let closed = Access { mode: CLOSED, uid: Some(own_uid()), gid: None };
        self.fuse.burn().map_err(|e| Error::io("setting the rights of", &self.path, e))?;
        self.grant(closed)
    }

    /// The folders in here that have another owner, or where `mode` is given another mode, sorted. No link is
    /// one.
    pub fn folders_unlike(&self, uid: u32, mode: Option<u32>) -> Result<Vec<String>, Error> {
        let failed = |e: Errno| Error::io("listing", &self.path, e);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let may_be_folder = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if name == "." || name == ".." || !may_be_folder {
                continue;
            }
            match fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                    if stat.st_uid != uid || mode.is_some_and(|mode| mode != stat.st_mode & 0o7777) {
                        found.push(name.to_string());
                    }
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Gives the folder `name` and the plain files in it these rights; none of them becomes readable for more
    /// people than before. Returns the files that it left alone because they have names elsewhere as well.
    pub fn hand_over(
        &self,
        name: &str,
        folder: Access,
        file: Access,
        giver: Giver,
    ) -> Result<Vec<PathBuf>, Error> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io("setting the rights of", &path, e);
        let fd = match fs::openat(self.file.as_ref(), name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(e) => return Err(failed(e.into())),
        };
        let child = self.below(fd.into(), path.clone(), super::Links::Refuse);
        let before = child.uid()?;
        child.close()?;
        let mut left = Vec::new();
        for entry in Dir::read_from(&child.file).map_err(|e| failed(e.into()))?.take(ENTRIES_MAX) {
            let entry = entry.map_err(|e| failed(e.into()))?;
            if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            let is_left =
                child.hand_over_file(entry.file_name(), file, |uid| giver == Giver::Anybody || uid == before);
            if is_left.map_err(failed)? {
                left.push(path.join(entry.file_name().to_string_lossy().as_ref()));
            }
        }
        self.fuse.burn().map_err(failed)?;
        child.grant(folder)?;
        Ok(left)
    }

    /// Whether it was left alone, for it has another name somewhere.
    fn hand_over_file(
        &self,
        name: &CStr,
        access: Access,
        is_giver: impl Fn(u32) -> bool,
    ) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        // Skips links, sockets, and files removed meanwhile.
        let Ok(fd) = fs::openat(self.file.as_ref(), name, flags, Mode::empty()) else { return Ok(false) };
        let file = File::from(fd);
        let meta = file.metadata()?;
        let is_ours = Some(meta.uid()) == access.uid;
        if !meta.is_file() || !(is_ours || is_giver(meta.uid())) {
            return Ok(false);
        }
        if meta.nlink() > 1 {
            return Ok(!is_ours);
        }
        self.fuse.burn()?;
        let mode = meta.permissions().mode() & access.mode;
        grant(&file, Access { mode, ..access })?;
        Ok(false)
    }

    /// The owner of a file; `None` where there is none, or a link.
    pub fn uid_of(&self, name: &str) -> Option<u32> {
        let stat = fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_file().then_some(stat.st_uid)
    }

    /// Owner and group of a plain file in here.
    pub fn owner_of(&self, name: &str) -> Option<Owner> {
        let stat = fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
        FileType::from_raw_mode(stat.st_mode).is_file().then_some(owner)
    }

    /// Gives a plain file in here these rights, where it is no link and has no other name.
    pub fn reclaim_file(&self, name: &str, access: Access) -> Result<(), Error> {
        let path = self.path.join(name);
        let name = CString::new(name).map_err(|_| Error::Name(name.to_string()))?;
        let taken = self.hand_over_file(&name, access, |_| true);
        taken.map(drop).map_err(|e| Error::io("setting the rights of", &path, e))
    }

    /// The folder `name` in here, with links below it refused. It may be a link itself where nobody could have
    /// made or moved that but root or the user of this process.
    pub fn below_unless_strangers_link(&self, name: &str) -> Result<Folder, Error> {
        let path = self.path.join(name);
        let failed = |e: Errno| Error::io("opening folder", &path, e);
        let of_trusted = |uid: u32| uid == 0 || uid == own_uid();
        let open = |flags: OFlags| fs::openat(self.file.as_ref(), name, FOLDER | flags, Mode::empty());
        let fd = match open(OFlags::NOFOLLOW) {
            // POSIX has the second one for it, Linux the first one where only folders are opened.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                let is_link = FileType::from_raw_mode(stat.st_mode).is_symlink();
                if is_link && !(of_trusted(self.uid()?) && of_trusted(stat.st_uid)) {
                    return Err(Error::garbage(&path, "it is a symbolic link that root has not made"));
                }
                open(OFlags::empty()).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        Ok(self.below(fd.into(), path, super::Links::Refuse))
    }

    /// Whether this name is a link made by another user than the one that runs this process: its target
    /// cannot be trusted.
    pub fn is_strangers_link(&self, name: &str) -> bool {
        fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink() && stat.st_uid != own_uid())
    }
}

/// Why a file of this user is not read.
pub fn of_stranger(uid: u32) -> String {
    format!("it belongs to the user with number {uid}, who does not own its folder")
}

/// The user that runs this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
