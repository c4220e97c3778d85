// SPDX-License-Identifier: Apache-2.0
//! Whatever stands in a store or comes from a CA, no command lets it steer the terminal.

use super::call::command;
use mod_md::crypto::PrivateKey;
use mod_md::model::KeySpec;
use mod_md::store::{Flat, Group, StartStore};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use support::issuer::{self, Issuer};
use tempfile::TempDir;

/// Clears the screen, sets the title, moves back, turns the direction of text, in 7 and 8 bits.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{8}\u{9b}31m\u{202e}\u{200f}\u{7f}evil";

/// Both outputs of a call, which have nothing that steers.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    assert!(output.status.code().is_some(), "{arguments:?}");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let is_steering = |c: &char| {
        let is_control = c.is_control() && *c != '\n';
        is_control
            || matches!(*c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(is_steering), None, "{arguments:?}: {text:?}");
    text
}

/// A store of which every text is hostile.
fn store(ca: &str) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("md");
    let store = StartStore::open(&dir, None).unwrap();
    let issuer = Issuer::new();
    for (name, from, until) in [("a.test", -5, 85), ("b.test", -95, -5)] {
        let day = 86_400;
        let set = issuer.issue_for(&[name], openssl::pkey::Id::EC, from * day, until * day);
        issuer::install(&dir, &[name], &[&set]);
        let file = dir.join("domains").join(name).join("md.json");
        let mut md: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        md["contacts"] = json!([format!("mailto:{EVIL}@a.test")]);
        md["domains"] = json!([name, format!("{EVIL}.test")]);
        md["state-descr"] = json!(EVIL);
        md["profile"] = json!(EVIL);
        md["cmd-dns-01"] = json!(format!("/bin/{EVIL}"));
        md["ca"] =
            json!({"proto": "ACME", "urls": [ca], "url": ca, "account": EVIL, "agreement": "accepted"});
        md["challenges"] = json!(["dns-01", EVIL]);
        fs::write(&file, md.to_string()).unwrap();
        let last = json!({"status": 1, "status-description": EVIL, "detail": EVIL, "problem": EVIL, "activity": EVIL});
        let job = json!({
            "name": name, "errors": 3, "last": last, "log": {"entries": [{"type": EVIL, "detail": EVIL}]},
            "held-back": {"reason": EVIL, "until": "Thu, 01 Jan 2037 00:00:00 GMT"},
            "waiting": {"what": EVIL, "since": "Thu, 01 Jan 2026 00:00:00 GMT", "records": [EVIL]},
        });
        store.write_json(Group::Staging, name, "job.json", &job).unwrap();
        let staplings = json!({"aa": {"errors": 2, "detail": EVIL, "responder": EVIL}});
        store
            .write_json(Group::Ocsp, name, "job.json", &json!({"name": name, "staplings": staplings}))
            .unwrap();
        store.write_json(Group::Archive, &format!("{name}.1"), "md.json", &md).unwrap();
    }
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    let account = json!({
        "status": EVIL, "url": format!("{ca}/{EVIL}"), "ca-url": ca, "contact": [EVIL], "agreement": EVIL, "orders": EVIL,
    });
    store.write_json(Group::Accounts, "ACME-ca.test-0000", "account.json", &account).unwrap();
    store.write_key(Group::Accounts, "ACME-ca.test-0000", "account.pem", &key).unwrap();
    for group in ["domains", "staging", "archive", "accounts", "challenges", "ocsp", "."] {
        fs::write(dir.join(group).join(format!("{EVIL}.txt")), EVIL).unwrap();
        fs::create_dir_all(dir.join(group).join(EVIL)).unwrap();
        fs::write(dir.join(group).join(EVIL).join("md.json"), format!("{{ {EVIL}")).unwrap();
    }
    fs::create_dir_all(dir.join("withdrawn")).unwrap();
    let _ = store.write_flat(
        Flat::Withdrawn,
        "a.test",
        &json!({"entries": [{"why": EVIL, "by": EVIL}], "x": EVIL}),
    );
    temp
}

#[test]
fn nothing_in_a_store_steers_the_terminal() {
    let temp = store("https://127.0.0.1:1/dir");
    let dir = temp.path().join("md").display().to_string();
    let to = temp.path().join("to");
    fs::create_dir(&to).unwrap();
    let archive = temp.path().join("md.tar").display().to_string();
    let mut seen = String::new();
    for line in [
        "status",
        "status a.test",
        "status a.test b.test -v",
        "check",
        "check a.test",
        "check b.test",
        "doctor --offline -v",
        "doctor --offline a.test",
        "account list",
        "account show ACME-ca.test-0000",
        "rollback a.test",
        "rollback a.test 1 --yes",
        "forget a.test",
        "forget nonsense",
        "gc --dry-run",
        "store verify",
        "store verify -v",
        "dns a.test",
        "export a.test --to {to}",
        "export b.test --to {to} --format combined",
        "renew a.test",
        "rehearse a.test",
        "revoke a.test --yes",
        "store backup {archive}",
        "store restore {archive} --to {to}/md",
    ] {
        let line = line.replace("{to}", to.to_str().unwrap()).replace("{archive}", &archive);
        let words: Vec<&str> = line.split(' ').collect();
        let with = ["-d", &dir, "--httpd", "false"];
        seen += &printed(&[&with[..], &words].concat());
        printed(&[&with[..], &["-j"], &words].concat());
    }
    for line in [
        "list",
        "list a.test",
        "store list",
        "drive a.test",
        "drive",
        "update a.test account",
        "store update a.test",
        "acme validate ACME-ca.test-0000",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        for options in [&[][..], &["-j"], &["-vv"]] {
            seen += &printed(&[&["-d", &dir, "-a", "https://127.0.0.1:1/dir"], options, &words].concat());
        }
    }
    assert!(seen.matches("evil").count() > 20, "the texts are shown: {seen}");
}

#[test]
fn nothing_in_the_tree_of_another_client_steers_the_terminal() {
    let temp = store("https://127.0.0.1:1/dir");
    let dir = temp.path().join("md").display().to_string();
    let tree = temp.path().join("tree");
    for folder in ["live", "renewal", "archive", "accounts", "certificates"] {
        fs::create_dir_all(tree.join(folder).join(EVIL)).unwrap();
        fs::write(
            tree.join(folder).join(format!("{EVIL}.conf")),
            format!("cert = {EVIL}\n[renewalparams]\nserver = {EVIL}\n"),
        )
        .unwrap();
        fs::write(tree.join(folder).join(format!("{EVIL}.crt")), EVIL).unwrap();
        fs::write(tree.join(folder).join(format!("{EVIL}.json")), format!("{{{EVIL}")).unwrap();
    }
    fs::create_dir_all(tree.join(format!("{EVIL}_ecc"))).unwrap();
    fs::write(tree.join(format!("{EVIL}_ecc")).join(format!("{EVIL}.conf")), format!("Le_Domain='{EVIL}'\n"))
        .unwrap();
    for client in ["certbot", "lego", "acme.sh", "files"] {
        for options in [&[][..], &["-j"]] {
            let words =
                ["-d", &dir, "--httpd", "false", "import", client, tree.to_str().unwrap(), "--dry-run"];
            printed(&[&words, options].concat());
        }
    }
}

/// A CA that answers everything with this.
fn ca(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let directory = json!({
        "newNonce": format!("{base}/n"), "newAccount": format!("{base}/a"), "newOrder": format!("{base}/o"),
        "revokeCert": format!("{base}/r"), "keyChange": format!("{base}/k"),
        "meta": {"termsOfService": EVIL, "caaIdentities": [EVIL], "profiles": {EVIL: EVIL}, "website": EVIL},
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.unwrap(), [0; 8192]);
            let count = stream.read(&mut buffer).unwrap_or_default();
            let is_directory = buffer[..count].starts_with(b"GET /dir ");
            let is_head = buffer[..count].starts_with(b"HEAD ");
            let text = if is_directory { directory.to_string() } else { body.to_string() };
            let status = if is_directory || is_head { 200 } else { status };
            let head = format!(
                "HTTP/1.1 {status} {EVIL}\r\nReplay-Nonce: abc\r\nContent-Type: application/problem+json\r\nServer: \u{1b}[2J\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            let head = head.replace('\u{8}', "").replace("\u{7}\r", "");
            let _ =
                stream.write_all(format!("{head}{}", if is_head { String::new() } else { text }).as_bytes());
        }
    });
    format!("{base}/dir")
}

fn assert_steers_nothing(dir: &Path, ca: &str) -> String {
    let dir = dir.display().to_string();
    let mut seen = String::new();
    for line in [
        "drive a.test",
        "drive -f a.test",
        "acme newreg me@a.test",
        "acme validate ACME-ca.test-0000",
        "acme agree ACME-ca.test-0000",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        for options in [&[][..], &["-j"], &["-vv"]] {
            seen += &printed(&[&["-d", &dir, "-a", ca, "-t", "accepted"], options, &words].concat());
        }
    }
    for line in [
        "account show ACME-ca.test-0000",
        "account list",
        "account contacts ACME-ca.test-0000 me@a.test",
        "account rollover ACME-ca.test-0000 --yes",
        "account deactivate ACME-ca.test-0000 --yes",
        "revoke a.test --yes --keep",
        "dns a.test",
        "status a.test",
        "store verify",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        for options in [&[][..], &["-j"], &["-v"]] {
            seen += &printed(&[&["-d", &dir, "--httpd", "false"], &words[..], options].concat());
        }
    }
    seen
}

#[test]
fn nothing_that_a_ca_says_steers_the_terminal() {
    const PROBLEM: &str = "{\"type\":\"urn:ietf:params:acme:error:malformed\",\"title\":\"\\u001b[2J\",\"detail\":\"evil \\u001b[2J\\u009b31m\\u202e\",\
                           \"subproblems\":[{\"type\":\"\\u001bx\",\"detail\":\"\\u001b[1m\",\"identifier\":{\"type\":\"dns\",\"value\":\"\\u001b[1m\"}}]}";
    const GARBAGE: &str = "\u{1b}[2J\u{9b}31m evil";
    let mut seen = String::new();
    for (status, body) in [(400, PROBLEM), (200, GARBAGE), (500, GARBAGE)] {
        let ca = ca(status, body);
        let temp = store(&ca);
        seen += &assert_steers_nothing(&temp.path().join("md"), &ca);
    }
    assert!(seen.contains("evil"), "{seen}");
}
