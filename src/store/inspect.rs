// SPDX-License-Identifier: Apache-2.0
//! Looks at the whole store from outside: entries with owners and modes, and the file system they are on.
//! Opens no file and changes nothing, so that it also tells about a store that cannot be opened. What of it is
//! wrong is decided in [`faults`], which is pure.

mod faults;

pub use faults::{Fault, Right, faults};

use super::layout::Owner;
use super::place::Group;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// More entries are not looked at.
const ENTRIES_MAX: usize = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, socket or device.
    Other,
}

/// An entry of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the store's folder; empty for that itself.
    pub path: PathBuf,
    pub kind: Kind,
    pub owner: Owner,
    /// Permission bits.
    pub mode: u32,
    /// Hard links.
    pub links: u64,
    pub size: u64,
}

impl Entry {
    fn new(path: PathBuf, meta: &Metadata) -> Self {
        let kind = match meta.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        let owner = Owner { uid: meta.uid(), gid: meta.gid() };
        Entry { path, kind, owner, mode: meta.mode() & 0o7777, links: meta.nlink(), size: meta.size() }
    }

    /// The parts of its path, as text.
    pub fn parts(&self) -> Vec<String> {
        self.path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
    }

    /// The group that it is in, or is the folder of.
    pub fn group(&self) -> Option<Group> {
        let first = self.path.iter().next()?.to_str()?;
        Group::ALL.into_iter().find(|group| group.dir_name() == first)
    }
}

/// The entries of a store, sorted, the store's folder first.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    pub entries: Vec<Entry>,
    /// Folders that cannot be listed, and why.
    pub closed: Vec<(PathBuf, String)>,
}

/// Looks at the store in `dir`, three folders deep.
pub fn inspect(dir: &Path) -> io::Result<Inspection> {
    let mut found = Inspection::default();
    found.entries.push(Entry::new(PathBuf::new(), &fs::metadata(dir)?));
    list(dir, Path::new(""), 3, &mut found);
    found.entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn list(dir: &Path, below: &Path, depth: u32, found: &mut Inspection) {
    let entries = match fs::read_dir(dir.join(below)) {
        Ok(entries) => entries,
        // It has been removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return found.closed.push((below.to_path_buf(), crate::log::plain(&error))),
    };
    for entry in entries.flatten() {
        let path = below.join(entry.file_name());
        let Ok(meta) = fs::symlink_metadata(dir.join(&path)) else { continue };
        if found.entries.len() >= ENTRIES_MAX {
            return;
        }
        found.entries.push(Entry::new(path.clone(), &meta));
        // A group may be a link of root's.
        let is_folder = meta.is_dir() || (depth == 3 && meta.is_symlink() && dir.join(&path).is_dir());
        if is_folder && depth > 1 {
            list(dir, &path, depth - 1, found);
        }
    }
}

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
