// SPDX-License-Identifier: Apache-2.0
//! Writes a file of any length as a whole, and puts a folder in the place of another. Refuses to replace
//! anything but plain files. Imports the folder above.

use super::{Access, Folder, grant};
use crate::crypto;
use crate::store::Error;
use data_encoding::HEXLOWER;
use rustix::fs::{self, AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;

impl Folder {
    /// Replaces a file by what `fill` writes, as a whole: where that fails, the file before stays.
    pub fn write_streamed(
        &self,
        name: &str,
        access: Access,
        fill: impl FnOnce(&mut File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io("writing", &path, e);
        match fs::statat(self.file.as_ref(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !FileType::from_raw_mode(stat.st_mode).is_file() => {
                return Err(failed(io::Error::other("it exists and is not a plain file")));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(failed(e.into())),
        }
        let (mut file, temporary) = self.temporary(name).map_err(failed)?;
        let filled = grant(&file, access).map_err(failed).and_then(|()| fill(&mut file));
        let placed = filled.and_then(|()| {
            let place = || {
                self.fuse.burn()?;
                self.sync(&file)?;
                fs::renameat(self.file.as_ref(), &temporary, self.file.as_ref(), name)?;
                self.fuse.burn()?;
                self.sync(&self.file)
            };
            place().map_err(failed)
        });
        if placed.is_err() && self.fuse.burn().is_ok() {
            // After the rename there is nothing left to remove.
            let _ = fs::unlinkat(self.file.as_ref(), &temporary, AtFlags::empty());
        }
        placed
    }

    /// Makes a folder with a name that begins so and nobody can guess, for this user alone.
    pub fn make_unique(&self, prefix: &str) -> Result<(Folder, String), Error> {
        let failed = |e: io::Error| Error::io("making a folder in", &self.path, e);
        let random: [u8; 8] = crypto::random().map_err(|e| failed(io::Error::other(e)))?;
        let name = format!("{prefix}{}", HEXLOWER.encode(&random));
        self.fuse.burn().map_err(failed)?;
        fs::mkdirat(self.file.as_ref(), &name, Mode::RWXU).map_err(|e| failed(e.into()))?;
        let child = self.child(&name)?.ok_or_else(|| failed(Errno::NOENT.into()))?;
        Ok((child, name))
    }

    /// Waits until everything on this file system is on the disk.
    pub fn sync_all(&self) -> Result<(), Error> {
        fs::syncfs(self.file.as_ref()).map_err(|e| Error::io("writing", &self.path, e))
    }

    /// Puts the folder `name` into the place of `old`, which becomes `aside`. There is always something at
    /// `old`, where the file system can exchange names.
    pub fn replace(&self, name: &str, old: &str, aside: &str) -> Result<(), Error> {
        let path = self.path.join(old);
        let failed = |e: io::Error| Error::io("replacing", &path, e);
        let here = self.file.as_ref();
        let exchange = || {
            self.fuse.burn()?;
            match fs::renameat_with(here, name, here, old, RenameFlags::EXCHANGE) {
                Ok(()) => {
                    self.fuse.burn()?;
                    fs::renameat_with(here, name, here, aside, RenameFlags::NOREPLACE)?;
                }
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    fs::renameat(here, old, here, aside)?;
                    if let Err(error) = fs::renameat(here, name, here, old) {
                        fs::renameat(here, aside, here, old)?;
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            here.sync_all()
        };
        exchange().map_err(failed)
    }
}
