// SPDX-License-Identifier: Apache-2.0
//! Opens and locks lock files. Refuses everything but plain files, and neither reads nor replaces their
//! content.

use super::{Access, Folder, grant};
use crate::store::Error;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The time between two tries: flock(2) itself knows no deadline.
const PAUSE: Duration = Duration::from_millis(100);
/// Tries to open a lock file that others remove or put something else in place of.
const TRIES: usize = 100;
/// Of these, with a pause before each, tries of a file that cannot be opened: root has just made it, and gives it
/// away at once.
const REFUSALS: usize = 10;
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

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
    /// in its place is removed.
    pub fn open_shared_lock(&self, name: &str, access: Access) -> Result<File, Error> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io("locking", &path, e);
        let mut reason = "it is not a file".to_string();
        for n in 0..TRIES {
            let file = match self.open_lock(name) {
                Ok(file) => file,
                Err(error) => {
                    match error.os_error().map(Errno::from_raw_os_error) {
                        // No plain file.
                        None | Some(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => self.remove(name)?,
                        Some(Errno::ACCESS | Errno::PERM) if n < REFUSALS => {
                            std::thread::sleep(REFUSED_PAUSE)
                        }
                        Some(Errno::ACCESS | Errno::PERM) => self.remove(name)?,
                        // Another's lock may stand there.
                        Some(_) => return Err(error),
                    }
                    continue;
                }
            };
            match self.stranger(&file.metadata().map_err(failed)?)? {
                None => return grant(&file, access).map(|()| file).map_err(failed),
                Some(found) => reason = found.to_string(),
            }
            // One that its holder has just removed is no stranger's: what stands there now is another's lock.
            if self.holds(name, &file) {
                self.remove(name)?;
            }
        }
        Err(Error::garbage(&path, reason))
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

    /// The same of a file as [`Folder::open_shared_lock`] opens it.
    pub fn lock_shared(
        &self,
        name: &str,
        access: Access,
        within: Duration,
    ) -> Result<Option<LockedFile>, Error> {
        let mut held = None;
        wait(within, || {
            let file = self.open_shared_lock(name, access)?;
            // One who could not open it may have put another in its place.
            held = self.try_lock(name, file)?.ok().filter(|held| self.holds(name, held.file()));
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
