// SPDX-License-Identifier: Apache-2.0
//! Finds and removes folders of known names among any number of others. Follows no links, and its work grows
//! with the names it is asked for, not with what others have put there.

use super::disk::Kind;
use super::layout::Layout;
use super::{Error, Group, Rights, StartStore, Store};
use std::collections::HashSet;

impl<R: Rights> Store<R> {
    /// Which of these names have a folder in the group. What costs time is how many are asked for, not how
    /// many there are.
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
    /// Removes whatever has one of these names in the group and is no folder; links are not followed. Tells
    /// which, and why one stays.
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
