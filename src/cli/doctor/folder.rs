// SPDX-License-Identifier: Apache-2.0
//! Checks the folder of the store from outside: whether it can be listed, owners and modes, strangers' files,
//! and the room on its file system. Works without opening the store. The functions below [`look`] are pure.

use super::finding::Finding;
use crate::config::Configuration;
use crate::log::{counted, plain};
use crate::store::inspect::{self, Entry, Fault, Inspection, Right, Space};
use crate::store::{Group, Owner, reach};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Less cannot hold a renewal.
const FREE_MIN: u64 = 1024 * 1024;
const INODES_MIN: u64 = 64;
/// Of the archive: more sets or bytes than a site needs.
const ARCHIVE_SETS: usize = 10_000;
const ARCHIVE_BYTES: u64 = 1024 * 1024 * 1024;
/// Paths that one finding names.
const NAMED: usize = 5;

/// The owners that the entries of a store should have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners {
    /// Who starts httpd.
    pub starter: Option<u32>,
    pub workers: Option<Owner>,
}

impl Owners {
    /// By httpd's configuration, else by what the store itself shows: workers own its staging.
    pub fn of(configuration: Option<&Configuration>, inspection: &Inspection) -> Self {
        let owner_of = |path: &str| {
            let entry = inspection.entries.iter().find(|entry| entry.path.as_os_str() == path)?;
            Some(entry.owner)
        };
        match configuration.map(|configuration| configuration.user) {
            Some(Some((uid, gid))) => Owners { starter: Some(0), workers: Some(Owner { uid, gid }) },
            Some(None) => Owners::default(),
            None => {
                let staging = owner_of("staging");
                let is_of_root = owner_of("").is_some_and(|root| root.uid == 0);
                Owners { starter: None, workers: staging.filter(|owner| is_of_root && owner.uid != 0) }
            }
        }
    }
}

/// Looks at the store in `dir`. `false`: it is not there, so nothing else can be looked at.
pub fn look(dir: &Path, configuration: Option<&Configuration>, out: &mut Vec<Finding>) -> bool {
    let shown = dir.display().to_string();
    let inspection = match inspect::inspect(dir) {
        Ok(inspection) => inspection,
        Err(error) => {
            out.push(missing(&shown, &plain(&error), error.kind() == std::io::ErrorKind::NotFound));
            return false;
        }
    };
    let owners = Owners::of(configuration, &inspection);
    let workers = configuration.and_then(|configuration| configuration.user);
    let workers = workers.map(|(uid, gid)| Owner { uid, gid });
    if let Some(closed) = dir.parent().and_then(|parent| reach::closed_folder(parent, workers)) {
        out.push(Finding::fails(
            "store-closed",
            &shown,
            format!("httpd's User cannot enter {closed}, so its child processes cannot use the store."),
            "Grant access with 'chmod o+x', or choose another folder (MDStoreDir).",
        ));
    }
    let before = out.len();
    out.extend(of_rights(dir, &inspect::faults(&inspection.entries, owners.starter, owners.workers)));
    out.extend(of_closed(dir, &inspection.closed));
    if out.len() == before {
        let count = counted(inspection.entries.len(), "file");
        out.push(Finding::works("store-rights", &shown, format!("Owners and modes are right: {count}.")));
    }
    out.extend(of_archive(&shown, &inspection.entries));
    match inspect::space(dir) {
        Ok(space) => out.extend(of_space(&shown, space)),
        Err(error) => out.push(Finding::cannot_be_told(
            "disk-full",
            shown,
            format!("The file system does not say how much room it has: {}.", plain(&error)),
            "Look at it with 'df -h' and 'df -i'.",
        )),
    }
    true
}

fn missing(dir: &str, reason: &str, is_missing: bool) -> Finding {
    match is_missing {
        true => Finding::fails(
            "store-missing",
            dir,
            "There is no such folder.",
            "Name the folder of MDStoreDir by -d, or start httpd, which makes it: a configuration needs an MDomain for \
             that.",
        ),
        false => Finding::cannot_be_told(
            "store-unreadable",
            dir,
            format!("The folder cannot be read: {reason}."),
            "Call a2md as root, or as the user that starts httpd.",
        ),
    }
}

fn of_rights(dir: &Path, faults: &[Fault]) -> Vec<Finding> {
    let mut by_kind: BTreeMap<(u8, String), Vec<&PathBuf>> = BTreeMap::new();
    for fault in faults {
        let (kind, path) = match fault {
            Fault::Owner { path, is, expected } => ((0, format!("{is} {expected}")), path),
            Fault::Mode { path, mode, expected, right } => {
                let number = match right {
                    Right::KeyRead => 1,
                    Right::Written => 2,
                    Right::Closed => 3,
                };
                ((number, format!("{mode:04o} {expected:04o}")), path)
            }
            Fault::Link { path } => ((4, String::new()), path),
            Fault::Stray { path } => ((5, String::new()), path),
        };
        by_kind.entry(kind).or_default().push(path);
    }
    by_kind.iter().map(|((kind, values), paths)| of_kind(dir, *kind, values, paths)).collect()
}

/// The finding about all entries with the same fault.
fn of_kind(dir: &Path, kind: u8, values: &str, paths: &[&PathBuf]) -> Finding {
    let (is, expected) = values.split_once(' ').unwrap_or_default();
    let first = paths.first().map(|path| dir.join(path)).unwrap_or_default().display().to_string();
    let all = named(dir, paths);
    match kind {
        0 => Finding::fails(
            "store-owner",
            first,
            format!("It belongs to the user with number {is} instead of {expected}: {all}."),
            format!(
                "Restart httpd, which corrects owners where root starts it. Where an ordinary user does: chown {expected} \
                 these."
            ),
        ),
        1 => Finding::fails(
            "key-readable",
            first,
            format!("Other users may read a private key (mode {is} instead of {expected}): {all}."),
            format!(
                "chmod {expected} it, and find out who could read it. If it was read, replace it: a2md renew --new-key, \
                 then a2md revoke."
            ),
        ),
        2 => Finding::fails(
            "store-writable",
            first,
            format!("Other users may write there (mode {is} instead of {expected}): {all}."),
            format!("chmod {expected} it, and look for what others have put there."),
        ),
        3 => Finding::fails(
            "store-closed",
            first,
            format!("httpd's User cannot use it (mode {is} instead of {expected}): {all}."),
            format!("chmod {expected} it, or restart httpd, which does so where root starts it."),
        ),
        4 => Finding::fails(
            "store-link",
            first,
            format!("There are links where httpd's User can write, which mod_md does not follow: {all}."),
            "Put the file or folder itself in the place of the link.",
        ),
        _ => Finding {
            remedy: Some("Remove them if nobody needs them: mod_md leaves them alone.".into()),
            ..Finding::works("store-stray", first, format!("mod_md has not made this: {all}."))
        },
    }
}

fn named(dir: &Path, paths: &[&PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().take(NAMED).map(|path| dir.join(path).display().to_string()).collect();
    match paths.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn of_closed(dir: &Path, closed: &[(PathBuf, String)]) -> Vec<Finding> {
    let finding = |(path, reason): &(PathBuf, String)| {
        Finding::cannot_be_told(
            "store-unreadable",
            dir.join(path).display().to_string(),
            format!("The folder cannot be read: {reason}."),
            "Call a2md as root, or as the user that starts httpd. Where that is so, look at the disk and the file system.",
        )
    };
    closed.iter().map(finding).collect()
}

fn of_archive(dir: &str, entries: &[Entry]) -> Option<Finding> {
    let archived = || entries.iter().filter(|entry| entry.group() == Some(Group::Archive));
    let sets = archived().filter(|entry| entry.path.iter().count() == 2).count();
    let bytes: u64 = archived().map(|entry| entry.size).sum();
    (sets >= ARCHIVE_SETS || bytes >= ARCHIVE_BYTES).then(|| Finding {
        remedy: Some("a2md gc --older-than 90d --dry-run lists what can go.".into()),
        ..Finding::works(
            "archive-huge",
            format!("{dir}/archive"),
            format!("The archive has {sets} earlier sets of certificates, {} MiB.", bytes / 1024 / 1024),
        )
    })
}

fn of_space(dir: &str, space: Space) -> Vec<Finding> {
    let mut findings = Vec::new();
    if space.is_read_only {
        findings.push(Finding::fails(
            "disk-read-only",
            dir,
            "The file system is mounted read-only, so no certificate can be renewed.",
            "Mount it for writing; the system's log says why it is read-only.",
        ));
    }
    if space.free < FREE_MIN {
        findings.push(Finding::fails(
            "disk-full",
            dir,
            format!("The file system has {} KiB left for ordinary users.", space.free / 1024),
            "Make room in it ('df -h', 'du').",
        ));
    }
    if let Some(inodes) = space.inodes.filter(|inodes| *inodes < INODES_MIN) {
        findings.push(Finding::fails(
            "disk-inodes",
            dir,
            format!("The file system can hold {inodes} more files."),
            "Remove files from it ('df -i').",
        ));
    }
    if findings.is_empty() {
        let free = space.free / 1024 / 1024;
        findings.push(Finding::works("disk-full", dir, format!("{free} MiB are free.")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::store::inspect::Kind;

    #[test]
    fn room_is_told_by_bytes_inodes_and_the_mount() {
        let checks = |free, inodes, is_read_only| {
            let found = of_space("/md", Space { free, inodes, is_read_only });
            let bad = found.iter().filter(|finding| finding.verdict == Verdict::Fails);
            bad.map(|finding| finding.check).collect::<Vec<_>>()
        };
        assert_eq!(checks(1 << 30, None, false), [""; 0]);
        assert_eq!(checks(1 << 30, Some(5000), false), [""; 0]);
        assert_eq!(checks(4096, Some(5000), false), ["disk-full"]);
        assert_eq!(checks(1 << 30, Some(3), true), ["disk-read-only", "disk-inodes"]);
    }

    #[test]
    fn only_a_large_archive_is_told() {
        let owner = Owner { uid: 0, gid: 0 };
        let entry = |path: &str, size| Entry {
            path: path.into(),
            kind: Kind::Folder,
            owner,
            mode: 0o700,
            links: 1,
            size,
        };
        assert_eq!(
            of_archive("/md", &[entry("archive/a.test.1", 1), entry("domains/a.test", 1 << 40)]),
            None
        );
        let found = of_archive("/md", &[entry("archive/a.test.1/pubcert.pem", 1 << 40)]).unwrap();
        assert_eq!((found.check, found.verdict), ("archive-huge", Verdict::Works));
    }
}
