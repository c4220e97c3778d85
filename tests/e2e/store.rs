// SPDX-License-Identifier: Apache-2.0
//! The store on disk: layout, owners, modes, encryption, and the effect of broken entries.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use serde_json::Value;

use support::httpd::unprivileged_user;
use support::{Account, Config, Lab, Need, Pebble, SOON, module, open_lab, wait_for};

fn one_domain(lab: &Lab, pebble: &Pebble) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .line("MDPrivateKeys RSA P-256\nMDomain one.test")
        .site("one.test", &[])
}

/// Every entry has exactly the mode and the owner; an entry of the wrong sort fails too.
#[track_caller]
fn assert_modes(store: &Path, expected: &[(&str, u32, u32)]) {
    for (path, mode, owner) in expected {
        let found = fs::metadata(store.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(format!("{:o}", found.mode() & 0o7777), format!("{mode:o}"), "mode of {path}");
        assert_eq!(found.uid(), *owner, "owner of {path}");
    }
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", path.display()))
}

#[test]
fn workers_own_what_they_write_and_cannot_read_the_keys_in_use() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).start();
    let store = httpd.config.store();
    let user = unprivileged_user().uid;
    httpd.wait_staged("one.test");
    assert_modes(
        &store,
        &[
            ("", 0o755, 0),
            ("md_store.json", 0o600, 0),
            ("domains", 0o700, 0),
            ("domains/one.test", 0o700, 0),
            ("domains/one.test/md.json", 0o600, 0),
            ("domains/one.test/fallback-privkey.p-256.pem", 0o600, 0),
            ("domains/one.test/fallback-pubcert.p-256.pem", 0o600, 0),
            ("staging", 0o755, user),
            ("staging/one.test", 0o755, user),
            ("staging/one.test/job.json", 0o644, user),
            ("staging/one.test/account.json", 0o644, user),
            ("staging/one.test/account.pem", 0o644, user),
            ("staging/one.test/privkey.pem", 0o644, user),
            ("staging/one.test/pubcert.p-256.pem", 0o644, user),
            ("challenges", 0o755, user),
        ],
    );
    // The process that ends would publish it in the middle of the next start.
    let live = store.join("staging/one.test/live.json");
    let is_c = module::is_c(&module::under_test());
    wait_for("the set in use", SOON, || (is_c || live.exists()).then_some(()));
    httpd.graceful();
    assert_modes(
        &store,
        &[
            ("accounts", 0o755, 0),
            ("accounts/ACME-127.0.0.1-0000/account.json", 0o644, 0),
            ("accounts/ACME-127.0.0.1-0000/account.pem", 0o644, 0),
            ("domains/one.test/md.json", 0o600, 0),
            ("domains/one.test/job.json", 0o600, 0),
            ("domains/one.test/privkey.pem", 0o600, 0),
            ("domains/one.test/pubcert.p-256.pem", 0o600, 0),
            ("archive", 0o700, 0),
            ("archive/one.test.1", 0o700, 0),
            ("archive/one.test.1/fallback-privkey.p-256.pem", 0o600, 0),
            ("tmp", 0o700, 0),
            ("ocsp", fs::metadata(store.join("ocsp")).unwrap().mode() & 0o755, user),
        ],
    );
    // What was issued is remembered, and the new child may have asked the CA already what it advises.
    let left = fs::read_dir(store.join("staging/one.test")).into_iter().flatten().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name != "ari.json" && name != "issued.json")
        .collect();
    assert!(left.is_empty() && !store.join("challenges/one.test").exists(), "{left:?}");
}

/// Everything below, as `chown -R` does it.
fn give_all(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_all(&entry.unwrap().path(), uid));
    }
}

/// A renewal is under way when httpd is stopped, and goes on after `change` has been made.
#[track_caller]
fn assert_goes_on(lab: &Lab, user: &str, change: impl FnOnce(&Path)) {
    let pebble = Pebble::start(lab);
    pebble.hold();
    let httpd = one_domain(lab, &pebble).start();
    let store = httpd.config.store();
    let job = store.join("staging/one.test/job.json");
    wait_for("a renewal under way", SOON, || job.exists().then_some(()));
    let config = httpd.stop();
    pebble.go_on();
    change(&store);
    let mut httpd = config.line(&format!("User {user}\nGroup {user}")).start();
    httpd.wait_staged("one.test");
    let owner = fs::metadata(&job).unwrap();
    assert_eq!((owner.uid(), owner.gid()), user_named(user), "{user}");
    httpd.graceful();
    assert!(httpd.served("one.test", &pebble, &[]).verified);
    let root =
        ["", "md_store.json", "domains", "domains/one.test", "domains/one.test/privkey.pem", "accounts"];
    for path in root {
        assert_eq!(fs::metadata(store.join(path)).unwrap().uid(), 0, "owner of {path}");
    }
    assert_modes(
        &store,
        &[("", 0o755, 0), ("domains", 0o700, 0), ("domains/one.test/privkey.pem", 0o600, 0)],
    );
    httpd.stop().forget();
}

fn user_named(name: &str) -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<&str> =
        passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == name).unwrap();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

#[test]
fn renewals_go_on_after_the_user_of_workers_has_changed() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    assert_goes_on(&lab, "daemon", |_| {});
}

#[test]
fn renewals_go_on_in_a_store_that_was_restored_with_other_owners() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    for uid in [0, 4321] {
        assert_goes_on(&lab, "daemon", |store| give_all(store, uid));
    }
    // The workers themselves had all of it.
    let (daemon, _) = user_named("daemon");
    assert_goes_on(&lab, "daemon", |store| give_all(store, daemon));
}

#[test]
fn an_ordinary_user_owns_all_of_the_store() {
    let Some(lab) = open_lab!(Need::Root) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).account(Account::Ordinary).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let user = unprivileged_user().uid;
    let owned =
        ["", "md_store.json", "accounts", "staging", "domains/one.test/privkey.pem", "archive/one.test.1"];
    for path in owned {
        assert_eq!(fs::metadata(httpd.config.store().join(path)).unwrap().uid(), user, "owner of {path}");
    }
    assert_modes(&httpd.config.store(), &[("domains/one.test/privkey.pem", 0o600, user)]);
}

/// With a pass phrase of any bytes: openssl's simpler call wants one without NUL.
fn open_key(pem: &[u8], pass_phrase: &[u8]) -> Result<PKey<Private>, openssl::error::ErrorStack> {
    PKey::private_key_from_pem_callback(pem, |buffer| {
        buffer[..pass_phrase.len()].copy_from_slice(pass_phrase);
        Ok(pass_phrase.len())
    })
}

/// The raw key of md_store.json.
fn pass_phrase(store: &Path) -> Vec<u8> {
    let file = read_json(&store.join("md_store.json"));
    assert_eq!(file["store"]["version"], 3.0);
    data_encoding::BASE64URL_NOPAD.decode(file["key"].as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn keys_that_workers_can_read_are_encrypted_and_those_in_use_are_plain() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).start();
    let store = httpd.config.store();
    httpd.wait_staged("one.test");
    let phrase = pass_phrase(&store);
    assert_eq!(phrase.len(), 48);
    let staged = |name: &str| fs::read(store.join("staging/one.test").join(name)).unwrap();
    for (key, certificate) in [("privkey.pem", "pubcert.pem"), ("privkey.p-256.pem", "pubcert.p-256.pem")] {
        assert!(staged(key).starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
        assert!(open_key(&staged(key), b"").is_err());
        let private = open_key(&staged(key), &phrase).unwrap();
        let chain = X509::stack_from_pem(&staged(certificate)).unwrap();
        assert!(chain[0].public_key().unwrap().public_eq(&private), "leaf first, and of this key");
        assert!(chain.len() >= 2, "with its chain");
    }
    let account = staged("account.pem");
    assert!(open_key(&account, &phrase).is_ok());

    httpd.graceful();
    let account = store.join("accounts/ACME-127.0.0.1-0000/account.pem");
    assert!(open_key(&fs::read(account).unwrap(), &phrase).is_ok());
    for key in ["privkey.pem", "privkey.p-256.pem"] {
        let pem = fs::read(store.join("domains/one.test").join(key)).unwrap();
        assert!(pem.starts_with(b"-----BEGIN PRIVATE KEY-----"), "{key}");
    }
}

#[test]
fn the_files_of_a_domain_say_what_is_configured_and_what_happened() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = one_domain(&lab, &pebble).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    let store = httpd.config.store();
    let md = read_json(&store.join("domains/one.test/md.json"));
    assert_eq!(md["name"], "one.test");
    assert_eq!(md["ca"]["account"], "ACME-127.0.0.1-0000");
    assert_eq!(md["ca"]["url"], pebble.authority.directory().as_str());
    assert_eq!(md["privkey"][0]["type"], "RSA");
    assert_eq!(md["privkey"][1]["curve"], "P-256");
    assert_eq!(read_json(&store.join("domains/one.test/job.json"))["finished"], true);
    let account = read_json(&store.join("accounts/ACME-127.0.0.1-0000/account.json"));
    assert_eq!(account["status"], "valid");
    assert_eq!(account["ca-url"], pebble.authority.directory().as_str());
    assert!(account["url"].as_str().unwrap().starts_with("https://127.0.0.1:"), "{account:#}");
}

#[test]
fn garbage_in_a_broken_entry_neither_stops_the_start_nor_the_renewal() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let config = one_domain(&lab, &pebble);
    let store = config.store();
    for path in
        ["domains/one.test/md.json", "domains/one.test/job.json", "staging/one.test/job.json", "httpd.json"]
    {
        fs::create_dir_all(store.join(path).parent().unwrap()).unwrap();
        fs::write(store.join(path), "{ \"name\": ").unwrap();
    }
    if support::lab::is_root() {
        let user = unprivileged_user();
        for path in ["staging", "staging/one.test", "staging/one.test/job.json"] {
            std::os::unix::fs::chown(store.join(path), Some(user.uid), Some(user.gid)).unwrap();
        }
    }
    let mut httpd = config.start();
    httpd.wait_staged_and_activate(&["one.test"]);
    assert!(httpd.served("one.test", &pebble, &[]).verified);
}

#[test]
fn a_broken_store_key_stops_the_start_with_a_sentence() {
    let Some(lab) = open_lab!() else { return };
    for content in
        ["garbage", r#"{"store":{"version":3.0},"key":"c2hvcnQ"}"#, r#"{"store":{"version":4.0},"key":""}"#]
    {
        let config = Config::new(&lab).line("MDomain one.test\nMDRenewMode manual").site("one.test", &[]);
        fs::create_dir_all(config.store()).unwrap();
        fs::write(config.store().join("md_store.json"), content).unwrap();
        let said = config.clone().try_start().err().unwrap_or_else(|| panic!("started with {content}"));
        assert!(said.contains("md_store.json"), "{content}: {said}");
        assert_eq!(fs::read_to_string(config.store().join("md_store.json")).unwrap(), content, "untouched");
    }
}
