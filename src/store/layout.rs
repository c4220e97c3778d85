// SPDX-License-Identifier: Apache-2.0
//! Where everything is in the store and whose it is: groups, folders and files with their owners and modes,
//! for both handles. It refuses no group: the type of the handle decides which ones a process may open.

use super::disk::{Access, Folder, Fuse, Links};
use super::place::{Group, file_name};
use super::{Error, json};
use crate::crypto::{CpuLimit, PassPhrase};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a JSON file.
pub const JSON_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of any other file.
pub const FILE_MAX: u64 = 1024 * 1024;
/// The file with the version of the store and its key.
pub const STORE_FILE: &str = "md_store.json";
/// In `staging`, made and locked by the process that renews.
pub const RENEWING_LOCK_FILE: &str = "renewing.lock";

/// httpd's `User` and `Group`: the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone)]
pub struct Layout {
    pub dir: PathBuf,
    /// Of the private keys in `accounts` and `staging`.
    pub key: PassPhrase,
    pub owner: Option<Owner>,
    pub fuse: Fuse,
    pub is_synced: bool,
    /// How many keys are sealed at once, where many are.
    pub limit: Option<CpuLimit>,
    /// The folders of the groups, held open by the process that starts httpd: opening them for each of
    /// thousands of domains takes longer than all else. Never in a worker's handle, which must not inherit
    /// them.
    pub groups: Option<Arc<[Folder]>>,
}

impl Layout {
    pub fn group(&self, group: Group) -> Result<Folder, Error> {
        let position = Group::ALL.iter().position(|known| *known == group);
        if let Some(open) = self.groups.as_ref().zip(position).and_then(|(groups, at)| groups.get(at)) {
            return Ok(open.clone().synced(self.is_synced));
        }
        let links = if group.is_of_workers() { Links::Refuse } else { Links::Follow };
        let folder = Folder::open(&self.dir.join(group.dir_name()), links, &self.fuse)?;
        // After a power failure no pending challenge is answered, so these files need no sync.
        Ok(folder.synced(self.is_synced && group != Group::Challenges))
    }

    pub fn folder(&self, group: Group, name: &str) -> Result<Option<Folder>, Error> {
        let name = group.folder_name(name)?;
        self.group(group)?.child(&name)
    }

    /// The folder of `name`, made if there is none.
    pub fn make_folder(&self, group: Group, name: &str) -> Result<Folder, Error> {
        let access = Access { mode: group.dir_mode(), ..self.file_access(group, false) };
        self.group(group)?.make_child(&group.folder_name(name)?, access)
    }

    pub fn names(&self, group: Group) -> Result<Vec<String>, Error> {
        let folders = self.group(group)?.entries()?.into_iter().filter(|(_, is_folder)| *is_folder);
        let names = folders.filter_map(|(name, _)| name.into_string().ok());
        Ok(names.filter(|name| group.folder_name(name).is_ok_and(|normal| normal == *name)).collect())
    }

    pub fn read(&self, group: Group, name: &str, file: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        self.group(group)?.read_in(&group.folder_name(name)?, file_name(file)?, limit)
    }

    pub fn write(
        &self,
        group: Group,
        name: &str,
        file: &str,
        content: &[u8],
        secret: bool,
    ) -> Result<(), Error> {
        let file = file_name(file)?;
        let access = self.file_access(group, secret);
        let folder = self.make_folder(group, name)?;
        if group.is_of_workers() {
            folder.write_over(file, content, access)
        } else {
            folder.write(file, content, access)
        }
    }

    pub fn file_access(&self, group: Group, secret: bool) -> Access {
        let owner = self.owner.filter(|_| group.is_of_workers());
        let mut access =
            Access { mode: group.file_mode(), uid: owner.map(|o| o.uid), gid: owner.map(|o| o.gid) };
        if secret && access.mode != 0o600 {
            // Workers compare it with the configuration; no one else may read it.
            access.gid = self.owner.map(|o| o.gid);
            access.mode = if access.gid.is_some() { 0o640 } else { 0o600 };
        }
        access
    }

    pub fn read_json(&self, group: Group, name: &str, file: &str) -> Result<Option<Value>, Error> {
        let Some(content) = self.read(group, name, file, JSON_MAX)? else { return Ok(None) };
        json::read(content).map(Some).map_err(|reason| self.garbage(group, name, file, reason))
    }

    pub fn garbage(&self, group: Group, name: &str, file: &str, reason: impl ToString) -> Error {
        Error::garbage(&self.dir.join(group.dir_name()).join(name).join(file), reason)
    }
}
