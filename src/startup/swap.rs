// SPDX-License-Identifier: Apache-2.0
//! Brings a set into use: assembles it in `tmp`, then swaps it in, the folder before it going to `archive`.
//! The process may die between any two steps; [`super::recover`] then ends the swap. Whether the set may come
//! into use is decided in [`super::activate`], which imports this file.

use super::staged_set::Staged;
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, JOB_FILE, MD_FILE};
use crate::store::auth;
use crate::store::{Error, Group, StartStore};
use serde_json::Value;
use std::collections::HashMap;

/// Whether the process died after the swap, before staging was emptied.
pub(super) fn is_in_use(store: &StartStore, name: &str, sets: &[Bundle]) -> bool {
    sets.iter().all(|staged| {
        bundle::load(store, Group::Domains, name, &staged.spec)
            .is_ok_and(|live| live.info.fingerprint == staged.info.fingerprint)
    })
}

/// md.json is written last: a folder in `tmp` that has one is complete.
pub(super) fn assemble(store: &StartStore, name: &str, json: &Value, staged: &Staged) -> Result<(), Error> {
    store.purge(Group::Tmp, name)?;
    for set in &staged.sets {
        bundle::write(store, Group::Tmp, name, set)?;
    }
    // The code was for staging.
    store.write_json(Group::Tmp, name, JOB_FILE, &auth::bare(&staged.job))?;
    store.write_json(Group::Tmp, name, MD_FILE, json)
}

/// The highest numbers in the archive, by MD.
pub(super) struct Archive(HashMap<String, u32>);

impl Archive {
    pub fn read(store: &StartStore) -> Result<Self, Error> {
        let mut highest: HashMap<String, u32> = HashMap::new();
        for (name, number) in store.names(Group::Archive)?.iter().filter_map(|folder| archive_number(folder))
        {
            let known = highest.entry(name.to_string()).or_default();
            *known = number.max(*known);
        }
        Ok(Archive(highest))
    }

    /// The folder to which the next swap of this MD moves what is in use; `None` where nothing is.
    pub fn next(&self, store: &StartStore, name: &str) -> Result<Option<String>, Error> {
        let number = self.0.get(name).copied().unwrap_or_default().saturating_add(1);
        Ok(store.exists(Group::Domains, name)?.then(|| format!("{name}.{number}")))
    }

    /// A folder for this MD whose number was never given, nor is lower than `before`.
    pub fn take_after(&mut self, name: &str, before: Option<u32>) -> String {
        let number = self.0.entry(name.to_string()).or_default();
        *number = before.unwrap_or_default().max(*number).saturating_add(1);
        format!("{name}.{number}")
    }

    /// Returns the folder in the archive that has the set before now.
    pub fn swap_in(&mut self, store: &StartStore, name: &str) -> Result<Option<String>, Error> {
        let mut archived = None;
        if store.exists(Group::Domains, name)? {
            let folder = self.take_after(name, None);
            store.rename(Group::Domains, name, Group::Archive, &folder)?;
            archived = Some(folder);
        }
        let swapped = store.rename(Group::Tmp, name, Group::Domains, name);
        if let (Err(_), Some(folder)) = (&swapped, &archived) {
            // Better the old set than none, for this start.
            store.rename(Group::Archive, folder, Group::Domains, name)?;
        }
        swapped.map(|()| archived)
    }
}

/// The MD of a folder in the archive, and its number.
pub(super) fn archive_number(folder: &str) -> Option<(&str, u32)> {
    let (name, number) = folder.rsplit_once('.')?;
    Some((name, number.parse().ok()?))
}
