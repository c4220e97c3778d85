// SPDX-License-Identifier: Apache-2.0
//! Opens and locks lock files. Refuses everything but plain files, and neither reads nor replaces their
//! content.

use super::{Access, Folder, LockedFolder, grant, has_rights};
use crate::store::Error;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The time between two tries: flock(2) itself knows no deadline.
const PAUSE: Duration = Duration::from_millis(100);
/// Tries to open a lock file that others remove or put something else in place of.
const TRIES: usize = 100;
/// How long to wait for the lock of the folder, which nobody needs for long.
const GUARD: Duration = Duration::from_secs(2);

/// A file whose lock this process holds, until it is dropped.
#[must_use]
pub struct LockedFile(File);

impl LockedFile {
    /// Whether another's lock is in its way: then the file stays as it was.
    pub fn take(file: File) -> io::Result<Result<Self, File>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(LockedFile(file))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Err(file)),
            Err(error) => Err(error.into()),
        }
    }

    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // A process forked for a command shares the lock until it executes that: closing alone would leave it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Folder {
    /// A file for flock(2), made where there is none.
    pub fn open_lock(&self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        // CLOEXEC: commands that run while it is held must not keep it. NONBLOCK: a planted FIFO must not
        // hold up the start.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = fs::openat(self.file.as_ref(), name, flags, Mode::RUSR | Mode::WUSR);
        let file = fd.map(File::from).map_err(|e| Error::io("opening", &path, e))?;
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(Error::garbage(&path, "it is not a file")),
            Err(e) => Err(Error::io("opening", &path, e)),
        }
    }

    /// The same where others can write and root locks as well: the file gets these rights, and anything else
    /// in its place is removed. Files are given rights and are removed under the lock of the folder alone:
    /// otherwise one process could remove what another has just put in order and locked.
    fn open_shared_lock(&self, name: &str, access: Access) -> Result<File, Error> {
        if let Some(file) = self.open_in_order(name, access) {
            return Ok(file);
        }
        let path = self.path.join(name);
        let mut reason = "it is not a file".to_string();
        for _ in 0..TRIES {
            let _guard = self.guard()?;
            match self.open_lock(name) {
                Ok(file) => match self.put_in_order(name, file, access)? {
                    Ok(file) => return Ok(file),
                    Err(found) => reason = found,
                },
                Err(error) => match error.os_error().map(Errno::from_raw_os_error) {
                    // No plain file, or one of an earlier `User`.
                    None | Some(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::ACCESS | Errno::PERM) => {
                        self.remove(name)?
                    }
                    // Another's lock may stand there.
                    Some(_) => return Err(error),
                },
            }
        }
        Err(Error::garbage(&path, reason))
    }

    /// Takes the lock of a file as [`Folder::open_shared_lock`] opens it. The inner error: the file that another
    /// has locked.
    pub fn take_shared_lock(&self, name: &str, access: Access) -> Result<Result<LockedFile, File>, Error> {
        let failed = |e: io::Error| Error::io("locking", &self.path.join(name), e);
        loop {
            match self.try_lock(name, self.open_shared_lock(name, access)?)? {
                // Its holder has just removed it, or somebody has put another one in its place.
                Ok(held) if !self.holds(name, held.file()) => {}
                Ok(held) if self.odd(&held.file().metadata().map_err(failed)?, access)?.is_some() => {}
                taken => return Ok(taken),
            }
        }
    }

    /// The file, if it is there and needs no change.
    fn open_in_order(&self, name: &str, access: Access) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(fs::openat(self.file.as_ref(), name, flags, Mode::empty()).ok()?);
        let meta = file.metadata().ok()?;
        let is_ours = meta.is_file() && self.odd(&meta, access).ok()?.is_none();
        (is_ours && has_rights(&meta, access)).then_some(file)
    }

    /// Why a file is none that this module has put here. One that was given these rights is, also in a folder
    /// that belongs to root.
    fn odd(&self, meta: &Metadata, access: Access) -> Result<Option<String>, Error> {
        let is_given = access.uid == Some(meta.uid()) && meta.nlink() <= 1;
        if is_given { Ok(None) } else { self.stranger(meta) }
    }

    /// The inner error: it was another's and is removed, or is another one by now.
    fn put_in_order(&self, name: &str, file: File, access: Access) -> Result<Result<File, String>, Error> {
        let failed = |e: io::Error| Error::io("locking", &self.path.join(name), e);
        let Some(found) = self.odd(&file.metadata().map_err(failed)?, access)? else {
            return grant(&file, access).map(|()| Ok(file)).map_err(failed);
        };
        match LockedFile::take(file).map_err(failed)? {
            Ok(held) if self.holds(name, held.file()) => self.remove(name)?,
            Ok(_) => {}
            // It was in order when its holder took it.
            Err(file) => return Ok(Ok(file)),
        }
        Ok(Err(found))
    }

    /// The lock of the folder. Without one where its file system knows none.
    fn guard(&self) -> Result<Option<LockedFolder<'_>>, Error> {
        match self.lock_itself(GUARD) {
            Ok(None) => Err(Error::io("locking", &self.path, io::Error::from(io::ErrorKind::WouldBlock))),
            Ok(guard) => Ok(guard),
            Err(_) => Ok(None),
        }
    }

    /// Takes the lock of a file until that is dropped; `None` where another holds it for longer than `within`.
    pub fn lock(&self, name: &str, within: Duration) -> Result<Option<LockedFile>, Error> {
        let mut next = Some(self.open_lock(name)?);
        let mut held = None;
        wait(within, || {
            let Some(file) = next.take() else { return Ok(true) };
            match self.try_lock(name, file)? {
                Ok(locked) => held = Some(locked),
                Err(file) => next = Some(file),
            }
            Ok(held.is_some())
        })?;
        Ok(held)
    }

    /// The same as [`Folder::take_shared_lock`] takes it.
    pub fn lock_shared(
        &self,
        name: &str,
        access: Access,
        within: Duration,
    ) -> Result<Option<LockedFile>, Error> {
        let mut held = None;
        wait(within, || {
            held = self.take_shared_lock(name, access)?.ok();
            Ok(held.is_some())
        })?;
        Ok(held)
    }

    fn try_lock(&self, name: &str, file: File) -> Result<Result<LockedFile, File>, Error> {
        LockedFile::take(file).map_err(|error| Error::io("locking", &self.path.join(name), error))
    }

    /// Whether `name` is still this file.
    pub fn holds(&self, name: &str, file: &File) -> bool {
        let there = fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW);
        let own = file.metadata();
        own.is_ok_and(|own| there.is_ok_and(|there| (there.st_dev, there.st_ino) == (own.dev(), own.ino())))
    }
}

/// Tries until it succeeds, for as long as `within`.
fn wait(within: Duration, mut succeeds: impl FnMut() -> Result<bool, Error>) -> Result<bool, Error> {
    let deadline = Instant::now() + within;
    loop {
        if succeeds()? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(left.min(PAUSE));
    }
}
