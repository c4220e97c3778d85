// SPDX-License-Identifier: Apache-2.0
//! Checks the folder of the store: whether it is there, the room on its file system, owners and modes, and what
//! others have put there. The functions below [`look`] and [`rights`] are pure.

use super::finding::Finding;
use crate::cli::site::Site;
use crate::config::Configuration;
use crate::log::{counted, plain};
use crate::store::whole::{Entry, Holders, Place, Sort, Survey};
use crate::store::{Error, Group, Owner, Space, reach, space};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Less cannot hold a renewal.
const FREE_MIN: u64 = 1024 * 1024;
const INODES_MIN: u64 = 64;
/// Of the archive: more sets or bytes than a site needs.
const ARCHIVE_SETS: usize = 10_000;
const ARCHIVE_BYTES: u64 = 1024 * 1024 * 1024;
/// Paths that one finding names.
const NAMED: usize = 5;

/// Looks at the folder of the store. `false`: it is not there, so nothing else can be looked at.
pub fn look(dir: &Path, configuration: Option<&Configuration>, out: &mut Vec<Finding>) -> bool {
    let shown = dir.display().to_string();
    let space = match space(dir) {
        Ok(space) => space,
        Err(error) => {
            out.push(missing(&shown, &plain(&error), error.kind() == ErrorKind::NotFound));
            return false;
        }
    };
    let closed = dir.parent().and_then(|parent| reach::closed_folder(parent, workers(configuration)));
    if let Some(closed) = closed {
        out.push(Finding::fails(
            "store-closed",
            &shown,
            format!("httpd's User cannot enter {closed}, so its child processes cannot use the store."),
            "Grant access with 'chmod o+x', or choose another folder (MDStoreDir).",
        ));
    }
    out.extend(of_space(&shown, space));
    true
}

/// Looks at owners and modes of all that is in the store.
pub fn rights(site: &Site, out: &mut Vec<Finding>) {
    let (dir, workers) = (&site.dir, workers(site.configuration.as_ref()));
    let survey = match site.store.survey(workers) {
        Ok(survey) => survey,
        Err(error) => return out.push(unreadable(dir, &error)),
    };
    let before = out.len();
    let holders = if workers.is_some() { survey.holders } else { guessed(&survey) };
    out.extend(of_faults(dir, &faults(&survey, holders)));
    if out.len() == before {
        let count = counted(survey.entries.len(), "file");
        let text = format!("Owners and modes are right: {count}.");
        out.push(Finding::works("store-rights", dir.display().to_string(), text));
    }
    out.extend(of_archive(&dir.display().to_string(), &survey.entries));
}

/// Without a configuration: most of what is not of workers belongs to who starts httpd.
fn guessed(survey: &Survey) -> Holders {
    let is_of_starter = |entry: &&Entry| {
        matches!(entry.place, Some(Place::GroupFolder(_) | Place::Root(_))) && !of_workers(entry)
    };
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    survey.entries.iter().filter(is_of_starter).for_each(|entry| *counts.entry(entry.uid).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    let starter = most.map_or(survey.holders.starter, |(uid, _)| uid);
    Holders { starter, ..survey.holders }
}

fn of_workers(entry: &Entry) -> bool {
    entry.place.as_ref().is_some_and(Place::is_of_workers)
}

fn workers(configuration: Option<&Configuration>) -> Option<Owner> {
    let (uid, gid) = configuration?.user?;
    Some(Owner { uid, gid })
}

fn unreadable(dir: &Path, error: &Error) -> Finding {
    let advice = "Call a2md as root, or as the user that starts httpd. Where that is so, look at the disk and the file \
                  system.";
    Finding::cannot_be_told("store-unreadable", dir.display().to_string(), format!("{error}."), advice)
}

/// What is wrong with an entry. Those of one kind make one finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Owner {
        is: u32,
        expected: u32,
    },
    /// Other users can read a plain private key, or the store's key.
    KeyRead {
        is: u32,
        expected: u32,
    },
    /// Other users can write.
    Written {
        is: u32,
        expected: u32,
    },
    /// httpd's `User` cannot use it.
    Closed {
        is: u32,
        expected: u32,
    },
    Link,
    Stray,
}

/// The faults that matter, each with the paths that have it.
fn faults(survey: &Survey, holders: Holders) -> BTreeMap<Fault, Vec<&str>> {
    let mut found: BTreeMap<Fault, Vec<&str>> = BTreeMap::new();
    for entry in survey.entries.iter().filter(|entry| entry.leftover().is_none()) {
        for fault in faults_of(entry, holders).into_iter().flatten() {
            found.entry(fault).or_default().push(&entry.path);
        }
    }
    found
}

fn faults_of(entry: &Entry, holders: Holders) -> [Option<Fault>; 2] {
    let Some(place) = &entry.place else { return [Some(Fault::Stray), None] };
    let is_of_workers = place.is_of_workers();
    match entry.sort {
        Sort::Link => return [is_of_workers.then_some(Fault::Link), None],
        Sort::Other => return [Some(Fault::Stray), None],
        Sort::File | Sort::Folder if (entry.sort == Sort::Folder) != place.is_folder() => {
            return [Some(Fault::Stray), None];
        }
        Sort::File | Sort::Folder => {}
    }
    if entry.has_other_names && is_of_workers {
        return [Some(Fault::Link), None];
    }
    let Some(right) = entry.wrong_rights(holders) else { return [None, None] };
    // What root has left where workers write, they can read.
    let is_of_starter = entry.sort == Sort::File && entry.uid == holders.starter;
    let owner = (right.uid != entry.uid && !is_of_starter)
        .then_some(Fault::Owner { is: entry.uid, expected: right.uid });
    let (is, expected) = (entry.mode, right.mode);
    let mode = match () {
        () if is == expected => None,
        () if is_plain_key(entry) && is & 0o077 != 0 => Some(Fault::KeyRead { is, expected }),
        () if is & 0o022 != 0 => Some(Fault::Written { is, expected }),
        () if lacks(entry, expected, holders) => Some(Fault::Closed { is, expected }),
        // Somebody can read what is no secret.
        () => None,
    };
    [owner, mode]
}

/// Whether the mode keeps its owner from it, or workers from accounts, which are not theirs.
fn lacks(entry: &Entry, expected: u32, holders: Holders) -> bool {
    let missing = expected & !entry.mode;
    let is_account = matches!(
        entry.place,
        Some(
            Place::GroupFolder(Group::Accounts)
                | Place::Folder(Group::Accounts, _)
                | Place::File(Group::Accounts, ..)
        )
    );
    let is_others = entry.uid != holders.workers.uid && entry.gid != holders.workers.gid;
    missing & 0o700 != 0 || (is_account && is_others && missing & 0o007 != 0)
}

/// Whether it is a private key that is not encrypted, or the key of the store.
fn is_plain_key(entry: &Entry) -> bool {
    match &entry.place {
        Some(Place::Root(file)) => *file == "md_store.json",
        Some(Place::File(Group::Domains | Group::Archive | Group::Tmp, _, file)) => file.contains("privkey"),
        _ => false,
    }
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

fn of_faults(dir: &Path, faults: &BTreeMap<Fault, Vec<&str>>) -> Vec<Finding> {
    faults.iter().map(|(fault, paths)| of_fault(dir, *fault, paths)).collect()
}

fn of_fault(dir: &Path, fault: Fault, paths: &[&str]) -> Finding {
    let first = paths.first().map(|path| dir.join(path).display().to_string()).unwrap_or_default();
    let all = named(dir, paths);
    let mode = |is: u32, expected: u32| format!("(mode {is:04o} instead of {expected:04o}): {all}.");
    match fault {
        Fault::Owner { is, expected } => Finding::fails(
            "store-owner",
            first,
            format!("It belongs to the user with number {is} instead of {expected}: {all}."),
            "Restart httpd, which corrects owners where root starts it, or a2md store verify --repair.",
        ),
        Fault::KeyRead { is, expected } => Finding::fails(
            "key-readable",
            first,
            format!("Other users may read a private key {}", mode(is, expected)),
            format!(
                "chmod {expected:04o} it, and find out who could read it. If it was read, replace it: a2md renew --new-key, \
                 then a2md revoke."
            ),
        ),
        Fault::Written { is, expected } => Finding::fails(
            "store-writable",
            first,
            format!("Other users may write there {}", mode(is, expected)),
            format!("chmod {expected:04o} it, and look for what others have put there."),
        ),
        Fault::Closed { is, expected } => Finding::fails(
            "store-closed",
            first,
            format!("httpd's User cannot use it {}", mode(is, expected)),
            "Restart httpd, which corrects modes where root starts it, or a2md store verify --repair.",
        ),
        Fault::Link => Finding::fails(
            "store-link",
            first,
            format!("There are links where httpd's User can write, which mod_md does not follow: {all}."),
            "Put the file or folder itself in the place of the link.",
        ),
        Fault::Stray => Finding {
            remedy: Some("Remove them if nobody needs them: mod_md leaves them alone.".into()),
            ..Finding::works("store-stray", first, format!("mod_md has not made this: {all}."))
        },
    }
}

fn named(dir: &Path, paths: &[&str]) -> String {
    let shown: Vec<_> = paths.iter().take(NAMED).map(|path| dir.join(path).display().to_string()).collect();
    match paths.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn of_archive(dir: &str, entries: &[Entry]) -> Option<Finding> {
    let is_set = |entry: &&Entry| matches!(entry.place, Some(Place::Folder(Group::Archive, _)));
    let sets = entries.iter().filter(is_set).count();
    let is_archived = |entry: &&Entry| matches!(entry.place, Some(Place::File(Group::Archive, ..)));
    let bytes: u64 = entries.iter().filter(is_archived).map(|entry| entry.size).sum();
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
    use crate::time::Timestamp;

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

    fn entry(path: &str, sort: Sort, uid: u32, mode: u32) -> Entry {
        let place = Place::of(path);
        let (path, changed, size) = (path.to_string(), Timestamp::from_unix(0), 1);
        Entry { path, place, sort, mode, uid, gid: uid, has_other_names: false, size, changed }
    }

    #[test]
    fn faults_that_matter_are_told_from_those_that_do_not() {
        let (starter, workers) = (0, Owner { uid: 33, gid: 33 });
        for (entry, expected) in [
            (entry("domains", Sort::Folder, 0, 0o700), None),
            (entry("domains", Sort::Folder, 0, 0o755), None),
            (entry("domains/a.test", Sort::Folder, 12, 0o700), Some(Fault::Owner { is: 12, expected: 0 })),
            (entry("staging/a.test", Sort::Folder, 0, 0o755), Some(Fault::Owner { is: 0, expected: 33 })),
            (entry("staging/a.test/md.json", Sort::File, 0, 0o644), None),
            (entry("domains/a.test/md.json", Sort::File, 0, 0o644), None),
            (
                entry("domains/a.test/privkey.pem", Sort::File, 0, 0o644),
                Some(Fault::KeyRead { is: 0o644, expected: 0o600 }),
            ),
            (
                entry("md_store.json", Sort::File, 0, 0o640),
                Some(Fault::KeyRead { is: 0o640, expected: 0o600 }),
            ),
            (entry("ocsp", Sort::Folder, 33, 0o777), Some(Fault::Written { is: 0o777, expected: 0o755 })),
            (entry("ocsp", Sort::Folder, 33, 0o500), Some(Fault::Closed { is: 0o500, expected: 0o755 })),
            // As the C module has it.
            (entry("ocsp", Sort::Folder, 33, 0o750), None),
            (entry("accounts", Sort::Folder, 0, 0o700), Some(Fault::Closed { is: 0o700, expected: 0o755 })),
            (entry("staging/a.test/x", Sort::Link, 33, 0o777), Some(Fault::Link)),
            (entry("domains/a.test", Sort::Link, 0, 0o777), None),
            (entry("notes.txt", Sort::File, 0, 0o644), Some(Fault::Stray)),
            (entry("domains/x", Sort::File, 0, 0o600), Some(Fault::Stray)),
        ] {
            let found: Vec<_> =
                faults_of(&entry, Holders { starter, workers }).into_iter().flatten().collect();
            assert_eq!(found, Vec::from_iter(expected), "{entry:?}");
        }
    }

    #[test]
    fn only_a_large_archive_is_told() {
        let file = |path: &str, size| Entry { size, ..entry(path, Sort::File, 0, 0o600) };
        let small = [file("archive/a.test.1/pubcert.pem", 1), file("domains/a.test/pubcert.pem", 1 << 40)];
        assert_eq!(of_archive("/md", &small), None);
        let found = of_archive("/md", &[file("archive/a.test.1/pubcert.pem", 1 << 40)]).unwrap();
        assert_eq!((found.check, found.verdict), ("archive-huge", Verdict::Works));
    }
}
