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
        if let Ok(file) = self.open_lock(name)
            && self.stranger(&file.metadata().map_err(failed)?)?.is_none()
        {
            grant(&file, access).map_err(failed)?;
            return Ok(file);
        }
        self.remove(name)?;
        let file = self.open_lock(name)?;
        match self.stranger(&file.metadata().map_err(failed)?)? {
            Some(reason) => Err(Error::garbage(&path, reason)),
            None => grant(&file, access).map(|()| file).map_err(failed),
        }
    }

    /// Takes the lock of a file until that is dropped; `None` where another holds it for longer than `within`.
    pub fn lock(&self, name: &str, within: Duration) -> Result<Option<File>, Error> {
        let file = self.open_lock(name)?;
        let is_taken = wait(within, || self.try_lock(name, &file))?;
        Ok(is_taken.then_some(file))
    }

    /// The same of a file as [`Folder::open_shared_lock`] opens it.
    pub fn lock_shared(&self, name: &str, access: Access, within: Duration) -> Result<Option<File>, Error> {
        let mut held = None;
        wait(within, || {
            let file = self.open_shared_lock(name, access)?;
            // One who could not open it may have put another in its place.
            let is_taken = self.try_lock(name, &file)? && self.holds(name, &file);
            held = is_taken.then_some(file);
            Ok(is_taken)
        })?;
        Ok(held)
    }

    fn try_lock(&self, name: &str, file: &File) -> Result<bool, Error> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(e) => Err(Error::io("locking", &self.path.join(name), e)),
        }
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
