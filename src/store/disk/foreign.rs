// SPDX-License-Identifier: Apache-2.0
//! Access to folders that are not the store's: files of other owners are read, symbolic links are looked at
//! and not followed, several files take their places together, and a folder itself is a lock. Imports the
//! folder above.

use super::{Access, FOLDER, Folder, Fuse, Links, grant};
use crate::store::Error;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two tries to lock.
const PAUSE: Duration = Duration::from_millis(50);

/// Held until it is dropped.
pub struct LockedFolder<'a>(&'a Folder);

impl Drop for LockedFolder<'_> {
    fn drop(&mut self) {
        self.0.release_flock();
    }
}

/// The same, with the folder.
pub struct HeldFolder(Folder);

impl Drop for HeldFolder {
    fn drop(&mut self) {
        self.0.release_flock();
    }
}

impl Folder {
    /// Opens the folder at `path`, which must not be a link itself; nor is one below it followed.
    pub fn open_unlinked(path: &Path, fuse: &Fuse) -> Result<Self, Error> {
        // With a slash at its end a link would be followed.
        let path: PathBuf = path.components().collect();
        let path = path.as_path();
        let fd = fs::open(path, FOLDER | OFlags::NOFOLLOW, Mode::empty());
        let fd = fd.map_err(|e| match e {
            Errno::LOOP => Error::refused(path, "it is a symbolic link: name the folder that it leads to"),
            Errno::NOTDIR => Error::refused(path, "it is not a folder, or a symbolic link to one"),
            e => Error::io("opening folder", path, e),
        })?;
        let file = Arc::new(File::from(fd));
        Ok(Folder { file, path: path.into(), links: Links::Refuse, fuse: fuse.clone(), is_synced: true })
    }

    /// Access bits.
    pub fn mode(&self) -> Result<u32, Error> {
        let meta = self.file.metadata().map_err(|e| Error::io("reading", &self.path, e))?;
        Ok(meta.mode() & 0o7777)
    }

    /// A plain file, its access bits, owner and group; `None` where there is none.
    #[allow(clippy::type_complexity, reason = "taken apart at once")]
    pub fn read_with_rights(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, u32, u32, u32)>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = match fs::openat(self.file.as_ref(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Error::refused(&path, "it is a symbolic link")),
            Err(Errno::NXIO) => return Err(Error::refused(&path, "it is a socket")),
            Err(e) => return Err(Error::io("opening", &path, e)),
        };
        let meta = file.metadata().map_err(|e| Error::io("reading", &path, e))?;
        if !meta.is_file() {
            return Err(Error::refused(&path, "it is not a plain file"));
        }
        // Growing would leave copies of a key.
        let mut content = Vec::with_capacity(usize::try_from(meta.len().min(limit) + 1).unwrap_or_default());
        file.take(limit + 1).read_to_end(&mut content).map_err(|e| Error::io("reading", &path, e))?;
        if content.len() as u64 > limit {
            return Err(Error::refused(&path, format!("it is larger than {limit} bytes")));
        }
        Ok(Some((content, meta.mode() & 0o7777, meta.uid(), meta.gid())))
    }

    /// Where a symbolic link leads.
    pub fn link(&self, name: &str) -> Option<PathBuf> {
        let target = fs::readlinkat(self.file.as_ref(), name, Vec::new()).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    /// Writes all files, each a name, a temporary name, content and rights; when all are on the disk, they
    /// take their places one directly after the other.
    pub fn replace_together(&self, files: &[(&str, String, &[u8], Access)]) -> Result<(), Error> {
        let failed = |name: &str, e: io::Error| Error::io("writing", &self.path.join(name), e);
        let write = |(name, temporary, content, access): &(&str, String, &[u8], Access)| {
            self.write_beside(temporary, content, *access).map_err(|e| failed(name, e))
        };
        let place = |(name, temporary, ..): &(&str, String, &[u8], Access)| {
            let placed = self
                .fuse
                .burn()
                .and_then(|()| Ok(fs::renameat(self.file.as_ref(), temporary, self.file.as_ref(), *name)?));
            placed.map_err(|e| failed(name, e))
        };
        let written = files.iter().try_for_each(write).and_then(|()| files.iter().try_for_each(place));
        if written.is_err() && self.fuse.burn().is_ok() {
            for (_, temporary, ..) in files {
                // That it is not there any more says nothing.
                let _ = fs::unlinkat(self.file.as_ref(), temporary, AtFlags::empty());
            }
        }
        written?;
        self.fuse.burn().and_then(|()| self.sync(&self.file)).map_err(|e| Error::io("writing", &self.path, e))
    }

    /// A new file, open to its maker alone until it has its rights.
    fn write_beside(&self, temporary: &str, content: &[u8], access: Access) -> io::Result<()> {
        self.fuse.burn()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File =
            fs::openat(self.file.as_ref(), temporary, flags, Mode::RUSR | Mode::WUSR)?.into();
        self.fuse.burn()?;
        file.write_all(content)?;
        grant(&file, access)?;
        self.sync(&file)
    }

    /// Takes flock(2) of the folder; `None` where another holds it for longer than `within`.
    pub fn lock_itself(&self, within: Duration) -> Result<Option<LockedFolder<'_>>, Error> {
        Ok(self.take_flock(within)?.then_some(LockedFolder(self)))
    }

    /// Takes flock(2) of the folder for longer than it is borrowed; `None` where another holds it for longer than
    /// `within`.
    pub fn hold(self, within: Duration) -> Result<Option<HeldFolder>, Error> {
        Ok(self.take_flock(within)?.then_some(HeldFolder(self)))
    }

    fn release_flock(&self) {
        // The end of the process does it as well.
        let _ = flock(self.file.as_ref(), FlockOperation::Unlock);
    }

    fn take_flock(&self, within: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + within;
        loop {
            match flock(self.file.as_ref(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(Error::io("locking", &self.path, e)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(PAUSE));
        }
    }
}
