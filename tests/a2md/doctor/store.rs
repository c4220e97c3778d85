// SPDX-License-Identifier: Apache-2.0
//! Faults of a store: its folder, its files, the certificates and the renewals in it. Nothing is reached.

use super::{assert_found, assert_healthy, doctor, is_root, put};
use crate::call::{a2md, command};
use mod_md::crypto::PrivateKey;
use mod_md::managed::staging::Staging;
use mod_md::model::job::{HeldBack, MESSAGE_FAILED, Outcome, Waiting};
use mod_md::model::{Ca, Job, KeySpec, Md, RateLimit, RetryState, Scope};
use mod_md::store::{Group, Owner, StartStore};
use mod_md::time::{DAY, Timestamp, now};
use openssl::pkey::PKey;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::issuer::{Issuer, Set, damage};

const NAME: &str = "a.test";
const WORKERS: Owner = Owner { uid: 33, gid: 33 };

fn spec() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

fn md(name: &str, domains: &[&str]) -> Md {
    let urls = vec!["https://ca.test/dir".to_string()];
    Md {
        name: name.into(),
        domains: domains.iter().map(ToString::to_string).collect(),
        key_specs: vec![spec()],
        ca: Ca { urls, agreement: Some("accepted".into()), ..Md::default().ca },
        ..Md::default()
    }
}

/// A store of the module as root starts it, or as an ordinary user does.
struct Planted {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    store: StartStore,
    issuer: Issuer,
}

impl Planted {
    fn new() -> Planted {
        Planted::of(is_root().then_some(WORKERS))
    }

    fn of(owner: Option<Owner>) -> Planted {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        let dir = temp.path().join("md");
        let store = StartStore::open(&dir, owner).unwrap();
        let planted = Planted { _dir: temp, dir, store, issuer: Issuer::new() };
        planted.put(Group::Domains, &md(NAME, &[NAME]), &planted.issuer.issue(&[NAME]));
        let key = PrivateKey::generate(&spec()).unwrap();
        let account = serde_json::json!({"status": "valid", "url": "https://ca.test/1", "ca-url": "https://ca.test/dir"});
        planted.store.write_json(Group::Accounts, "ACME-ca.test-0000", "account.json", &account).unwrap();
        planted.store.write_key(Group::Accounts, "ACME-ca.test-0000", "account.pem", &key).unwrap();
        planted.store.write_reach(true, true).unwrap();
        planted.job(&Job::new(NAME));
        planted
    }

    fn put(&self, group: Group, md: &Md, set: &Set) {
        put(&self.store, group, md, set);
    }

    fn job(&self, job: &Job) {
        Staging::new(&self.store.worker(), NAME).save_job(job).unwrap();
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.file(path), content).unwrap();
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.file(path)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(path, &text.replace(from, to));
    }

    fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.file(path), Permissions::from_mode(mode)).unwrap();
    }

    fn give(&self, path: &str, uid: u32) {
        chown(self.file(path), Some(uid), None).unwrap();
    }

    /// A set that a renewal has left.
    fn stage(&self) -> Set {
        let set = self.issuer.issue(&[NAME]);
        self.put(Group::Staging, &md(NAME, &[NAME]), &set);
        self.job(&Job { finished: true, ..Job::new(NAME) });
        set
    }
}

fn failing(errors: u32) -> Job {
    let detail = "the CA says: no luck. What to do: Look at the DNS.".to_string();
    let last = Outcome { status: 20014, detail: Some(detail), ..Outcome::default() };
    Job { errors, last, next_run: Some(now().plus(DAY)), last_run: Some(now()), ..Job::new(NAME) }
}

fn waiting(until: Timestamp) -> Job {
    let limit =
        RateLimit { ca: "https://ca.test/dir".into(), scope: Scope::Ca, since: now().minus(DAY), until };
    Job {
        next_run: Some(until),
        retry_state: RetryState { rate_limit: Some(limit), ..RetryState::default() },
        ..Job::new(NAME)
    }
}

/// A fault: its name, how it is planted, the token it is found by, its verdict, words of the evidence, and the
/// tokens that fail besides.
type Row = (fn(&Planted), &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const FAULTS: &[Row] = &[
    // The folder.
    (|p| fs::remove_dir_all(&p.dir).unwrap(), "store-missing", "fails", &["no such folder"], &[]),
    (|p| fs::remove_file(p.file("md_store.json")).unwrap(), "store-key", "fails", &["md_store.json"], &[]),
    (|p| p.write("md_store.json", "{"), "store-key", "fails", &["it is not JSON"], &[]),
    (
        |p| p.replace("md_store.json", "\"version\": 3.0", "\"version\": 9.0"),
        "store-key",
        "fails",
        &["version 9"],
        &[],
    ),
    (|p| p.chmod("md_store.json", 0o644), "key-readable", "fails", &["0644 instead of 0600"], &[]),
    (
        |p| p.chmod("domains/a.test/privkey.p-256.pem", 0o644),
        "key-readable",
        "fails",
        &["privkey.p-256.pem"],
        &[],
    ),
    (|p| p.chmod("domains", 0o777), "store-writable", "fails", &["0777 instead of 0700"], &[]),
    (|p| p.chmod("staging", 0o500), "store-closed", "fails", &["staging"], &[]),
    (
        |p| symlink("/etc", p.file("staging/a.test/link")).unwrap(),
        "store-link",
        "fails",
        &["staging/a.test/link"],
        &[],
    ),
    (|p| p.write("domains/notes.txt", "x"), "store-stray", "works", &["notes.txt"], &[]),
    // Files.
    (|p| p.write("domains/a.test/md.json", "{"), "file-damaged", "fails", &["domains/a.test/md.json"], &[]),
    (
        |p| p.write("staging/a.test/job.json", "[1"),
        "file-damaged",
        "fails",
        &["staging/a.test/job.json"],
        &[],
    ),
    (
        |p| p.write("accounts/ACME-ca.test-0000/account.json", "x"),
        "file-damaged",
        "fails",
        &["ACME-ca.test-0000/account.json"],
        &[],
    ),
    (
        |p| p.write("accounts/ACME-ca.test-0000/account.pem", "x"),
        "account-key",
        "fails",
        &["ACME-ca.test-0000/account.pem"],
        &[],
    ),
    // Certificates in use.
    (
        |p| {
            let other = p.issuer.issue(&[NAME]);
            fs::write(p.file("domains/a.test/privkey.p-256.pem"), other.key_pem()).unwrap();
        },
        "key-mismatch",
        "fails",
        &["does not belong to its private key"],
        // No certificate in it is for the key.
        &[],
    ),
    (
        |p| {
            let file = p.file("domains/a.test/privkey.p-256.pem");
            let key = PKey::private_key_from_pem(&fs::read(&file).unwrap()).unwrap();
            fs::write(&file, damage(&key).private_key_to_pem_pkcs8().unwrap()).unwrap();
        },
        "key-damaged",
        "fails",
        &["domains/a.test/privkey.p-256.pem", "every handshake with it fails"],
        &[],
    ),
    (
        |p| fs::remove_file(p.file("domains/a.test/privkey.p-256.pem")).unwrap(),
        "key-missing",
        "fails",
        &["no private key"],
        &[],
    ),
    (
        |p| fs::remove_file(p.file("domains/a.test/pubcert.p-256.pem")).unwrap(),
        "certificate-missing",
        "fails",
        &["no certificate beside it"],
        &[],
    ),
    (
        |p| p.write("domains/a.test/pubcert.p-256.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"),
        "certificate-damaged",
        "fails",
        &["pubcert.p-256.pem"],
        &[],
    ),
    (
        |p| {
            let other = Issuer::new();
            let set = p.issuer.issue(&[NAME]);
            let chain = vec![set.chain[0].clone(), other.root];
            p.put(Group::Domains, &md(NAME, &[NAME]), &Set { chain, ..set });
        },
        "chain-broken",
        "fails",
        &["the issuer of the certificate is missing"],
        &[],
    ),
    (
        |p| {
            let other = Issuer::new();
            let set = p.issuer.issue(&[NAME]);
            let chain = vec![set.chain[0].clone(), other.root, set.chain[1].clone()];
            p.put(Group::Domains, &md(NAME, &[NAME]), &Set { chain, ..set });
        },
        "chain-order",
        "fails",
        &["not on the path"],
        &[],
    ),
    (
        |p| p.put(Group::Domains, &md(NAME, &[NAME, "b.test"]), &p.issuer.issue(&[NAME])),
        "certificate-names",
        "fails",
        &["does not cover all domains", "b.test"],
        &[],
    ),
    (
        |p| {
            let set = p.issuer.issue_for(&[NAME], openssl::pkey::Id::EC, -7200, -3600);
            p.put(Group::Domains, &md(NAME, &[NAME]), &set);
        },
        "certificate-expired",
        "fails",
        &["has expired"],
        &[],
    ),
    (
        |p| {
            let set = p.issuer.issue_for(&[NAME], openssl::pkey::Id::EC, 3600, 86_400);
            p.put(Group::Domains, &md(NAME, &[NAME]), &set);
        },
        "certificate-early",
        "fails",
        &["valid from"],
        &[],
    ),
    // Sets that wait.
    (
        |p| {
            p.stage();
            fs::remove_file(p.file("staging/a.test/privkey.p-256.pem")).unwrap();
        },
        "staged-damaged",
        "fails",
        &["certificate(P-256) is missing"],
        &[],
    ),
    (
        |p| {
            p.stage();
            p.replace(
                "staging/a.test/job.json",
                "\"finished\": true",
                "\"finished\": true, \"auth\": \"AAAA\"",
            );
        },
        "staged-damaged",
        "fails",
        &["is not what this server has left there"],
        &[],
    ),
    (|p| p.write("staging/a.test/live.json", "{}"), "live-damaged", "fails", &["live.json"], &[]),
    // Renewals.
    (
        |p| p.job(&failing(3)),
        "renewal-failing",
        "fails",
        &["3 tries failed", "the CA says: no luck."],
        &["tries-left"],
    ),
    (
        |p| p.job(&failing(30)),
        "tries-left",
        "fails",
        &["before the certificate expires"],
        &["renewal-failing"],
    ),
    (|p| p.job(&waiting(now().plus(DAY * 3))), "rate-limited", "fails", &["https://ca.test/dir"], &[]),
    (
        |p| {
            let held_back = Some(HeldBack::new("50 certificates a week", now().plus(DAY * 3)));
            p.job(&Job { held_back, ..Job::new(NAME) });
        },
        "renewal-held-back",
        "fails",
        &["50 certificates a week"],
        &[],
    ),
    (
        |p| {
            let mut job = Job::new(NAME);
            job.postpone(MESSAGE_FAILED.into(), "exit code 3".into(), now().plus(DAY));
            p.job(&job);
        },
        "renewal-vetoed",
        "fails",
        &["exit code 3"],
        &[],
    ),
    (
        |p| {
            let records = vec!["_acme-challenge.a.test. IN TXT \"x\"".to_string()];
            let waiting = Some(Waiting { what: "no record".into(), since: now(), next: None, records });
            p.job(&Job { waiting, ..Job::new(NAME) });
        },
        "renewal-waits-for-record",
        "fails",
        &["no record"],
        &[],
    ),
    (
        |p| {
            let staplings = serde_json::json!({"aa": {"errors": 2, "detail": "connection refused", "responder": "http://o.test/"}});
            let job = serde_json::json!({"name": NAME, "staplings": staplings});
            p.store.write_json(Group::Ocsp, NAME, "job.json", &job).unwrap();
        },
        "ocsp-failing",
        "fails",
        &["http://o.test/", "connection refused"],
        &[],
    ),
];

#[test]
fn each_planted_fault_of_a_store_is_found_by_its_token() {
    for (plant, check, verdict, words, also) in FAULTS {
        let planted = Planted::new();
        plant(&planted);
        let findings = doctor(&["--offline", "-d", planted.dir.to_str().unwrap()]);
        assert_found(&findings, check, verdict, words, also);
    }
}

#[test]
fn owners_that_root_would_correct_are_found() {
    if !is_root() {
        return;
    }
    for (path, uid) in [
        ("domains", 1234),
        ("md_store.json", 1234),
        ("domains/a.test/privkey.p-256.pem", WORKERS.uid),
        ("staging/a.test", 0),
        ("challenges", 1234),
    ] {
        let planted = Planted::new();
        planted.give(path, uid);
        let findings = doctor(&["--offline", "-d", planted.dir.to_str().unwrap()]);
        // What does not belong to the owner of its folder is not read.
        assert_found(&findings, "store-owner", "fails", &[path, &uid.to_string()], &["file-damaged"]);
    }
}

#[test]
fn of_a_store_in_order_nothing_is_said() {
    for owner in [is_root().then_some(WORKERS), None] {
        let planted = Planted::of(owner);
        let dir = planted.dir.to_str().unwrap();
        assert_healthy(&doctor(&["--offline", "-d", dir]));
        assert_healthy(&doctor(&["--offline", "-d", dir, NAME]));
        planted.stage();
        assert_healthy(&doctor(&["--offline", "-d", dir]));
        // The first set, which nothing but the next start is missing for.
        for file in ["privkey.p-256.pem", "pubcert.p-256.pem"] {
            fs::remove_file(planted.file(&format!("domains/a.test/{file}"))).unwrap();
        }
        let findings = doctor(&["--offline", "-d", dir]);
        assert_healthy(&findings);
        let waits = |finding: &&serde_json::Value| {
            finding["evidence"].as_str().unwrap().contains("wait in staging/a.test")
        };
        assert!(
            findings.iter().find(waits).unwrap()["remedy"].as_str().unwrap().contains("graceful"),
            "{findings:#?}"
        );
        // So is one in front of a set that has expired.
        let expired = planted.issuer.issue_for(&[NAME], openssl::pkey::Id::EC, -7200, -3600);
        planted.put(Group::Domains, &md(NAME, &[NAME]), &expired);
        assert_healthy(&doctor(&["--offline", "-d", dir]));
        planted.put(Group::Domains, &md(NAME, &[NAME]), &planted.issuer.issue(&[NAME]));
        // A wait that ends in time.
        planted.job(&waiting(now().plus(DAY / 4)));
        assert_healthy(&doctor(&["--offline", "-d", dir]));
        let called = a2md(&["doctor", "--offline", "-d", dir]);
        assert!(called.err.contains("Looking at the store"), "{}", called.err);
        assert!(called.out.contains("No problem found: "), "{}", called.out);
    }
}

#[test]
fn a_store_of_another_user_cannot_be_told() {
    if !is_root() {
        return;
    }
    let planted = Planted::new();
    let dir = planted.dir.to_str().unwrap();
    // The program has to be where that user can reach it.
    let program = planted._dir.path().join("a2md");
    fs::copy(env!("CARGO_BIN_EXE_a2md"), &program).unwrap();
    let arguments = ["--reuid", "1234", "--regid", "1234", "--clear-groups"];
    let output =
        Command::new("setpriv").args(arguments).arg(program).args(["doctor", "-j", "-d", dir]).output();
    let output = output.unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    assert_found(findings, "store-unreadable", "cannot-be-told", &[dir], &[]);
}

/// A file system of its own in place of the store, in memory.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &str, dir: &Path) -> Option<Mounted> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
    command.status().is_ok_and(|status| status.success()).then(|| Mounted(dir.to_path_buf()))
}

#[test]
fn a_file_system_that_is_full_or_read_only_is_found() {
    let temp = tempfile::tempdir().unwrap();
    if !is_root() || mount("size=1m", temp.path()).is_none() {
        return;
    }
    type Row = (&'static str, &'static str, fn(&Path));
    let rows: [Row; 3] = [
        ("disk-full", "size=600k,mode=755", |dir| {
            // Writes until nothing more fits.
            let _ = fs::write(dir.join("httpd.json"), vec![b' '; 4 * 1024 * 1024]);
            let _ = fs::write(dir.join("httpd.json"), b"{}");
        }),
        ("disk-inodes", "size=64m,nr_inodes=60,mode=755", |_| {}),
        ("disk-read-only", "size=64m,mode=755", |dir| {
            let status = Command::new("mount").args(["-o", "remount,ro"]).arg(dir).status();
            assert!(status.unwrap().success());
        }),
    ];
    for (check, options, fill) in rows {
        let dir = temp.path().join(check);
        fs::create_dir(&dir).unwrap();
        let _mounted = mount(options, &dir).unwrap();
        drop(StartStore::open(&dir, Some(WORKERS)).unwrap());
        fill(&dir);
        let findings = doctor(&["--offline", "-d", dir.to_str().unwrap()]);
        assert_found(&findings, check, "fails", &[check], &[]);
    }
}

#[test]
fn nothing_in_a_store_steers_the_terminal() {
    let planted = Planted::new();
    let mut job = failing(2);
    job.last.detail = Some("\u{1b}[2J\u{9b}31m gone".into());
    planted.job(&job);
    planted.write("domains/\u{1b}[31m", "x");
    let mut command = command(&["doctor", "--offline", "-v", "-d", planted.dir.to_str().unwrap()]);
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{9b}') && text.contains("gone"), "{text:?}");
}

#[test]
fn a_name_that_is_not_configured_is_looked_at_too() {
    let planted = Planted::new();
    let dir = planted.dir.to_str().unwrap();
    assert_healthy(&doctor(&["--offline", "-d", dir, "new.test"]));
}
