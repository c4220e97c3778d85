// SPDX-License-Identifier: Apache-2.0
//! Finds and removes folders of known names among any number of others. Follows no links, and its work grows
//! with the number of wanted names, not with the number of entries.

use super::disk::Kind;
use super::layout::Layout;
use super::{Error, Group, Rights, StartStore, Store};
use std::collections::HashSet;

impl<R: Rights> Store<R> {
    /// Those of these names that have a folder in the group. The time depends on the number of wanted names,
    /// not on the number of entries.
    pub fn present<'n>(
        &self,
        group: R::Group,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<HashSet<String>, Error> {
        let found = self.layout.present(group.into(), names)?.into_iter();
        Ok(found.filter(|(_, kind)| *kind == Kind::Folder).map(|(name, _)| name).collect())
    }

    /// Removes the folder of a name with all that is in it, in the order of the names.
    pub fn purge(&self, group: R::Group, name: &str) -> Result<(), Error> {
        let group = group.into();
        self.layout.group(group)?.purge(&group.folder_name(name)?)
    }

    /// The same, but these files stay.
    pub fn purge_but(&self, group: R::Group, name: &str, kept: &[&str]) -> Result<(), Error> {
        let group = group.into();
        self.layout.group(group)?.purge_but(&group.folder_name(name)?, kept)
    }
}

impl StartStore {
    /// Removes entries with one of these names in the group that are no folders; links are not followed.
    /// Returns the names, and why an entry stays.
    pub fn remove_strangers<'n>(
        &self,
        group: Group,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<(String, Option<Error>)>, Error> {
        let folder = self.layout.group(group)?;
        let others = self.layout.present(group, names)?.into_iter().filter(|(_, kind)| *kind == Kind::Other);
        Ok(others.map(|(name, _)| (name.clone(), folder.remove(&name).err())).collect())
    }
}

impl Layout {
    fn present<'n>(
        &self,
        group: Group,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<(String, Kind)>, Error> {
        self.group(group)?.present(&names.filter_map(|name| group.folder_name(name).ok()).collect())
    }
}
