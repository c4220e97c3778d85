// SPDX-License-Identifier: Apache-2.0
//! A list of everything in the store, whoever put it there. Follows a link only in place of a folder of the
//! store, where a start does as well. Opens no file. Imports `plan`.

use super::plan::{Holders, Place};
use crate::store::disk::rights::own_uid;
use crate::store::disk::{Access, Folder, Found, Links, Sort};
use crate::store::layout::{JSON_MAX, Owner, STORE_FILE};
use crate::store::{Error, Group, StartStore, setup};
use crate::time::Timestamp;

/// Entries of one folder; a store has one folder for each domain.
const ENTRIES_MAX: usize = 1_000_000;
/// Folders below the store's own: group, name.
const DEPTH_MAX: usize = 2;

/// Something in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the store's folder. What is not UTF-8 is replaced.
    pub path: String,
    /// `None`: the store knows nothing of that path.
    pub place: Option<Place>,
    pub sort: Sort,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// It is a file with another hard link.
    pub has_other_names: bool,
    pub size: u64,
    pub changed: Timestamp,
}

/// What a process has left that ended at the wrong moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A file that was to be renamed when it is complete.
    Temporary,
    /// A folder that took too long to remove.
    SetAside,
}

/// All that is in the store.
pub struct Survey {
    pub entries: Vec<Entry>,
    pub holders: Holders,
}

impl Entry {
    /// Its name has the form that the store gives such things.
    pub fn leftover(&self) -> Option<Leftover> {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if name.starts_with(".removed.") || name.starts_with(".deep.") {
            return (self.sort == Sort::Folder).then_some(Leftover::SetAside);
        }
        let mut parts = name.strip_prefix('.')?.rsplitn(3, '.');
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (count, pid, file) = (parts.next()?, parts.next()?, parts.next()?);
        let is_temporary = is_number(count) && is_number(pid) && !file.is_empty();
        (is_temporary && self.sort == Sort::File).then_some(Leftover::Temporary)
    }

    /// What owner and mode should be, where they are not. A file may be open to fewer people than the store
    /// asks for, except to workers, who read accounts.
    pub fn wrong_rights(&self, holders: Holders) -> Option<Rights> {
        let place = self.place.as_ref()?;
        if self.sort == Sort::Link || (self.sort == Sort::Folder) != place.is_folder() {
            return None;
        }
        let Access { mode, uid, .. } = place.access(holders);
        let uid = uid.unwrap_or(self.uid);
        let is_wide = if place.is_folder() { self.mode != mode } else { self.mode & !mode != 0 };
        let is_account = matches!(place, Place::File(Group::Accounts, ..));
        let is_closed = is_account && holders.starter != holders.workers.uid && self.mode & 0o044 == 0;
        // What workers cannot read may be what nobody else may.
        let mode = if is_closed { 0o640 } else { mode };
        let is_shared = place.is_of_workers() || is_closed;
        let gid = is_shared.then_some(holders.workers.gid);
        (is_wide || is_closed || uid != self.uid).then_some(Rights { mode, uid, gid, widens: is_closed })
    }
}

/// Owner and mode as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub mode: u32,
    pub uid: u32,
    gid: Option<u32>,
    widens: bool,
}

impl StartStore {
    /// Lists everything. `workers`: httpd's `User` and `Group`, where root starts httpd and they are known.
    pub fn survey(&self, workers: Option<Owner>) -> Result<Survey, Error> {
        let root = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        let mut entries = Vec::new();
        for found in root.look(ENTRIES_MAX)? {
            let name = found.name.to_string_lossy().into_owned();
            let is_ours = matches!(Place::of(&name), Some(Place::GroupFolder(_) | Place::FlatFolder(_)));
            let leads = found.sort == Sort::Link && is_ours && !root.is_strangers_link(&name);
            entries.push(entry(name.clone(), &found));
            let is_utf8 = found.name.to_str().is_some();
            if is_utf8 && (found.sort == Sort::Folder || leads) {
                // A link of root's is followed as a start does.
                let Some(folder) = root.child(&name)? else { continue };
                walk(&folder.refusing_links(), &name, DEPTH_MAX - 1, &mut entries)?;
            }
        }
        let holders = self.holders(&entries, workers);
        Ok(Survey { entries, holders })
    }

    fn holders(&self, entries: &[Entry], workers: Option<Owner>) -> Holders {
        let of = |path: &str| entries.iter().find(|entry| entry.path == path);
        let starter = match workers {
            Some(_) => 0,
            None => of(STORE_FILE).map_or_else(own_uid, |entry| entry.uid),
        };
        let staging = of(Group::Staging.dir_name()).filter(|entry| entry.sort == Sort::Folder);
        let staging = staging.map(|entry| Owner { uid: entry.uid, gid: entry.gid });
        // A start leaves the group of the folder: what a child has made in it has both.
        let made = staging.and_then(|owner| {
            let mut below = entries.iter().filter(|entry| entry.path.starts_with("staging/"));
            let made = below.find(|entry| entry.uid == owner.uid && entry.sort == Sort::File)?;
            Some(Owner { gid: made.gid, ..owner })
        });
        let workers = workers.or(made).or(staging).unwrap_or(Owner { uid: starter, gid: 0 });
        Holders { starter, workers }
    }

    /// Gives an entry the owner and mode that it should have. Never through a link, nor a file with a name
    /// elsewhere.
    pub fn set_rights(&self, entry: &Entry, rights: Rights) -> Result<(), Error> {
        let (folder, name) = self.parent_of(entry)?;
        let access = Access { mode: rights.mode, uid: Some(rights.uid), gid: rights.gid };
        if entry.sort == Sort::Folder {
            let child = folder.child(&name)?;
            return child.map_or(Ok(()), |child| child.grant(access));
        }
        if entry.has_other_names {
            let path = self.layout.dir.join(&entry.path);
            return Err(Error::garbage(&path, "it has another name elsewhere (a hard link)"));
        }
        if rights.widens { folder.grant_file(&name, access) } else { folder.reclaim_file(&name, access) }
    }

    /// The content of a file, which is none where it has gone meanwhile. No link is followed where workers write.
    pub fn read_entry(&self, entry: &Entry) -> Result<Option<Vec<u8>>, Error> {
        let (folder, name) = self.parent_of(entry)?;
        let is_of_workers = entry.place.as_ref().is_none_or(Place::is_of_workers);
        folder.with_links(if is_of_workers { Links::Refuse } else { Links::Follow }).read(&name, JSON_MAX)
    }

    /// Removes an entry that the caller knows to be of no use.
    pub fn remove_entry(&self, entry: &Entry) -> Result<(), Error> {
        let (folder, name) = self.parent_of(entry)?;
        folder.purge(&name)
    }

    /// The folder that an entry is in, and its name there.
    fn parent_of(&self, entry: &Entry) -> Result<(Folder, String), Error> {
        let mut folder = setup::open_root(&self.layout.dir, &self.layout.fuse)?;
        let mut parts: Vec<&str> = entry.path.split('/').collect();
        let name = parts.pop().unwrap_or_default().to_string();
        for part in parts {
            let path = folder.path().join(part);
            let child = folder.child(part)?;
            folder = child.ok_or_else(|| Error::garbage(&path, "it has gone"))?.refusing_links();
        }
        Ok((folder, name))
    }
}

fn entry(path: String, found: &Found) -> Entry {
    let Found { sort, mode, uid, gid, has_other_names, size, changed, .. } = *found;
    Entry { place: Place::of(&path), path, sort, mode, uid, gid, has_other_names, size, changed }
}

fn walk(folder: &Folder, path: &str, depth: usize, entries: &mut Vec<Entry>) -> Result<(), Error> {
    for found in folder.look(ENTRIES_MAX)? {
        let name = found.name.to_string_lossy();
        let below = format!("{path}/{name}");
        entries.push(entry(below.clone(), &found));
        if depth > 0 && found.sort == Sort::Folder && found.name.to_str().is_some() {
            // It may be removed meanwhile.
            if let Some(child) = folder.child(&name)? {
                walk(&child, &below, depth - 1, entries)?;
            }
        }
    }
    Ok(())
}

impl Folder {
    fn refusing_links(&self) -> Folder {
        self.with_links(Links::Refuse)
    }
}
