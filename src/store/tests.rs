// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::crypto::fixture::Ca;
use crate::model::KeySpec;
use crate::sync::{Mutex, lock};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

/// An owner other than the user that runs the tests; `None` where these are not run by root.
fn owner() -> Option<Owner> {
    let own = tempfile::tempdir().unwrap();
    (fs::metadata(own.path()).unwrap().uid() == 0).then_some(Owner { uid: 33, gid: 34 })
}

fn store() -> (TempDir, StartStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = StartStore::open(&dir.path().join("md"), owner()).unwrap();
    (dir, store)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn key() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
}

#[test]
fn every_folder_has_the_mode_and_owner_of_its_group() {
    let (dir, _store) = store();
    let root = dir.path().join("md");
    assert_eq!(mode(&root), 0o755);
    assert_eq!(mode(&root.join("md_store.json")), 0o600);
    for (name, expected) in [
        ("accounts", 0o755),
        ("challenges", 0o755),
        ("domains", 0o700),
        ("archive", 0o700),
        ("staging", 0o755),
        ("ocsp", 0o755),
        ("tmp", 0o700),
        ("requests", 0o755),
        ("withdrawn", 0o755),
    ] {
        assert_eq!(mode(&root.join(name)), expected, "{name}");
        if let Some(owner) = owner() {
            let of_workers = ["challenges", "staging", "ocsp"].contains(&name);
            assert_eq!(fs::metadata(root.join(name)).unwrap().uid() == owner.uid, of_workers, "{name}");
        }
    }
}

#[test]
fn wrong_modes_of_a_store_that_exists_are_set_right() {
    let (dir, _store) = store();
    let root = dir.path().join("md");
    fs::set_permissions(root.join("domains"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("accounts"), fs::Permissions::from_mode(0o750)).unwrap();
    StartStore::open(&root, owner()).unwrap();
    assert_eq!(mode(&root.join("domains")), 0o700);
    assert_eq!(mode(&root.join("accounts")), 0o755);
}

#[test]
fn files_are_for_everyone_only_where_workers_look() {
    let (dir, store) = store();
    for group in Group::ALL {
        let name = if group == Group::Archive { "a.test.1" } else { "a.test" };
        store.write(group, name, "f.txt", b"x").unwrap();
        let folder = dir.path().join("md").join(group.dir_name()).join(name);
        let private = matches!(group, Group::Domains | Group::Archive | Group::Tmp);
        assert_eq!(mode(&folder), if private { 0o700 } else { 0o755 }, "{group:?}");
        assert_eq!(mode(&folder.join("f.txt")), if private { 0o600 } else { 0o644 }, "{group:?}");
        if let Some(owner) = owner() {
            let meta = fs::metadata(folder.join("f.txt")).unwrap();
            let expected = if group.is_of_workers() { (owner.uid, owner.gid) } else { (0, 0) };
            assert_eq!((meta.uid(), meta.gid()), expected, "{group:?}");
        }
    }
}

#[test]
fn a_file_with_an_eab_hmac_is_for_workers_alone() {
    let (dir, store) = store();
    let secret = json!({"eab": {"kid": "k", "hmac": "s"}});
    for (group, folder) in [(Group::Accounts, "accounts/a"), (Group::Staging, "staging/a")] {
        let path = dir.path().join("md").join(folder).join("x.json");
        store.write_json(group, "a", "x.json", &json!({"eab": {"kid": "k"}})).unwrap();
        assert_eq!(mode(&path), 0o644);
        store.write_json(group, "a", "x.json", &secret).unwrap();
        assert_eq!(mode(&path), if owner().is_some() { 0o640 } else { 0o600 });
        if let Some(owner) = owner() {
            assert_eq!(fs::metadata(&path).unwrap().gid(), owner.gid);
        }
    }
    store.write_json(Group::Domains, "a", "x.json", &secret).unwrap();
    assert_eq!(mode(&dir.path().join("md/domains/a/x.json")), 0o600);
}

#[test]
fn the_store_key_is_made_once() {
    let (dir, store) = store();
    let root = dir.path().join("md");
    let made = fs::read(root.join("md_store.json")).unwrap();
    store.write_key(Group::Staging, "a.test", "k.pem", &key()).unwrap();
    let again = StartStore::open(&root, owner()).unwrap();
    assert_eq!(fs::read(root.join("md_store.json")).unwrap(), made);
    assert!(again.read_key(Group::Staging, "a.test", "k.pem").unwrap().is_some());
}

#[test]
fn two_starts_at_once_agree_on_one_store_key() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let open = || StartStore::open(dir.path(), None).unwrap().layout.key.bytes().to_vec();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn a_store_file_that_cannot_be_used_stops_the_start_with_advice_and_stays() {
    let key64 = "A".repeat(64);
    for (content, expected) in [
        ("".to_string(), "restore this file from a backup"),
        ("{".into(), "restore this file from a backup"),
        ("[]".into(), "it has no version"),
        (r#"{"store":{"version":3.0}}"#.into(), "it has no key"),
        (r#"{"store":{"version":3.0},"key":"AAAA"}"#.into(), "its key has 3 bytes instead of 48"),
        (r#"{"store":{"version":3.0},"key":"!"}"#.into(), "its key is not base64url"),
        (format!(r#"{{"store":{{"version":4.0}},"key":"{key64}"}}"#), "of version 4, made by a newer mod_md"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("md_store.json"), &content).unwrap();
        let error = StartStore::open(dir.path(), None).err().unwrap().to_string();
        assert!(error.contains(expected), "{content}: {error}");
        assert!(!error.contains("AAAA"));
        assert_eq!(fs::read_to_string(dir.path().join("md_store.json")).unwrap(), content);
    }
    let dir = tempfile::tempdir().unwrap();
    let good = format!(r#"{{"store":{{"version":3.0}},"key":"{key64}"}}"#);
    fs::write(dir.path().join("md_store.json"), good).unwrap();
    assert!(StartStore::open(dir.path(), None).is_ok());
}

#[test]
fn a_store_folder_may_be_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("md")).unwrap();
    let store = StartStore::open(&dir.path().join("md"), None).unwrap();
    store.write(Group::Staging, "a.test", "f", b"x").unwrap();
    assert!(dir.path().join("real/staging/a.test/f").exists());
}

#[test]
fn keys_are_encrypted_in_accounts_and_staging_alone() {
    let (_dir, store) = store();
    let key = key();
    for group in [Group::Accounts, Group::Staging, Group::Domains, Group::Tmp, Group::Challenges] {
        store.write_key(group, "a.test", "k.pem", &key).unwrap();
        let pem = store.read(group, "a.test", "k.pem").unwrap().unwrap();
        let is_encrypted = pem.starts_with(b"-----BEGIN ENCRYPTED");
        assert_eq!(is_encrypted, matches!(group, Group::Accounts | Group::Staging), "{group:?}");
        let read = store.read_key(group, "a.test", "k.pem").unwrap().unwrap();
        assert!(read.pkey().public_eq(key.pkey()));
    }
}

#[test]
fn each_group_takes_keys_in_its_own_form_alone() {
    let (_dir, store) = store();
    let plain = key().to_pem().unwrap().to_vec();
    let sealed = store.seal_key(Group::Staging, &key()).unwrap().to_vec();
    let traditional = openssl::rsa::Rsa::generate(1024).unwrap();
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    let encrypted = traditional.private_key_to_pem_passphrase(cipher, b"").unwrap();
    let traditional = traditional.private_key_to_pem().unwrap();
    let forms = [&plain, &sealed, &traditional, &encrypted, &key().seal(&b""[..].into()).unwrap()];
    for (group, taken) in [
        (Group::Accounts, [false, true, false, false, false]),
        (Group::Staging, [false, true, false, false, false]),
        (Group::Challenges, [true, false, false, false, false]),
        (Group::Domains, [true, false, true, false, false]),
        (Group::Tmp, [true, false, true, false, false]),
    ] {
        for (form, is_taken) in forms.iter().zip(taken) {
            store.write(group, "a.test", "k.pem", form).unwrap();
            let read = store.read_key(group, "a.test", "k.pem");
            assert_eq!(read.is_ok(), is_taken, "{group:?} {}", String::from_utf8_lossy(form));
            if let Err(error) = read {
                assert!(matches!(error, Error::Garbage { .. }), "{error}");
            }
        }
    }
}

#[test]
fn the_key_of_the_store_serves_wherever_it_is_kept() {
    let (_dir, store) = store();
    store.write_key(Group::Staging, "a.test", "k.pem", &key()).unwrap();
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let moved = store.with_key_in(|secret| {
        lock(&KEPT).push(secret.len());
        Arc::new(secret.to_vec())
    });
    for _ in 0..2 {
        assert!(moved.worker().read_key(WorkGroup::Staging, "a.test", "k.pem").unwrap().is_some());
    }
    assert_eq!(*lock(&KEPT), [48, 32], "the key, and the one derived for the file");
}

#[test]
fn chains_are_read_back() {
    let (_dir, store) = store();
    let chain = Ca::new("CA").issue(&["a.test"], &key());
    store.write_chain(Group::Domains, "a.test", "pubcert.pem", &chain).unwrap();
    let read = store.read_chain(Group::Domains, "a.test", "pubcert.pem").unwrap().unwrap();
    assert_eq!(read.to_pem(), chain.to_pem());
    assert!(store.read_chain(Group::Domains, "a.test", "none.pem").unwrap().is_none());
    assert!(store.read_chain(Group::Domains, "none.test", "pubcert.pem").unwrap().is_none());
}

#[test]
fn json_is_indented_by_two_spaces_and_keeps_its_order() {
    let (_dir, store) = store();
    store.write_json(Group::Domains, "a", "x.json", &json!({"b": [1], "a": {}})).unwrap();
    let text = store.read(Group::Domains, "a", "x.json").unwrap().unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}");
}

#[test]
fn garbage_is_told_from_absence_and_names_its_file() {
    let (dir, store) = store();
    for file in ["x.json", "k.pem", "c.pem"] {
        store.write(Group::Staging, "a.test", file, b"\xff\0{garbage").unwrap();
    }
    let errors = [
        store.read_json(Group::Staging, "a.test", "x.json").err().unwrap(),
        store.read_key(Group::Staging, "a.test", "k.pem").err().unwrap(),
        store.read_chain(Group::Staging, "a.test", "c.pem").err().unwrap(),
    ];
    for (error, file) in errors.iter().zip(["x.json", "k.pem", "c.pem"]) {
        assert!(matches!(error, Error::Garbage { path, .. } if path.ends_with(file)), "{error}");
    }
    let file = fs::File::create(dir.path().join("md/staging/a.test/big.json")).unwrap();
    file.set_len(JSON_MAX + 1).unwrap();
    let error = store.read_json(Group::Staging, "a.test", "big.json").err().unwrap();
    assert!(error.to_string().contains("larger than 4194304 bytes"), "{error}");
    let deep = "[".repeat(100_000);
    store.write(Group::Staging, "a.test", "deep.json", deep.as_bytes()).unwrap();
    assert!(store.read_json(Group::Staging, "a.test", "deep.json").is_err());
}

#[test]
fn no_operation_takes_a_name_that_leaves_its_folder() {
    let (dir, store) = store();
    fs::write(dir.path().join("md/secret"), "x").unwrap();
    for name in ["", "..", "../domains", "a/b", "/etc", "a\0b", &"x".repeat(300)] {
        for group in [Group::Domains, Group::Staging, Group::Accounts] {
            assert!(store.read(group, name, "secret").is_err());
            assert!(store.write(group, name, "f", b"x").is_err());
            assert!(store.purge(group, name).is_err());
            assert!(store.remove(group, name, "secret").is_err());
            assert!(store.path(group, name, "f").is_err());
            assert!(store.rename(group, "a.test", group, name).is_err());
        }
        assert!(
            store.read(Group::Domains, "a.test", name).is_err()
                || !store.exists(Group::Domains, "a.test").unwrap()
        );
        assert!(store.write(Group::Domains, "a.test", name, b"x").is_err());
    }
}

#[test]
fn links_planted_by_workers_are_not_followed() {
    let (dir, store) = store();
    let root = dir.path().join("md");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("job.json"), r#"{"finished": true}"#).unwrap();
    symlink(&outside, root.join("staging/folder.test")).unwrap();
    fs::create_dir(root.join("staging/file.test")).unwrap();
    symlink(outside.join("job.json"), root.join("staging/file.test/job.json")).unwrap();
    symlink(&outside, root.join("staging/file.test/dir")).unwrap();

    assert_eq!(store.names(Group::Staging).unwrap(), ["file.test"]);
    assert!(store.read_json(Group::Staging, "folder.test", "job.json").is_err());
    assert!(store.read_json(Group::Staging, "file.test", "job.json").is_err());
    store.write(Group::Staging, "file.test", "job.json", b"x").unwrap();
    symlink(outside.join("job.json"), root.join("staging/file.test/md.json")).unwrap();
    symlink(&outside, root.join("staging/gone.test")).unwrap();
    symlink("nowhere", root.join("staging/nowhere.test")).unwrap();
    let names = ["gone.test", "nowhere.test", "file.test", "none.test"];
    let removed = store.remove_strangers(Group::Staging, names.into_iter()).unwrap().into_iter();
    let mut removed: Vec<_> = removed.filter(|(_, error)| error.is_none()).map(|(name, _)| name).collect();
    removed.sort();
    assert_eq!(removed, ["gone.test", "nowhere.test"]);
    // A worker does not fail for ever because of it.
    store.worker().write(WorkGroup::Staging, "folder.test", "job.json", b"x").unwrap();
    assert!(root.join("staging/folder.test").symlink_metadata().unwrap().is_dir());
    store.purge(Group::Staging, "folder.test").unwrap();
    store.purge(Group::Staging, "file.test").unwrap();
    assert_eq!(fs::read_to_string(outside.join("job.json")).unwrap(), r#"{"finished": true}"#);
    assert_eq!(fs::read_dir(root.join("staging")).unwrap().count(), 0);
}

#[test]
fn a_file_with_a_name_elsewhere_is_not_read_where_workers_write() {
    let (dir, store) = store();
    let root = dir.path().join("md");
    for group in Group::ALL {
        let name = if group == Group::Archive { "a.test.1" } else { "a.test" };
        store.write(group, name, "f", b"x").unwrap();
        let file = store.path(group, name, "f").unwrap();
        let other = root.join("other");
        fs::hard_link(&file, &other).unwrap();
        let read = store.read(group, name, "f");
        match group.is_of_workers() {
            true => assert!(read.err().unwrap().to_string().contains("a hard link"), "{group:?}"),
            false => assert!(read.unwrap().is_some(), "{group:?}: only root can have made it"),
        }
        // The written file takes its place, and the other one stays as it is.
        store.write(group, name, "f", b"y").unwrap();
        assert_eq!(store.read(group, name, "f").unwrap().unwrap(), b"y");
        assert_eq!(fs::read(&other).unwrap(), b"x");
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn a_file_of_somebody_else_is_not_read_where_workers_write() {
    if rustix::process::geteuid().as_raw() != 0 {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("md");
    let store = StartStore::open(&root, Some(Owner { uid: 33, gid: 34 })).unwrap();
    store.write(Group::Staging, "a.test", "f", b"x").unwrap();
    let file = root.join("staging/a.test/f");
    for (uid, is_read) in [(33, true), (0, true), (1234, false)] {
        std::os::unix::fs::chown(&file, Some(uid), None).unwrap();
        assert_eq!(store.read(Group::Staging, "a.test", "f").is_ok(), is_read, "{uid}");
    }
}

#[test]
fn a_folder_in_place_of_a_file_gives_way_where_workers_write() {
    let (dir, store) = store();
    let folder = dir.path().join("md/staging/a.test");
    for change in [
        |store: &StartStore| store.worker().write(WorkGroup::Staging, "a.test", "job.json", b"x"),
        |store: &StartStore| store.worker().remove(WorkGroup::Staging, "a.test", "job.json"),
    ] {
        fs::create_dir_all(folder.join("job.json/in/it")).unwrap();
        change(&store).unwrap();
        assert!(!folder.join("job.json").is_dir());
        store.purge(Group::Staging, "a.test").unwrap();
    }
}

#[test]
fn a_fifo_or_socket_in_place_of_a_file_does_not_hold_up_the_start() {
    let (dir, store) = store();
    store.write(Group::Staging, "a.test", "f", b"x").unwrap();
    let path = dir.path().join("md/staging/a.test/job.json");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let error = store.read(Group::Staging, "a.test", "job.json").err().unwrap();
    assert!(error.to_string().contains("it is not a file"), "{error}");
    fs::remove_file(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = store.read(Group::Staging, "a.test", "job.json").err().unwrap();
    assert!(matches!(&error, Error::Garbage { .. }), "{error}");
}

#[test]
fn entries_of_strangers_are_neither_listed_nor_touched() {
    let (dir, store) = store();
    let staging = dir.path().join("md/domains");
    fs::write(staging.join("README"), "x").unwrap();
    fs::create_dir(staging.join("lost+found")).unwrap();
    fs::create_dir(staging.join(".hidden")).unwrap();
    store.write(Group::Domains, "*.a.test", "f", b"x").unwrap();
    assert_eq!(store.names(Group::Domains).unwrap(), ["*.a.test"]);
    StartStore::open(&dir.path().join("md"), owner()).unwrap();
    assert!(staging.join("README").exists() && staging.join("lost+found").exists());
}

#[test]
fn purging_takes_everything_in_the_folder_whatever_it_is_called() {
    use std::os::unix::ffi::OsStrExt;
    let (dir, store) = store();
    store.write(Group::Staging, "a.test", "f", b"x").unwrap();
    let folder = dir.path().join("md/staging/a.test");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xff\n")), "x").unwrap();
    fs::create_dir_all(folder.join("sub/sub")).unwrap();
    fs::write(folder.join("sub/sub/x"), "x").unwrap();
    store.purge(Group::Staging, "a.test").unwrap();
    assert!(!folder.exists());
    store.purge(Group::Staging, "a.test").unwrap();
}

#[test]
fn a_write_that_ends_anywhere_leaves_the_old_content_or_the_new() {
    let (dir, store) = store();
    let root = dir.path().join("md");
    let mut complete = false;
    for steps in 0..20 {
        store.write(Group::Domains, "a.test", "f", b"old content").unwrap();
        let dying = StartStore::open_with(&root, owner(), Fuse::after(steps)).unwrap();
        let written = dying.write(Group::Domains, "a.test", "f", b"new");
        let found = store.read(Group::Domains, "a.test", "f").unwrap().unwrap();
        match written {
            Ok(()) => {
                assert_eq!(found, b"new");
                complete = true;
            }
            Err(_) => assert!(found == b"old content" || found == b"new", "{steps}"),
        }
        assert_eq!(mode(&root.join("domains/a.test/f")), 0o600);
    }
    assert!(complete);
}

#[test]
fn a_first_start_that_ends_anywhere_is_followed_by_one_that_works() {
    for steps in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("md");
        let died = StartStore::open_with(&root, owner(), Fuse::after(steps)).is_err();
        StartStore::open(&root, owner()).unwrap();
        if !died {
            return;
        }
    }
    panic!("the start never completed");
}

#[test]
fn writers_at_the_same_time_tear_nothing() {
    let (dir, store) = store();
    let worker = store.worker();
    std::thread::scope(|scope| {
        for letter in [b'a', b'b', b'c', b'd'] {
            let worker = worker.clone();
            let content = vec![letter; 100_000];
            scope.spawn(move || {
                for _ in 0..20 {
                    worker.write(WorkGroup::Staging, "a.test", "f", &content).unwrap();
                    let read = worker.read(WorkGroup::Staging, "a.test", "f").unwrap().unwrap();
                    assert!(read.len() == 100_000 && read.iter().all(|b| *b == read[0]));
                }
            });
        }
    });
    let names: Vec<_> = fs::read_dir(dir.path().join("md/staging/a.test")).unwrap().collect();
    assert_eq!(names.len(), 1, "no temporary file is left");
}

#[test]
fn reach_is_written_when_it_changed_and_repairs_garbage() {
    let (dir, store) = store();
    let path = dir.path().join("md/httpd.json");
    assert!(store.write_reach(true, false).unwrap());
    assert!(!store.write_reach(true, false).unwrap());
    fs::write(&path, "garbage").unwrap();
    assert!(store.write_reach(true, false).unwrap());
    let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(json, json!({"proto": {"http": true, "https": false}}));
}

#[test]
fn workers_read_accounts() {
    let (_dir, store) = store();
    let name = "ACME-ca.test-0000";
    store.write_json(Group::Accounts, name, "account.json", &json!({"url": "u"})).unwrap();
    store.write_key(Group::Accounts, name, "account.pem", &key()).unwrap();
    let worker = store.worker();
    assert_eq!(worker.account_names().unwrap(), [name]);
    assert_eq!(worker.read_account_json(name).unwrap().unwrap()["url"], "u");
    assert!(worker.read_account_key(name).unwrap().is_some());
    assert!(worker.read_account_json("../domains").is_err());
}

#[test]
fn an_error_of_the_system_keeps_its_number_and_path() {
    let (dir, store) = store();
    fs::remove_dir(dir.path().join("md/ocsp")).unwrap();
    let error = store.write(Group::Ocsp, "other", "x.json", b"x").err().unwrap();
    assert_eq!(error.os_error(), Some(libc::ENOENT));
    assert!(error.to_string().ends_with("md/ocsp/other: No such file or directory"), "{error}");
}

#[test]
fn workers_do_not_inherit_open_folders() {
    let (dir, store) = store();
    let open =
        || fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let domains = dir.path().join("md/domains");
    assert!(open().any(|path| path == domains));
    let worker = store.worker();
    drop(store);
    assert!(!open().any(|path| path.starts_with(dir.path())));
    assert_eq!(worker.names(WorkGroup::Staging).unwrap(), [""; 0]);
}

#[test]
fn files_and_their_times_are_listed() {
    let (_dir, store) = store();
    store.write(Group::Ocsp, "other", "b.json", b"x").unwrap();
    store.write(Group::Ocsp, "other", "a.json", b"x").unwrap();
    assert_eq!(store.files(Group::Ocsp, "other").unwrap(), ["a.json", "b.json"]);
    assert!(store.modified(Group::Ocsp, "other", "a.json").unwrap().unwrap().unix() > 1_700_000_000);
    store.remove(Group::Ocsp, "other", "a.json").unwrap();
    store.remove(Group::Ocsp, "other", "a.json").unwrap();
    assert_eq!(store.modified(Group::Ocsp, "other", "a.json").unwrap(), None);
}
