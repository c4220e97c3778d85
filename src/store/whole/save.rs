// SPDX-License-Identifier: Apache-2.0
//! Writes the whole store into one archive (tar), keys as encrypted as they are in the store. Files that change
//! meanwhile are read again, so that a key and its chain are of one set. The last member says how much there
//! is: an archive that was cut short has none. Imports `plan`.

use super::plan::{FLAT, ORDER, Place, ROOT_SAVED};
use crate::store::disk::{Access, Folder, Links, Sort};
use crate::store::json::json_bytes;
use crate::store::layout::{JSON_MAX, STORE_FILE};
use crate::store::{Error, StartStore, setup};
use crate::time::Timestamp;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};
use zeroize::Zeroizing;

/// The member that ends an archive.
pub(super) const END: &str = "backup.json";
pub(super) const FORMAT: u64 = 1;
/// How often a folder is read again that changes while it is read.
const TRIES: usize = 50;
const ENTRIES_MAX: usize = 1_000_000;

/// What an archive has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub files: u64,
    pub bytes: u64,
    /// Paths that are none of the store, and those that cannot be read, with the reason.
    pub left_out: Vec<(String, String)>,
}

impl StartStore {
    /// Writes the archive to a file, which is replaced as a whole, for this user alone.
    pub fn save_to(&self, path: &Path, now: Timestamp) -> Result<Saved, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(Error::Name(path.display().to_string()));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let inside = fs::canonicalize(parent).ok().zip(fs::canonicalize(&self.layout.dir).ok());
        if inside.is_some_and(|(parent, store)| parent.starts_with(store)) {
            let reason = io::Error::other("a backup does not belong into the store itself");
            return Err(Error::io("writing", path, reason));
        }
        let folder = Folder::open(parent, Links::Refuse, &self.layout.fuse)?;
        let mut saved = Saved::default();
        folder.write_streamed(name, Access { mode: 0o600, ..Access::default() }, |file: &mut File| {
            saved = self.save(BufWriter::with_capacity(256 * 1024, file), path, now)?;
            Ok(())
        })?;
        Ok(saved)
    }

    /// Writes the archive; `path` is for messages.
    pub fn save(&self, out: impl Write, path: &Path, now: Timestamp) -> Result<Saved, Error> {
        let failed = |e: io::Error| Error::io("writing", path, e);
        let mut archive = Archive { out: Builder::new(out), now, saved: Saved::default(), failed: &failed };
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        for file in ROOT_SAVED {
            match root.read(file, JSON_MAX) {
                Ok(Some(content)) => archive.add(file, Zeroizing::new(content))?,
                Ok(None) => {}
                // Without the key the rest is of no use.
                Err(Error::Garbage { reason, .. }) if file != STORE_FILE => {
                    archive.leave_out(file.into(), &reason)
                }
                Err(error) => return Err(error),
            }
        }
        for group in ORDER {
            let Some(folder) = present(self.layout.group(group))? else { continue };
            for found in folder.look(ENTRIES_MAX)? {
                let path = format!("{}/{}", group.dir_name(), found.name.to_string_lossy());
                match Place::of(&path) {
                    Some(Place::Folder(_, name)) => archive.add_folder(&folder, &name, &path)?,
                    Some(_) => {}
                    None => archive.leave_out(path, "its name is none of the store"),
                }
            }
        }
        for flat in FLAT {
            let child = root.child(flat.dir)?.map(|folder| folder.with_links(Links::Refuse));
            if child.is_some() {
                archive.add_folder(&root.with_links(Links::Follow), flat.dir, flat.dir)?;
            }
        }
        self.leave_out_of_root(&root, &mut archive)?;
        archive.end()
    }

    fn leave_out_of_root<W: Write>(&self, root: &Folder, archive: &mut Archive<'_, W>) -> Result<(), Error> {
        for found in root.look(ENTRIES_MAX)? {
            let name = found.name.to_string_lossy().into_owned();
            if Place::of(&name).is_none() {
                archive.leave_out(name, "its name is none of the store");
            }
        }
        Ok(())
    }
}

fn present(folder: Result<Folder, Error>) -> Result<Option<Folder>, Error> {
    match folder {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

struct Archive<'a, W: Write> {
    out: Builder<W>,
    now: Timestamp,
    saved: Saved,
    failed: &'a dyn Fn(io::Error) -> Error,
}

/// Files of one folder, with names and content.
type Files = Vec<(String, Zeroizing<Vec<u8>>)>;

impl<W: Write> Archive<'_, W> {
    fn leave_out(&mut self, path: String, why: &str) {
        self.saved.left_out.push((path, why.to_string()));
    }

    fn add(&mut self, path: &str, content: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        self.append(path, &content)?;
        self.saved.files += 1;
        self.saved.bytes += content.len() as u64;
        Ok(())
    }

    fn append(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        header.set_mtime(self.now.since(Timestamp::from_unix(0)).as_secs());
        self.out.append_data(&mut header, path, content).map_err(self.failed)
    }

    /// Adds the files of a folder as they were at one moment.
    fn add_folder(&mut self, parent: &Folder, name: &str, path: &str) -> Result<(), Error> {
        for attempt in 1..=TRIES {
            // It may have been moved on, and is found there.
            let Some(folder) = parent.child(name)? else { return Ok(()) };
            let before = folder.look(ENTRIES_MAX)?;
            let mut left_out = Vec::new();
            let files = read(&folder, path, &before, &mut left_out)?;
            let is_still = parent
                .child(name)?
                .is_some_and(|again| again.look(ENTRIES_MAX).is_ok_and(|now| now == before));
            if is_still {
                self.saved.left_out.append(&mut left_out);
                return files
                    .into_iter()
                    .try_for_each(|(file, content)| self.add(&format!("{path}/{file}"), content));
            }
            std::thread::sleep(std::time::Duration::from_millis(attempt as u64));
        }
        let reason =
            format!("it has changed {TRIES} times while it was read: try again when httpd is at rest");
        Err(Error::io("reading", folder_path(parent, name).as_path(), io::Error::other(reason)))
    }

    fn end(mut self) -> Result<Saved, Error> {
        let Saved { files, bytes, .. } = self.saved;
        let made = self.now.to_rfc3339();
        let end =
            json!({"format": FORMAT, "files": files, "bytes": bytes, "made": made, "by": crate::VERSION});
        self.append(END, &json_bytes(&end))?;
        let mut out = self.out.into_inner().map_err(self.failed)?;
        out.flush().map_err(self.failed)?;
        Ok(self.saved)
    }
}

fn folder_path(parent: &Folder, name: &str) -> std::path::PathBuf {
    parent.path().join(name)
}

fn read(
    folder: &Folder,
    path: &str,
    found: &[crate::store::disk::Found],
    left_out: &mut Vec<(String, String)>,
) -> Result<Files, Error> {
    let mut files = Vec::new();
    for entry in found {
        let name = entry.name.to_string_lossy().into_owned();
        let below = format!("{path}/{name}");
        match Place::of(&below) {
            Some(place) if !place.is_saved() => {}
            Some(_) if entry.sort != Sort::Folder => match folder.read(&name, JSON_MAX) {
                // Removed meanwhile: the listing differs then.
                Ok(content) => files.extend(content.map(|content| (name, Zeroizing::new(content)))),
                Err(Error::Garbage { reason, .. }) => left_out.push((below, reason)),
                Err(error) => return Err(error),
            },
            _ => left_out.push((below, "its name is none of the store".into())),
        }
    }
    Ok(files)
}
