// SPDX-License-Identifier: Apache-2.0
//! Archives of a store: there and back, hostile ones, and processes that end in between.

use super::{Leftover, settle, target, unpack};
use crate::store::{Fuse, Group, Owner, StartStore};
use crate::time::Timestamp;
use rustix::process::geteuid;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const USER: Owner = Owner { uid: 33, gid: 34 };

fn owner() -> Option<Owner> {
    geteuid().is_root().then_some(USER)
}

/// A store with something in every place, and with what is not to be saved.
fn store() -> (TempDir, PathBuf, StartStore) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("md");
    let store = StartStore::open(&root, owner()).unwrap();
    for group in Group::ALL {
        let name = match group {
            Group::Archive => "a.test.1".to_string(),
            Group::Domains => "*.a.test".to_string(),
            // Longer than a header of tar has room for.
            Group::Staging => format!("{0}.{0}.{0}.a.test", "x".repeat(60)),
            _ => "a.test".to_string(),
        };
        store.write(group, &name, "privkey.p-256.pem", format!("{group:?}").as_bytes()).unwrap();
        store.write_json(group, &name, "secret.json", &json!({"eab": {"hmac": "h"}})).unwrap();
    }
    store.write_reach(true, true).unwrap();
    store
        .worker()
        .change_sealed("acme-dns-a.test.json", |_| {
            Ok::<_, crate::store::Error>(Some(zeroize::Zeroizing::new(b"x".to_vec())))
        })
        .unwrap();
    store.make_fleet_folder().unwrap();
    store.worker().write_fleet_set("a.test", b"set").unwrap();
    if let Some(owner) = owner() {
        // As if a worker had made it.
        chown(root.join("dns/dns.lock"), Some(owner.uid), Some(owner.gid)).unwrap();
    }
    drop(store.lock(std::time::Duration::ZERO).unwrap());
    (dir, root, store)
}

/// Path, content, mode, owner of all files.
fn facts(root: &Path) -> BTreeMap<String, (Vec<u8>, u32, u32)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if meta.is_dir() {
                found.insert(name, (Vec::new(), meta.mode() & 0o7777, meta.uid()));
                open.push(path);
            } else {
                found.insert(name, (fs::read(&path).unwrap(), meta.mode() & 0o7777, meta.uid()));
            }
        }
    }
    found.retain(|name, _| !name.ends_with(".lock"));
    found
}

fn archive_of(store: &StartStore) -> Vec<u8> {
    let mut archive = Vec::new();
    store.save(&mut archive, Path::new("x"), NOW).unwrap();
    archive
}

#[test]
fn a_store_comes_back_as_it_was_with_owners_and_modes() {
    let (dir, root, store) = store();
    let file = dir.path().join("backup.tar");
    let saved = store.save_to(&file, NOW).unwrap();
    assert_eq!(saved.left_out, []);
    let meta = fs::metadata(&file).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o600);
    let to = dir.path().join("new");
    let archive = fs::File::open(&file).unwrap();
    let unpacked = unpack(archive, &file, &to, owner(), &Fuse::default()).unwrap();
    assert_eq!((unpacked.files, unpacked.bytes), (saved.files, saved.bytes));
    assert!(unpacked.made.starts_with("2027-01-15T08:00:00Z by mod_md "), "{}", unpacked.made);
    assert!(!to.exists(), "nothing is in place yet");
    assert_eq!(settle(unpacked, &to).unwrap(), None);
    assert_eq!(facts(&to), facts(&root));
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o755);
    let again = StartStore::open(&to, owner()).unwrap();
    assert_eq!(again.worker().read_sealed("acme-dns-a.test.json").unwrap().unwrap().as_slice(), b"x");
    assert_eq!(again.read_fleet_set("a.test").unwrap().unwrap().as_slice(), b"set");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing else is left");
}

#[test]
fn what_is_none_of_the_store_stays_out_and_links_are_read_where_the_module_reads_them() {
    let (dir, root, store) = store();
    for path in ["note.txt", "domains/a.test.bak~", "domains/*.a.test/.hidden", "ocsp/a.test/x y"] {
        fs::write(root.join(path), "x").unwrap();
    }
    let outside = dir.path().join("outside.pem");
    fs::write(&outside, "of the admin").unwrap();
    symlink(&outside, root.join("domains/*.a.test/pubcert.pem")).unwrap();
    symlink(&outside, root.join("ocsp/a.test/planted.json")).unwrap();
    let mut archive = Vec::new();
    let saved = store.save(&mut archive, Path::new("x"), NOW).unwrap();
    let mut left: Vec<_> = saved.left_out.iter().map(|(path, _)| path.as_str()).collect();
    left.sort_unstable();
    let expected = [
        "domains/*.a.test/.hidden",
        "domains/a.test.bak~",
        "note.txt",
        "ocsp/a.test/planted.json",
        "ocsp/a.test/x y",
    ];
    assert_eq!(left, expected);
    let unpacked =
        unpack(&*archive, Path::new("x"), &dir.path().join("new"), None, &Fuse::default()).unwrap();
    let read = unpacked.store.read(Group::Domains, "*.a.test", "pubcert.pem").unwrap();
    assert_eq!(read.as_deref(), Some(&b"of the admin"[..]));
    unpacked.discard().unwrap();
}

/// A member as no program of ours writes it.
fn member(name: &[u8], sort: EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(sort);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    if matches!(sort, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

/// The members of a good archive, up to its end.
fn members(archive: &[u8]) -> &[u8] {
    let end = archive.windows(11).position(|window| window == b"backup.json").unwrap();
    &archive[..end]
}

#[test]
fn an_archive_that_has_anything_else_is_refused_and_leaves_nothing() {
    let (dir, _root, store) = store();
    let good = archive_of(&store);
    let before = members(&good);
    let file = EntryType::Regular;
    let with = |name: &[u8], sort, content: &[u8]| {
        [before, &member(name, sort, content), &good[before.len()..]].concat()
    };
    let huge = {
        let mut header = member(b"domains/b.test/md.json", file, b"");
        header[124..136].copy_from_slice(b"77777777777\0");
        let mut typed = Header::new_gnu();
        typed.as_mut_bytes().copy_from_slice(&header);
        typed.set_cksum();
        [before, typed.as_bytes(), &good[before.len()..]].concat()
    };
    let long = |length: usize| {
        let name = [&b"domains/"[..], &vec![b'x'; length]].concat();
        [&member(b"././@LongLink", EntryType::GNULongName, &name)[..], &member(b"x", file, b"x")].concat()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("up", with(b"domains/../../x", file, b"x"), "none of the files"),
        ("absolute", with(b"/etc/passwd", file, b"x"), "none of the files"),
        ("dot", with(b"./md_store.json", file, b"x"), "none of the files"),
        ("unknown", with(b"domains/a.test/x y", file, b"x"), "none of the files"),
        ("hidden", with(b"domains/a.test/.x", file, b"x"), "none of the files"),
        ("lock", with(b"store.lock", file, b"x"), "none of the files"),
        ("deep", with(b"domains/a.test/x/y", file, b"x"), "none of the files"),
        ("control", with(b"domains/\x1b[2J", file, b"x"), "\\u{1b}"),
        ("no utf-8", with(b"domains/\xff", file, b"x"), "UTF-8"),
        ("symlink", with(b"domains/a.test/md.json", EntryType::Symlink, b""), "not a plain file"),
        ("hard link", with(b"domains/a.test/md.json", EntryType::Link, b""), "not a plain file"),
        ("fifo", with(b"domains/a.test/md.json", EntryType::Fifo, b""), "not a plain file"),
        ("device", with(b"domains/a.test/md.json", EntryType::Block, b""), "not a plain file"),
        ("folder", with(b"domains/a.test", EntryType::Directory, b""), "not a plain file"),
        ("sparse", with(b"domains/a.test/md.json", EntryType::GNUSparse, b""), "not a plain file"),
        ("pax", with(b"x", EntryType::XHeader, b"20 path=/etc/passwd\n"), "not a plain file"),
        ("twice", with(b"md_store.json", file, b"x"), "twice"),
        ("more than said", with(b"domains/b.test/md.json", file, b"{}"), "says otherwise"),
        ("huge", huge, "larger than"),
        ("long name", [before, &long(2000)].concat(), "larger than"),
        ("long name of nothing", [before, &long(300)].concat(), "none of the files"),
        ("cut", before.to_vec(), "end is missing"),
        ("cut in a file", good[..1000].to_vec(), "no archive of a store"),
        ("empty", Vec::new(), "end is missing"),
        ("no archive", vec![b'x'; 4096], "no archive of a store"),
        ("no key", member(b"domains/a.test/md.json", file, b"{}"), "does not come first"),
        ("bad key", member(b"md_store.json", file, b"{}"), "md_store.json"),
        ("newer", member(b"md_store.json", file, br#"{"store":{"version":4.0},"key":"x"}"#), "version 4"),
    ];
    for (what, archive, expected) in cases {
        let to = dir.path().join("new");
        let refused = unpack(&*archive, Path::new("a.tar"), &to, None, &Fuse::default());
        let said = refused.err().unwrap_or_else(|| panic!("{what} is taken")).to_string();
        assert!(said.contains(expected) && said.contains("a.tar"), "{what}: {said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{what} leaves nothing");
    }
}

#[test]
fn an_archive_is_written_whole_or_not_at_all() {
    let (dir, root, store) = store();
    let file = dir.path().join("backup.tar");
    fs::write(&file, "the one before").unwrap();
    for steps in 0.. {
        let dying = StartStore::open_existing_with(&root, Fuse::after(steps)).unwrap();
        if dying.save_to(&file, NOW).is_ok() {
            assert!(steps >= 3);
            break;
        }
        let content = fs::read(&file).unwrap();
        if content != b"the one before" {
            let to = dir.path().join("new");
            unpack(&*content, &file, &to, None, &Fuse::default()).unwrap().discard().unwrap();
            fs::write(&file, "the one before").unwrap();
        }
    }
    let before = fs::read_dir(dir.path()).unwrap().count();
    let key = fs::read(root.join("md_store.json")).unwrap();
    for (path, is_whole) in [("httpd.json", true), ("md_store.json", false)] {
        fs::write(root.join(path), vec![b' '; 5 << 20]).unwrap();
        let saved = store.save_to(&file, NOW);
        assert_eq!(saved.is_ok_and(|saved| saved.left_out.len() == 1), is_whole, "{path}");
    }
    fs::write(root.join("md_store.json"), key).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before, "no half of a file stays");
    assert!(store.save_to(&root.join("backup.tar"), NOW).unwrap_err().to_string().contains("itself"));
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(store.save_to(&dir.path().join("folder"), NOW).is_err());
    assert!(store.save_to(&dir.path().join("none/backup.tar"), NOW).unwrap_err().is_not_found());
}

/// A disk of this size in bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_or_closed_pipe_is_an_error_of_the_backup() {
    let (_dir, _root, store) = store();
    let length = archive_of(&store).len();
    for room in [0, 512, length / 2, length - 1] {
        let error = store.save(Full(room), Path::new("the pipe"), NOW).unwrap_err().to_string();
        assert!(error.contains("the pipe"), "{error}");
    }
    store.save(Full(length), Path::new("the pipe"), NOW).unwrap();
}

#[test]
fn a_restore_that_ends_anywhere_leaves_the_old_store_or_the_new() {
    let (dir, root, store) = store();
    let archive = archive_of(&store);
    let new = facts(&root);
    let to = dir.path().join("to");
    for steps in 0.. {
        let old = StartStore::open(&to, owner()).unwrap();
        old.write(Group::Domains, "old.test", "md.json", b"{}").unwrap();
        let before = facts(&to);
        let fuse = Fuse::after(steps);
        let done =
            unpack(&*archive, Path::new("a.tar"), &to, owner(), &fuse).and_then(|store| settle(store, &to));
        let now = facts(&to);
        assert!(now == before || now == new, "after {steps} steps");
        if let Ok(aside) = done {
            assert_eq!((facts(&aside.unwrap()), now), (before, new));
            assert!(steps > 20);
            return;
        }
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path != root {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
}

#[test]
fn a_target_is_looked_at_through_links() {
    let (dir, root, _store) = store();
    let link = dir.path().join("link");
    symlink(&root, &link).unwrap();
    let found = target(&link).unwrap();
    assert!(found.is_in_use && found.dir == fs::canonicalize(&root).unwrap());
    assert_eq!(found.workers.is_some_and(|workers| workers.uid == USER.uid), geteuid().is_root());
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(!target(&dir.path().join("empty")).unwrap().is_in_use);
    assert!(!target(&dir.path().join("none")).unwrap().is_in_use);
    assert!(target(&dir.path().join("none/none")).is_err());
}

#[test]
fn a_survey_lists_everything_and_knows_what_is_wrong_with_its_rights() {
    let (dir, root, store) = store();
    let wrong = |store: &StartStore| -> Vec<(String, u32)> {
        let survey = store.survey(None).unwrap();
        let rights =
            survey.entries.iter().filter_map(|entry| Some((entry, entry.wrong_rights(survey.holders)?)));
        rights.map(|(entry, rights)| (entry.path.clone(), rights.mode)).collect()
    };
    assert_eq!(wrong(&store), []);
    fs::set_permissions(root.join("md_store.json"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(root.join("domains/*.a.test"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("domains/*.a.test/privkey.p-256.pem"), Permissions::from_mode(0o640))
        .unwrap();
    // Closed to more people than it must be.
    fs::set_permissions(root.join("domains/*.a.test/secret.json"), Permissions::from_mode(0o400)).unwrap();
    fs::write(root.join("domains/*.a.test/.md.json.12.3"), "x").unwrap();
    fs::create_dir_all(root.join("staging/.removed.0a/b/c")).unwrap();
    symlink(dir.path(), root.join("staging/link.test")).unwrap();
    let mut expected = vec![
        ("domains/*.a.test".to_string(), 0o700),
        ("domains/*.a.test/privkey.p-256.pem".to_string(), 0o600),
        ("md_store.json".to_string(), 0o600),
    ];
    if geteuid().is_root() {
        chown(root.join("challenges/a.test/privkey.p-256.pem"), Some(0), Some(0)).unwrap();
        chown(root.join("accounts/a.test"), Some(33), None).unwrap();
        fs::set_permissions(root.join("accounts/a.test/secret.json"), Permissions::from_mode(0o600)).unwrap();
        let more = [
            ("accounts/a.test", 0o755),
            ("accounts/a.test/secret.json", 0o640),
            ("challenges/a.test/privkey.p-256.pem", 0o644),
        ];
        expected.splice(0..0, more.map(|(path, mode)| (path.to_string(), mode)));
    }
    assert_eq!(wrong(&store), expected);
    let survey = store.survey(None).unwrap();
    let leftovers: Vec<_> =
        survey.entries.iter().filter_map(|entry| Some((&*entry.path, entry.leftover()?))).collect();
    assert_eq!(
        leftovers,
        [
            ("domains/*.a.test/.md.json.12.3", Leftover::Temporary),
            ("staging/.removed.0a", Leftover::SetAside)
        ]
    );
    assert!(
        !survey.entries.iter().any(|entry| entry.path.starts_with("staging/link.test/")),
        "it is not followed"
    );
    for entry in &survey.entries {
        if let Some(rights) = entry.wrong_rights(survey.holders) {
            store.set_rights(entry, rights).unwrap();
        }
        if entry.leftover().is_some() {
            store.remove_entry(entry).unwrap();
        }
    }
    assert_eq!(wrong(&store), []);
    assert!(!root.join("staging/.removed.0a").exists() && dir.path().exists());
    if geteuid().is_root() {
        let meta = fs::metadata(root.join("accounts/a.test/secret.json")).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.gid()), (0o640, USER.gid), "workers can read it again");
    }
}
