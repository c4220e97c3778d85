// SPDX-License-Identifier: Apache-2.0
//! Reads files outside of the store that the configuration names. Refuses files that are not plain or too
//! large.

use super::disk::{Folder, Links};
use super::layout::FILE_MAX;
use super::{Error, StartStore};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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

impl StartStore {
    /// A file of the admin, outside of the store. More than 1 MiB is refused.
    pub fn read_foreign(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Err(Error::Name(path.display().to_string()));
        };
        Folder::open(parent, Links::Follow, &self.layout.fuse)?.read(name, FILE_MAX)
    }
}
