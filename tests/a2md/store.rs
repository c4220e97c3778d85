// SPDX-License-Identifier: Apache-2.0
//! `a2md store verify`, `backup` and `restore`, with stores that httpd has made, beside it and without it.

use super::call::{a2md, called, command};
use openssl::pkey::PKey;
use serde_json::Value;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use support::httpd::unprivileged_user;
use support::issuer::damage;
use support::{Config, Lab, Need, Pebble, open_lab};

fn one_domain(lab: &Lab, pebble: &Pebble) -> Config {
    Config::with_ca(lab, &pebble.authority).line("MDomain one.test").site("one.test", &[]).at_restarts()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn problems(store: &Path) -> Vec<String> {
    let called = a2md(&["store", "verify", "-j", "-d", text(store)]);
    let json = called.json();
    let problems: Vec<String> = json["problems"].as_array().unwrap().iter().map(named).collect();
    assert_eq!(called.code, i32::from(!problems.is_empty()), "{}", called.out);
    assert_eq!(json["schema"], 1);
    problems
}

fn named(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap().to_string();
    format!("{} {}", text("kind"), text("path"))
}

#[test]
fn a_store_that_was_lost_comes_back_with_its_certificate_beside_a_running_httpd_and_after_it() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).start();
    httpd.wait_staged("one.test");
    httpd.graceful();
    let before = httpd.served("one.test", &pebble, &[]);
    assert!(before.verified, "{}", before.verdict);
    let store = httpd.config.store();
    assert_eq!(problems(&store), [""; 0]);

    let file = lab.path("backup.tar");
    let saved = a2md(&["store", "backup", text(&file), "-d", text(&store)]);
    assert_eq!((saved.code, saved.out.as_str()), (0, ""), "{}", saved.err);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let refused = a2md(&["store", "restore", text(&file), "-d", text(&store), "--force"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(
        refused.err.contains("an httpd renews in") && refused.err.contains("Stop httpd"),
        "{}",
        refused.err
    );

    let config = httpd.stop();
    let refused = a2md(&["store", "restore", text(&file), "-d", text(&store)]);
    assert!(refused.code == 1 && refused.err.contains("is not empty"), "{}", refused.err);
    let user = unprivileged_user().uid;
    assert_eq!(fs::metadata(store.join("staging")).unwrap().uid(), user);
    fs::write(store.join("md_store.json"), "gone").unwrap();
    let restored = a2md(&["store", "restore", text(&file), "-d", text(&store), "--force"]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    assert!(
        restored.out.contains("before-restore.1") && restored.out.contains("restored to"),
        "{}",
        restored.out
    );
    assert_eq!(problems(&store), [""; 0]);
    assert_eq!(fs::metadata(store.join("staging")).unwrap().uid(), user);
    fs::remove_dir_all(&store).unwrap();
    let restored = a2md(&["store", "restore", text(&file), "--to", text(&store), "-j"]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    assert!(restored.json()["files"].as_u64().unwrap() > 5, "{}", restored.out);

    let httpd = config.start();
    let after = httpd.served("one.test", &pebble, &[]);
    assert!(after.verified && after.serial() == before.serial(), "{}", after.verdict);
    assert_eq!(problems(&store), [""; 0]);
    assert_eq!(fs::metadata(store.join("staging")).unwrap().uid(), user);
}

#[test]
fn a_backup_goes_through_a_pipe_and_back() {
    let Some(lab) = open_lab!() else { return };
    let store = plain_store(&lab);
    let mut backup = command(&["store", "backup", "-", "-d", text(&store)]);
    let mut backup = backup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let to = lab.path("copy");
    let mut restore = command(&["store", "restore", "-", "--to", text(&to)]);
    restore.stdin(backup.stdout.take().unwrap());
    let restored = called(restore);
    assert_eq!(restored.code, 0, "{}", restored.err);
    assert!(backup.wait().unwrap().success());
    assert_eq!(fs::read(to.join("md_store.json")).unwrap(), fs::read(store.join("md_store.json")).unwrap());

    // A reader that goes away, and a disk without room.
    let mut backup = command(&["store", "backup", "-", "-d", text(&store)]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let refused = called(kept(backup.stdout(full)));
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("standard output"), "{}", refused.err);
}

/// `Command` by value again.
fn kept(command: &mut std::process::Command) -> std::process::Command {
    std::mem::replace(command, std::process::Command::new("true"))
}

/// A store as an httpd without domains leaves it.
fn plain_store(lab: &Lab) -> std::path::PathBuf {
    let dir = lab.path("plain");
    drop(mod_md::store::StartStore::open(&dir, None).unwrap());
    dir
}

#[test]
fn a_terminal_or_foreign_place_gets_no_archive() {
    let Some(lab) = open_lab!() else { return };
    let store = plain_store(&lab);
    for (file, expected) in [
        (store.join("backup.tar"), "does not belong into the store itself"),
        (lab.path("none/backup.tar"), "No such file"),
        (Path::new("/dev/null").to_path_buf(), "not a plain file"),
    ] {
        let refused = a2md(&["store", "backup", text(&file), "-d", text(&store)]);
        assert!(refused.code == 1 && refused.err.contains(expected), "{}: {}", file.display(), refused.err);
    }
    let refused = a2md(&["store", "backup", "-", "-j", "-d", text(&store)]);
    assert!(refused.code == 1 && refused.json()["error"].is_string());
    let refused = a2md(&["store", "restore", "/dev/null", "--to", text(&lab.path("new"))]);
    assert!(refused.code == 1 && refused.err.contains("cut short"), "{}", refused.err);
    assert!(!lab.path("new").exists());
    assert_eq!(a2md(&["store", "backup", "-d", text(&store)]).code, 2, "which file?");
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before() {
    let Some(lab) = open_lab!() else { return };
    let dir = lab.path("large");
    let store = mod_md::store::StartStore::open(&dir, None).unwrap().unsynced();
    for number in 0..400 {
        let name = format!("d{number}.test");
        store.write(mod_md::store::Group::Archive, &format!("{name}.1"), "x.txt", &[b'x'; 100_000]).unwrap();
    }
    let file = lab.path("backup.tar");
    fs::write(&file, "the one before").unwrap();
    let mut was_killed = 0;
    for millis in [5, 20, 40, 80] {
        let mut backup = command(&["store", "backup", text(&file), "-d", text(&dir)]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        backup.kill().unwrap();
        was_killed += u32::from(!backup.wait().unwrap().success());
        let mut begin = vec![0; 14];
        File::open(&file).unwrap().read_exact(&mut begin).unwrap();
        let is_whole = || a2md(&["store", "restore", text(&file), "--to", text(&lab.path("copy"))]).code == 0;
        assert!(begin == b"the one before" || is_whole(), "after {millis} ms");
        let _ = fs::remove_dir_all(lab.path("copy"));
    }
    assert!(was_killed > 0);
}

#[test]
fn each_fault_of_a_store_is_found_and_what_can_be_is_repaired() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).start();
    httpd.wait_staged("one.test");
    let config = httpd.stop();
    let store = config.store();
    assert_eq!(problems(&store), [""; 0], "with a staged set");
    let job = store.join("staging/one.test/job.json");
    let staged = fs::read_to_string(&job).unwrap();
    fs::write(&job, staged.replace("\"auth\": \"", "\"auth\": \"x")).unwrap();
    assert_eq!(problems(&store), ["damage staging/one.test"]);
    fs::write(&job, &staged).unwrap();
    httpd = config.start();
    let config = httpd.stop();
    assert_eq!(problems(&store), [""; 0], "with a set in use");

    let domain = store.join("domains/one.test");
    let key = domain.join("privkey.pem");
    let account = store.join("accounts/ACME-127.0.0.1-0000");
    let good = fs::read(&key).unwrap();
    let damaged = damage(&PKey::private_key_from_pem(&good).unwrap()).private_key_to_pem_pkcs8().unwrap();
    let other = support::certificate::new_key().private_key_to_pem_pkcs8().unwrap();
    // What, how it comes about, how it goes, and the problems.
    type Case<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn(), &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        (
            "another key",
            &|| fs::write(&key, &other).unwrap(),
            &|| fs::write(&key, &good).unwrap(),
            &["damage domains/one.test"],
        ),
        (
            "a key with another private number",
            &|| fs::write(&key, &damaged).unwrap(),
            &|| fs::write(&key, &good).unwrap(),
            &["damage domains/one.test"],
        ),
        (
            "no key",
            &|| fs::rename(&key, lab.path("kept")).unwrap(),
            &|| fs::rename(lab.path("kept"), &key).unwrap(),
            &["damage domains/one.test"],
        ),
        (
            "garbage",
            &|| fs::write(&key, "x").unwrap(),
            &|| fs::write(&key, &good).unwrap(),
            &["damage domains/one.test/privkey.pem"],
        ),
        (
            "no JSON",
            &|| fs::write(domain.join("new.json"), "{").unwrap(),
            &|| fs::remove_file(domain.join("new.json")).unwrap(),
            &["damage domains/one.test/new.json", "rights domains/one.test/new.json"],
        ),
        (
            "half an account",
            &|| fs::rename(account.join("account.pem"), lab.path("kept")).unwrap(),
            &|| fs::rename(lab.path("kept"), account.join("account.pem")).unwrap(),
            &["damage accounts/ACME-127.0.0.1-0000"],
        ),
        (
            "an account of another store",
            &|| {
                fs::copy(account.join("account.pem"), lab.path("kept")).unwrap();
                fs::write(account.join("account.pem"), &other).unwrap();
            },
            &|| {
                fs::copy(lab.path("kept"), account.join("account.pem")).unwrap();
            },
            &["damage accounts/ACME-127.0.0.1-0000/account.pem"],
        ),
        (
            "a stranger",
            &|| fs::write(store.join("who.txt"), "x").unwrap(),
            &|| fs::remove_file(store.join("who.txt")).unwrap(),
            &["stray who.txt"],
        ),
        (
            "a link",
            &|| symlink("/etc/passwd", store.join("ocsp/one.test")).unwrap(),
            &|| fs::remove_file(store.join("ocsp/one.test")).unwrap(),
            &["link ocsp/one.test"],
        ),
    ];
    let _ = fs::remove_dir_all(store.join("ocsp/one.test"));
    for (what, plant, mend, expected) in cases {
        plant();
        assert_eq!(problems(&store), expected, "{what}");
        let before = fs::read(&key).ok();
        let called = a2md(&["store", "verify", "--repair", "-d", text(&store)]);
        assert!(
            called.code == 1 || expected.iter().all(|fault| fault.starts_with("rights")),
            "{what}: {}",
            called.out
        );
        assert_eq!(fs::read(&key).ok(), before, "{what}: no key is deleted");
        mend();
        assert_eq!(problems(&store), [""; 0], "{what} is gone");
    }

    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(store.join("staging"), Some(0), None).unwrap();
    std::os::unix::fs::chown(store.join("challenges"), Some(1234), None).unwrap();
    assert!(problems(&store).contains(&"rights domains/one.test/privkey.pem".to_string()));
    let called = a2md(&["store", "verify", "--repair", "-d", text(&store)]);
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600, "{}", called.out);
    assert!(called.code == 0 && called.out.contains("repaired"), "{}\n{}", called.out, called.err);

    drop(config.start());
    assert_eq!(problems(&store), [""; 0]);
}
