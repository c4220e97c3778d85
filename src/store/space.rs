// SPDX-License-Identifier: Apache-2.0
//! The room on the file system of a store, which is not opened for that.

use std::io;
use std::path::Path;

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that a process without privileges can write.
    pub free: u64,
    /// Files that can be made; `None`: the file system has no such limit.
    pub inodes: Option<u64>,
    pub is_read_only: bool,
}

/// Of the file system that has this folder.
pub fn space(dir: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(Space {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: (found.f_files > 0).then_some(found.f_favail),
        is_read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}
