// SPDX-License-Identifier: Apache-2.0
//! Reads files outside of the store that the configuration names. Refuses files that are not plain or too
//! large.

use super::disk::{Folder, Links};
use super::layout::FILE_MAX;
use super::{Error, StartStore};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

const SIZE_MAX: u64 = 1024 * 1024;

/// Reads a file of at most 1 MiB. A longer one is an error: no legitimate file is.
pub fn read_admin_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(SIZE_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > SIZE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(content)
}

/// A file that has to be secret.
pub struct Private {
    pub content: Zeroizing<Vec<u8>>,
    /// Access bits.
    pub mode: u32,
    pub owner: u32,
}

/// Reads a file with a secret, at most `max` bytes, and its access bits.
pub fn read_secret(path: &Path, max: usize) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    read_private(path, max).map(|file| (file.content, file.mode))
}

/// The same, and who owns it.
pub fn read_private(path: &Path, max: usize) -> io::Result<Private> {
    // Not blocking, as a start would wait for a writer where the path is a pipe, or becomes one.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    // Growing would leave copies.
    let mut content = Zeroizing::new(Vec::with_capacity(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut content)?;
    if content.len() > max {
        let text = format!("it is larger than {} KiB", max / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Private { content, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
}

impl StartStore {
    /// A file of the admin, outside of the store. More than 1 MiB is refused.
    pub fn read_foreign(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Err(Error::Name(path.display().to_string()));
        };
        Folder::open(parent, Links::Follow, &self.layout.fuse)?.read(name, FILE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_or_folder_in_place_of_a_secret_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        for path in [pipe.as_path(), dir.path()] {
            let error = read_secret(path, 100).unwrap_err();
            assert_eq!(error.to_string(), "it is not a plain file");
        }
    }
}
