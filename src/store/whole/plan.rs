// SPDX-License-Identifier: Apache-2.0
//! What the store's files are by their paths: which of them the store knows, whose they are, and which belong
//! into an archive. Pure. Refuses paths that leave the store.

use crate::names;
use crate::store::Group;
use crate::store::disk::Access;
use crate::store::layout::{Owner, STORE_FILE};
use crate::store::place::file_name;

/// Files in the store's own folder that an archive has; the key comes first.
pub const ROOT_SAVED: [&str; 3] = [STORE_FILE, "httpd.json", "trial-ended.json"];
/// Those that are of no use later.
const ROOT_PASSING: [&str; 5] =
    ["store.lock", "trial.lock", "trial.json", "trial-loading.json", "rehearsals.json"];

/// Folders that have files and no folders.
pub const FLAT: [Flat; 4] = [
    Flat { dir: "dns", dir_mode: 0o700, file_mode: 0o600, is_of_workers: true, is_by_name: false },
    Flat { dir: "fleet", dir_mode: 0o700, file_mode: 0o600, is_of_workers: true, is_by_name: false },
    Flat { dir: "withdrawn", dir_mode: 0o755, file_mode: 0o644, is_of_workers: false, is_by_name: true },
    Flat { dir: "requests", dir_mode: 0o755, file_mode: 0o644, is_of_workers: false, is_by_name: true },
];

/// The order in which an archive has them: what a start moves on comes before the place that it moves it to,
/// so that a set is found in one of them, or in both.
pub const ORDER: [Group; 7] = [
    Group::Staging,
    Group::Tmp,
    Group::Domains,
    Group::Archive,
    Group::Accounts,
    Group::Challenges,
    Group::Ocsp,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    pub dir: &'static str,
    pub dir_mode: u32,
    pub file_mode: u32,
    pub is_of_workers: bool,
    /// It has one file for each domain.
    pub is_by_name: bool,
}

/// What stands at a path below the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file in the store's own folder.
    Root(&'static str),
    GroupFolder(Group),
    FlatFolder(Flat),
    /// `staging/renewing.lock`.
    GroupLock(Group),
    Folder(Group, String),
    File(Group, String, String),
    FlatFile(Flat, String),
}

/// A file for each domain, which may be a wildcard.
fn is_of_name(file: &str) -> bool {
    let name = file.strip_suffix(".json");
    name.is_some_and(|name| names::normalize(name).is_ok_and(|normal| normal == name))
}

/// The users that the store belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holders {
    /// Who starts httpd.
    pub starter: u32,
    /// httpd's `User` and `Group`.
    pub workers: Owner,
}

impl Place {
    /// `None`: the store has nothing of that path.
    pub fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        let group = || Group::ALL.into_iter().find(|group| parts.first() == Some(&group.dir_name()));
        let flat = || FLAT.into_iter().find(|flat| parts.first() == Some(&flat.dir));
        let folder = |group: Group, name: &str| group.folder_name(name).ok().filter(|normal| normal == name);
        match parts.as_slice() {
            [name] => {
                let file = ROOT_SAVED.into_iter().chain(ROOT_PASSING).find(|file| file == name);
                file.map(Place::Root)
                    .or_else(|| group().map(Place::GroupFolder))
                    .or_else(|| flat().map(Place::FlatFolder))
            }
            ["staging", "renewing.lock"] => Some(Place::GroupLock(Group::Staging)),
            [_, name] => match group() {
                Some(group) => Some(Place::Folder(group, folder(group, name)?)),
                None => {
                    let flat = flat()?;
                    let is_good = file_name(name).is_ok() || (flat.is_by_name && is_of_name(name));
                    is_good.then(|| Place::FlatFile(flat, name.to_string()))
                }
            },
            [_, name, file] => {
                let group = group()?;
                Some(Place::File(group, folder(group, name)?, file_name(file).ok()?.to_string()))
            }
            _ => None,
        }
    }

    /// Whether an archive has it: it is a file, and of use on another day.
    pub fn is_saved(&self) -> bool {
        match self {
            Place::Root(file) => ROOT_SAVED.contains(file),
            Place::File(Group::Staging, _, file) => file != "lock",
            Place::File(..) => true,
            Place::FlatFile(flat, file) => {
                flat.dir != "requests" && file != "lock" && !file.ends_with(".lock")
            }
            Place::GroupFolder(_) | Place::FlatFolder(_) | Place::GroupLock(_) | Place::Folder(..) => false,
        }
    }

    pub fn is_folder(&self) -> bool {
        matches!(self, Place::GroupFolder(_) | Place::FlatFolder(_) | Place::Folder(..))
    }

    /// Only who starts httpd writes there.
    pub fn is_of_workers(&self) -> bool {
        match self {
            Place::Root(_) => false,
            Place::GroupFolder(group)
            | Place::Folder(group, _)
            | Place::File(group, ..)
            | Place::GroupLock(group) => group.is_of_workers(),
            Place::FlatFolder(flat) | Place::FlatFile(flat, _) => flat.is_of_workers,
        }
    }

    /// Owner and mode as docs/store.md has them.
    pub(super) fn access(&self, holders: Holders) -> Access {
        let mode = match self {
            Place::Root(_) | Place::GroupLock(_) => 0o600,
            Place::GroupFolder(group) | Place::Folder(group, _) => group.dir_mode(),
            Place::File(group, ..) => group.file_mode(),
            Place::FlatFolder(flat) => flat.dir_mode,
            Place::FlatFile(flat, _) => flat.file_mode,
        };
        let uid = if self.is_of_workers() { holders.workers.uid } else { holders.starter };
        Access { mode, uid: Some(uid), gid: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_the_store_does_not_have_are_none() {
        for bad in [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "domains/",
            "domains/../x",
            "domains/a.test/../../x",
            "x",
            "domains//md.json",
            "domains/a.test/.md.json.1.2",
            "domains/A.test/md.json",
            "archive/a.test",
            "domains/a.test/x/y",
            "staging/x.lock/",
            "md_store.json/x",
            "dns/../md_store.json",
            "dns/a/b",
            "domains/a.test/a\0b",
            "./domains/a.test/md.json",
        ] {
            assert_eq!(Place::of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn files_of_the_store_are_saved_unless_they_are_locks_notes_or_requests() {
        for (path, is_saved) in [
            ("md_store.json", true),
            ("trial-ended.json", true),
            ("trial.json", false),
            ("rehearsals.json", false),
            ("store.lock", false),
            ("domains", false),
            ("domains/*.a.test/privkey.p-256.pem", true),
            ("archive/a.test.3/md.json", true),
            ("staging/renewing.lock", false),
            ("staging/a.test/lock", false),
            ("staging/a.test/live.json", true),
            ("accounts/ACME-127.0.0.1-0000/account.pem", true),
            ("dns/acme-dns-a.test.json", true),
            ("dns/dns.lock", false),
            ("fleet/state.json", true),
            ("fleet/set-0a.json", true),
            ("fleet/lock", false),
            ("requests/a.test.json", false),
            ("withdrawn/a.test.json", true),
            ("withdrawn/*.a.test.json", true),
        ] {
            assert_eq!(Place::of(path).map(|place| place.is_saved()), Some(is_saved), "{path}");
        }
    }
}
