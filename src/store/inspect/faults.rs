// SPDX-License-Identifier: Apache-2.0
//! What is wrong with the owners, modes and kinds of the entries of a store. Pure.

use super::{Entry, Kind};
use crate::store::layout::{Owner, STORE_FILE};
use crate::store::place::{Group, file_name};
use std::path::PathBuf;

/// Beside the groups, in the store's own folder.
const ROOT_NAMES: [&str; 11] = [
    STORE_FILE,
    "httpd.json",
    "store.lock",
    "trial.lock",
    "trial.json",
    "trial-loading.json",
    "trial-ended.json",
    "dns",
    "fleet",
    "requests",
    "withdrawn",
];

/// What somebody can do who should not, or cannot who should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Other users can read a plain private key, or the store's key.
    KeyRead,
    /// Other users can write.
    Written,
    /// httpd's `User` cannot write.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Owner {
        path: PathBuf,
        is: u32,
        expected: u32,
    },
    Mode {
        path: PathBuf,
        mode: u32,
        expected: u32,
        right: Right,
    },
    /// A symbolic or hard link where workers can write.
    Link {
        path: PathBuf,
    },
    /// Nothing that mod_md makes.
    Stray {
        path: PathBuf,
    },
}

/// All faults. `starter`: the user that starts httpd, as far as it is known; `workers`: httpd's `User`, `None`
/// where that is the starter.
pub fn faults(entries: &[Entry], starter: Option<u32>, workers: Option<Owner>) -> Vec<Fault> {
    let holder = entries.first().map(|root| root.owner.uid).unwrap_or_default();
    let expected = Expected { starter: starter.unwrap_or(holder), workers };
    entries.iter().flat_map(|entry| expected.faults(entry)).collect()
}

struct Expected {
    starter: u32,
    workers: Option<Owner>,
}

impl Expected {
    fn faults(&self, entry: &Entry) -> Vec<Fault> {
        let path = || entry.path.clone();
        if is_stray(entry) {
            return vec![Fault::Stray { path: path() }];
        }
        if is_workers_link(entry) {
            return vec![Fault::Link { path: path() }];
        }
        // The rights of a link are those of its target.
        let rights = Some(()).filter(|()| entry.kind != Kind::Link);
        let owner = rights.and_then(|()| self.owner_fault(entry));
        owner.into_iter().chain(rights.and_then(|()| self.mode_fault(entry))).collect()
    }

    fn owner_fault(&self, entry: &Entry) -> Option<Fault> {
        let expected = match entry.group() {
            Some(group) if group.is_of_workers() => self.workers.map_or(self.starter, |workers| workers.uid),
            Some(_) => self.starter,
            None if entry.path.as_os_str() == STORE_FILE || entry.path.as_os_str().is_empty() => self.starter,
            None => return None,
        };
        // Root can write and read everything, and what root leaves in a folder of workers they can read.
        let is_own_file = entry.owner.uid == self.starter && entry.kind == Kind::File;
        (entry.owner.uid != expected && !is_own_file).then(|| Fault::Owner {
            path: entry.path.clone(),
            is: entry.owner.uid,
            expected,
        })
    }

    fn mode_fault(&self, entry: &Entry) -> Option<Fault> {
        let group = entry.group();
        let fault = |expected, right| {
            Some(Fault::Mode { path: entry.path.clone(), mode: entry.mode, expected, right })
        };
        let is_folder = entry.kind == Kind::Folder;
        match group {
            None if entry.path.as_os_str() == STORE_FILE && entry.mode & 0o077 != 0 => {
                fault(0o600, Right::KeyRead)
            }
            Some(group) if group.is_private() && is_plain_key(entry) && entry.mode & 0o077 != 0 => {
                fault(0o600, Right::KeyRead)
            }
            _ if entry.mode & 0o022 != 0 && (is_folder || group != Some(Group::Challenges)) => {
                let expected = match (group, is_folder) {
                    (Some(group), true) => group.dir_mode(),
                    (Some(group), false) => group.file_mode(),
                    (None, true) => 0o755,
                    (None, false) => 0o600,
                };
                fault(expected, Right::Written)
            }
            Some(group) if group.is_of_workers() && is_folder && entry.mode & 0o700 != 0o700 => {
                fault(0o755, Right::Closed)
            }
            Some(Group::Accounts) if is_folder && self.workers.is_some() && entry.mode & 0o005 != 0o005 => {
                fault(0o755, Right::Closed)
            }
            None if entry.path.as_os_str().is_empty()
                && self.workers.is_some()
                && entry.mode & 0o001 == 0 =>
            {
                fault(0o755, Right::Closed)
            }
            _ => None,
        }
    }
}

fn is_plain_key(entry: &Entry) -> bool {
    let name = entry.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    entry.kind == Kind::File && name.contains("privkey") && name.ends_with(".pem")
}

/// Whether it is a link, symbolic or hard, in a folder that workers write.
fn is_workers_link(entry: &Entry) -> bool {
    let is_of_workers = entry.group().is_some_and(Group::is_of_workers);
    let is_link = match entry.kind {
        // A group itself may be a link of root's.
        Kind::Link => entry.path.iter().count() > 1 || entry.owner.uid != 0,
        Kind::File => entry.links > 1,
        Kind::Folder | Kind::Other => false,
    };
    is_of_workers && is_link
}

/// Whether mod_md makes nothing of this name and kind in its place.
fn is_stray(entry: &Entry) -> bool {
    let parts = entry.parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let is_temporary = |name: &str| name.starts_with('.') || name.ends_with(".tmp");
    match (entry.group(), parts.as_slice()) {
        (_, []) => false,
        (None, [name]) => !ROOT_NAMES.contains(name) && !is_temporary(name),
        // What other rooms of the store keep there.
        (None, _) => false,
        (Some(_), [_]) => matches!(entry.kind, Kind::File | Kind::Other),
        (Some(Group::Tmp), _) => false,
        (Some(Group::Staging), [_, "renewing.lock"]) => false,
        (Some(group), [_, name]) => {
            let is_one = group.folder_name(name).is_ok_and(|normal| normal == *name);
            !is_temporary(name) && (!is_one || matches!(entry.kind, Kind::File | Kind::Other))
        }
        (Some(_), [_, _, name]) => {
            let is_file = matches!(entry.kind, Kind::File | Kind::Link);
            !is_temporary(name) && (!is_file || file_name(name).is_err())
        }
        (Some(_), _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u32 = 0;
    const WORKERS: Owner = Owner { uid: 33, gid: 33 };

    fn entry(path: &str, kind: Kind, uid: u32, mode: u32) -> Entry {
        let owner = Owner { uid, gid: uid };
        Entry { path: path.into(), kind, owner, mode, links: 1, size: 1 }
    }

    /// A store in order.
    fn good() -> Vec<Entry> {
        vec![
            entry("", Kind::Folder, ROOT, 0o755),
            entry("md_store.json", Kind::File, ROOT, 0o600),
            entry("httpd.json", Kind::File, ROOT, 0o600),
            entry("accounts", Kind::Folder, ROOT, 0o755),
            entry("accounts/ACME-ca-0000", Kind::Folder, ROOT, 0o755),
            entry("accounts/ACME-ca-0000/account.pem", Kind::File, ROOT, 0o644),
            entry("challenges", Kind::Folder, 33, 0o755),
            entry("domains", Kind::Folder, ROOT, 0o700),
            entry("domains/*.a.test", Kind::Folder, ROOT, 0o700),
            entry("domains/*.a.test/privkey.pem", Kind::File, ROOT, 0o600),
            entry("staging", Kind::Folder, 33, 0o755),
            entry("staging/renewing.lock", Kind::File, 33, 0o644),
            entry("staging/a.test", Kind::Folder, 33, 0o755),
            entry("staging/a.test/job.json", Kind::File, 33, 0o644),
            entry("staging/a.test/md.json", Kind::File, ROOT, 0o644),
        ]
    }

    #[test]
    fn a_store_in_order_has_no_faults() {
        assert_eq!(faults(&good(), Some(ROOT), Some(WORKERS)), []);
        // All of one user, who starts httpd.
        let mut own = good();
        own.iter_mut().for_each(|entry| entry.owner.uid = 1000);
        assert_eq!(faults(&own, None, None), []);
    }

    #[test]
    fn each_fault_is_found_alone() {
        let owner = |path: &str, is, expected| Fault::Owner { path: path.into(), is, expected };
        let mode =
            |path: &str, mode, expected, right| Fault::Mode { path: path.into(), mode, expected, right };
        let hard = Entry { links: 2, ..entry("staging/b.test.json", Kind::File, 33, 0o644) };
        for (planted, expected) in [
            (entry("domains/b.test", Kind::Folder, 1234, 0o700), Some(owner("domains/b.test", 1234, ROOT))),
            (
                entry("challenges/b.test", Kind::Folder, ROOT, 0o755),
                Some(owner("challenges/b.test", ROOT, 33)),
            ),
            (
                entry("domains/b.test/privkey.p-256.pem", Kind::File, ROOT, 0o644),
                Some(mode("domains/b.test/privkey.p-256.pem", 0o644, 0o600, Right::KeyRead)),
            ),
            (
                entry("domains/b.test", Kind::Folder, ROOT, 0o777),
                Some(mode("domains/b.test", 0o777, 0o700, Right::Written)),
            ),
            (entry("ocsp", Kind::Folder, 33, 0o500), Some(mode("ocsp", 0o500, 0o755, Right::Closed))),
            (
                entry("accounts/ACME-ca-0001", Kind::Folder, ROOT, 0o700),
                Some(mode("accounts/ACME-ca-0001", 0o700, 0o755, Right::Closed)),
            ),
            (
                entry("staging/b.test/x", Kind::Link, 33, 0o777),
                Some(Fault::Link { path: "staging/b.test/x".into() }),
            ),
            (
                Entry { path: "ocsp/b.test/job.json".into(), ..hard },
                Some(Fault::Link { path: "ocsp/b.test/job.json".into() }),
            ),
            (entry("notes.txt", Kind::File, ROOT, 0o644), Some(Fault::Stray { path: "notes.txt".into() })),
            (entry("domains/x", Kind::File, ROOT, 0o600), Some(Fault::Stray { path: "domains/x".into() })),
            (
                entry("domains/a b", Kind::Folder, ROOT, 0o700),
                Some(Fault::Stray { path: "domains/a b".into() }),
            ),
            (entry("staging", Kind::Link, ROOT, 0o777), None),
            (entry("domains/b.test", Kind::Link, ROOT, 0o777), None),
            (entry("tmp/x", Kind::Folder, ROOT, 0o700), None),
        ] {
            let mut entries = good();
            entries.push(planted.clone());
            let found = faults(&entries, Some(ROOT), Some(WORKERS));
            assert_eq!(found, Vec::from_iter(expected), "{planted:?}");
        }
    }
}
