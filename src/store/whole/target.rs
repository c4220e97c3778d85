// SPDX-License-Identifier: Apache-2.0
//! The place that a store is to be restored to, and the archive that it comes from. Changes nothing.

use crate::store::layout::Owner;
use crate::store::{Error, Group};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is at a place.
pub struct Target {
    /// Without links.
    pub dir: PathBuf,
    /// There is something, and it is not an empty folder.
    pub is_in_use: bool,
    /// The owner of the folder that workers write, where there is a store already.
    pub workers: Option<Owner>,
}

/// Looks at the place.
pub fn target(dir: &Path) -> Result<Target, Error> {
    let failed = |e: io::Error| Error::io("opening folder", dir, e);
    let real = match fs::canonicalize(dir) {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = dir.file_name().ok_or_else(|| Error::Name(dir.display().to_string()))?;
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(failed)?.join(name)
        }
        Err(error) => return Err(failed(error)),
    };
    let is_in_use = match fs::read_dir(&real) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    let meta = fs::symlink_metadata(real.join(Group::Staging.dir_name())).ok().filter(fs::Metadata::is_dir);
    let workers = meta.map(|meta| Owner { uid: meta.uid(), gid: meta.gid() });
    Ok(Target { dir: real, is_in_use, workers })
}

/// Opens an archive to read it, which may be a pipe.
pub fn open_archive(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|e| Error::io("opening", path, e))
}
