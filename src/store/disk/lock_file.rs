// SPDX-License-Identifier: Apache-2.0
//! Opens and locks lock files. Refuses everything but plain files, and neither reads nor replaces their
//! content.

use super::Folder;
use crate::store::Error;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

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

    /// Whether `name` is still this file.
    pub fn holds(&self, name: &str, file: &File) -> bool {
        let there = fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW);
        let own = file.metadata();
        own.is_ok_and(|own| there.is_ok_and(|there| (there.st_dev, there.st_ino) == (own.dev(), own.ino())))
    }
}
