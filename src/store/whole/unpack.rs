// SPDX-License-Identifier: Apache-2.0
//! Makes a store of an archive that [`StartStore::save`] wrote, and puts it in the place of another one. The
//! archive may be anybody's: only plain files of names that the store has are taken, each once and of bounded
//! size, and nothing is in place before all of it is there. Imports `plan` and `save`.

use super::plan::{Flat, Place};
use super::save::{END, FORMAT};
use crate::store::disk::{Access, Folder, Fuse, Links};
use crate::store::json::holds_hmac;
use crate::store::layout::{JSON_MAX, Owner, STORE_FILE};
use crate::store::{Error, StartStore, setup};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tar::{Archive, EntryType};
use zeroize::Zeroizing;

/// Members of an archive.
const FILES_MAX: usize = 4_000_000;
/// Bytes of a path: group, name and file.
const PATH_MAX: u64 = 1024;

/// A store beside the place that it is for.
pub struct Unpacked {
    pub store: StartStore,
    pub files: u64,
    pub bytes: u64,
    /// When and by which version the archive was made, as it says.
    pub made: String,
    parent: Folder,
    name: String,
}

/// Reads an archive and makes a store of it beside `dir`, where [`settle`] puts it. `owner`: httpd's `User` and
/// `Group`, where root starts httpd and they are known. `archive` is for messages.
pub fn unpack(
    source: impl Read,
    archive: &Path,
    dir: &Path,
    owner: Option<Owner>,
    fuse: &Fuse,
) -> Result<Unpacked, Error> {
    let (Some(path), Some(name)) = (dir.parent(), dir.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::Name(dir.display().to_string()));
    };
    let parent = Folder::open(path, Links::Refuse, fuse)?;
    let (root, unique) = parent.make_unique(&format!(".{name}.restoring."))?;
    let unpacked = fill(source, archive, &root, owner, fuse).and_then(|(store, end)| {
        root.grant(Access { mode: 0o755, ..Access::default() })?;
        root.sync_all()?;
        Ok((store, end))
    });
    match unpacked {
        Ok((store, (files, bytes, made))) => Ok(Unpacked { store, files, bytes, made, parent, name: unique }),
        Err(error) => {
            // Half of a store is of no use. What stays is named after what it is.
            let _ = discard(&parent, &unique);
            Err(error)
        }
    }
}

impl Unpacked {
    /// Removes the store again.
    pub fn discard(self) -> Result<(), Error> {
        discard(&self.parent, &self.name)
    }
}

fn discard(parent: &Folder, name: &str) -> Result<(), Error> {
    let path = parent.path().join(name);
    fs::remove_dir_all(&path).map_err(|e| Error::io("removing", &path, e))
}

/// Puts the store in its place; what is there becomes the returned folder.
pub fn settle(unpacked: Unpacked, dir: &Path) -> Result<Option<PathBuf>, Error> {
    let Unpacked { parent, name, .. } = unpacked;
    let own = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_there = fs::symlink_metadata(dir).is_ok();
    let is_empty = is_there && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if !is_there || is_empty {
        // An empty folder is replaced.
        parent.rename(&name, &parent, own)?;
        return Ok(None);
    }
    let free = |number: &u32| fs::symlink_metadata(aside(dir, *number)).is_err();
    let number = (1..).find(free).unwrap_or_default();
    let old = aside(dir, number);
    let old_name = old.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    parent.replace(&name, own, old_name)?;
    Ok(Some(old))
}

fn aside(dir: &Path, number: u32) -> PathBuf {
    dir.with_file_name(format!(
        "{}.before-restore.{number}",
        dir.file_name().unwrap_or_default().to_string_lossy()
    ))
}

/// Files, bytes, and when it was made.
type End = (u64, u64, String);

fn fill(
    source: impl Read,
    path: &Path,
    root: &Folder,
    owner: Option<Owner>,
    fuse: &Fuse,
) -> Result<(StartStore, End), Error> {
    let bad = |reason: String| Error::garbage(path, reason);
    let read = |e: io::Error| Error::io("reading", path, e);
    let mut archive = Archive::new(source);
    let (mut seen, mut long, mut store) = (HashSet::new(), None::<String>, None);
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for member in archive.entries().map_err(read)?.raw(true) {
        let mut member = member.map_err(|_| bad("it is no archive of a store, or was cut short".into()))?;
        let (sort, size) = (member.header().entry_type(), member.header().entry_size().map_err(read)?);
        if sort == EntryType::GNULongName {
            long = Some(name_of(content(&mut member, size, PATH_MAX, &bad, "a name")?.to_vec(), &bad)?);
            continue;
        }
        let name = match long.take() {
            Some(name) => name,
            None => name_of(member.path_bytes().into_owned(), &bad)?,
        };
        let shown = name.escape_debug().to_string();
        if sort != EntryType::Regular {
            return Err(bad(format!("'{shown}' in it is not a plain file")));
        }
        let content = content(&mut member, size, JSON_MAX, &bad, &shown)?;
        if name == END {
            let made = check_end(&content, files, bytes).map_err(bad)?;
            let store = store.ok_or_else(|| bad(format!("it has no {STORE_FILE}")))?;
            return Ok((store, (files, bytes, made)));
        }
        let place = Place::of(&name).filter(Place::is_saved);
        let place = place.ok_or_else(|| bad(format!("'{shown}' in it is none of the files of a store")))?;
        if !seen.insert(name) || seen.len() > FILES_MAX {
            return Err(bad(format!("'{shown}' is in it twice, or it has more than {FILES_MAX} files")));
        }
        (files, bytes) = (files + 1, bytes + size);
        put(root, &mut store, place, &content, owner, fuse)
            .map_err(|error| in_archive(error, path, &shown))?;
    }
    Err(bad("its end is missing: it was cut short, or is no archive of a store".into()))
}

/// The key, which comes first, makes the store.
fn put(
    root: &Folder,
    store: &mut Option<StartStore>,
    place: Place,
    content: &[u8],
    owner: Option<Owner>,
    fuse: &Fuse,
) -> Result<(), Error> {
    let own = Access { mode: 0o600, ..Access::default() };
    let missing = || Error::garbage(root.path(), format!("{STORE_FILE} does not come first"));
    match place {
        Place::Root(STORE_FILE) => {
            root.write(STORE_FILE, content, setup::STORE_FILE_ACCESS)?;
            *store = Some(StartStore::open_with(root.path(), owner, fuse.clone())?);
        }
        Place::Root(file) => root.clone().synced(false).write(file, content, own)?,
        Place::File(group, name, file) => {
            let store = store.as_ref().ok_or_else(missing)?.unsynced();
            let is_secret = serde_json::from_slice(content).is_ok_and(|value: Value| holds_hmac(&value));
            store.layout.write(group, &name, &file, content, is_secret)?;
        }
        Place::FlatFile(Flat { dir, dir_mode, file_mode, is_of_workers, .. }, file) => {
            let owner = owner.filter(|_| is_of_workers);
            let (uid, gid) = (owner.map(|owner| owner.uid), owner.map(|owner| owner.gid));
            let folder = root.make_child(dir, Access { mode: dir_mode, uid, gid })?;
            folder.synced(false).write(&file, content, Access { mode: file_mode, uid, gid })?;
        }
        Place::GroupFolder(_) | Place::FlatFolder(_) | Place::GroupLock(_) | Place::Folder(..) => {}
    }
    Ok(())
}

/// What the key of a store says about itself names the folder that is made, which goes again.
fn in_archive(error: Error, archive: &Path, name: &str) -> Error {
    match error {
        Error::BadKey { reason, .. } | Error::Garbage { reason, .. } => {
            Error::garbage(archive, format!("'{name}' in it: {reason}"))
        }
        Error::NewerVersion { version, .. } => Error::NewerVersion { path: archive.to_path_buf(), version },
        other => other,
    }
}

fn content(
    member: &mut impl Read,
    size: u64,
    limit: u64,
    bad: &impl Fn(String) -> Error,
    what: &str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if size > limit {
        return Err(bad(format!("'{what}' in it is larger than {limit} bytes")));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default()));
    let read = member.take(size).read_to_end(&mut content);
    read.map_err(|error| bad(format!("'{what}' in it cannot be read ({error})")))?;
    if content.len() as u64 == size {
        Ok(content)
    } else {
        Err(bad(format!("it ends in the middle of '{what}'")))
    }
}

fn name_of(mut bytes: Vec<u8>, bad: &impl Fn(String) -> Error) -> Result<String, Error> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| bad("a name in it is not UTF-8".into()))
}

fn check_end(content: &[u8], files: u64, bytes: u64) -> Result<String, String> {
    let end: Value = serde_json::from_slice(content).map_err(|_| format!("its {END} is not JSON"))?;
    let number = |key: &str| end.get(key).and_then(Value::as_u64);
    if number("format") != Some(FORMAT) {
        return Err("it is of another format: use the a2md that made it, or a newer one".into());
    }
    if (number("files"), number("bytes")) != (Some(files), Some(bytes)) {
        return Err(format!("it has {files} files of {bytes} bytes, and says otherwise at its end"));
    }
    let text =
        |key: &str| end.get(key).and_then(Value::as_str).unwrap_or("?").chars().take(64).collect::<String>();
    Ok(format!("{} by mod_md {}", text("made"), text("by")))
}
