// SPDX-License-Identifier: Apache-2.0
//! `rehearse`: an order at a second CA, beside a renewal that has files of its own.

use super::call::{Called, a2md};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Authority, Config, Httpd, Lab, Pebble, open_lab};

/// A site with a certificate of one CA, and another CA for tests.
fn site(lab: &Lab, pebble: &Pebble) -> Httpd {
    let config = Config::with_ca(lab, &pebble.authority)
        .line("MDomain one.test www.one.test\nMDRenewViaARI off\nMDCheckInterval 1s");
    let mut httpd = config.site("one.test", &["www.one.test"]).start();
    httpd.wait_staged_and_activate(&["one.test"]);
    httpd
}

fn rehearse(httpd: &Httpd, ca: &Authority, more: &[&str]) -> Called {
    let (store, certificate, url) =
        (httpd.config.store(), ca.certificate.display().to_string(), ca.directory());
    let mut arguments = vec!["rehearse", "-d", store.to_str().unwrap(), "-C", &certificate, "--acme", &url];
    arguments.extend(more);
    a2md(&arguments)
}

/// All files below that folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            // It changes with the child that renews.
            false if entry.file_name() == "renewing.lock" => {}
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

/// Has the hour since the last rehearsal pass.
fn forget_time(httpd: &Httpd) {
    fs::remove_file(httpd.config.store().join("rehearsals.json")).unwrap();
}

#[test]
fn a_rehearsal_keeps_the_account_and_nothing_else() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let tests = Authority::named(&lab, "tests").start();
    let httpd = site(&lab, &pebble);
    let store = httpd.config.store();
    let staged = store.join("staging/one.test");
    fs::write(staged.join("privkey.pem"), "of a renewal under way").unwrap();
    let groups = ["staging", "domains", "archive", "tmp", "challenges"];
    let before = groups.map(|group| files(&store.join(group)));
    let called = rehearse(&httpd, &tests.authority, &["www.one.test"]);
    assert_eq!(called.code, 0, "{}\n{}", called.out, called.err);
    let url = tests.authority.directory();
    assert!(
        called.out.starts_with(&format!("one.test: works: {url} issued a certificate")),
        "{}",
        called.out
    );
    assert!(called.err.contains("Setting up challenge"), "{}", called.err);
    assert!(!called.err.contains("_rehearsal"), "{}", called.err);
    assert_eq!((tests.order_count(), tests.account_count(), pebble.order_count()), (1, 1, 1));
    assert_eq!(groups.map(|group| files(&store.join(group))), before);

    // Once an hour.
    let called = rehearse(&httpd, &tests.authority, &["--json", "one.test"]);
    let result = &called.json()["rehearsals"][0];
    assert_eq!((called.code, &result["works"]), (1, &json!(false)));
    assert!(result["error"].as_str().unwrap().starts_with("it was rehearsed at "), "{result}");
    assert!(result["advice"].as_str().unwrap().starts_with("It can be rehearsed again at "), "{result}");
    assert_eq!(tests.order_count(), 1);

    // With the account that it has there by now.
    forget_time(&httpd);
    let called = rehearse(&httpd, &tests.authority, &["--json", "--all"]);
    let document = called.json();
    assert_eq!((called.code, &document["schema"]), (0, &json!(1)), "{}", called.err);
    let result = &document["rehearsals"][0];
    assert_eq!(
        (&result["name"], &result["works"], &result["ca"]),
        (&json!("one.test"), &json!(true), &json!(url))
    );
    assert_eq!((tests.order_count(), tests.account_count()), (2, 1));
}

#[test]
fn a_rehearsal_that_fails_has_the_words_of_the_ca_and_advice() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let tests = Authority::named(&lab, "tests").block_domain(&lab, "one.test").start();
    let httpd = site(&lab, &pebble);
    // Of one that was killed.
    let left = httpd.config.store().join("staging/_rehearsal.one.test");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("order.json"), "{}").unwrap();
    let called = rehearse(&httpd, &tests.authority, &["--json", "one.test"]);
    let result = called.json()["rehearsals"][0].clone();
    assert_eq!((called.code, &result["works"]), (1, &json!(false)), "{}", called.err);
    assert!(result["problem"].as_str().unwrap().contains("rejectedIdentifier"), "{result}");
    assert!(result["error"].as_str().unwrap().contains("one.test"), "{result}");
    assert!(result["advice"].is_string(), "{result}");
    assert!(!left.exists());
}

#[test]
fn the_ca_that_a_domain_orders_from_is_not_rehearsed_at() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = site(&lab, &pebble);
    let called = rehearse(&httpd, &pebble.authority, &["one.test"]);
    assert_eq!(called.code, 1);
    assert!(called.out.contains("is the CA that it orders from"), "{}", called.out);
    let store = httpd.config.store().display().to_string();
    let called = a2md(&["rehearse", "-d", &store, "one.test", "--json"]);
    let document: Value = called.json();
    assert!(
        document["rehearsals"][0]["error"].as_str().unwrap().starts_with("no directory for tests is known")
    );
    assert!(document["rehearsals"][0]["advice"].as_str().unwrap().contains("--acme URL"));
    let called = a2md(&["rehearse", "-d", &store]);
    assert_eq!(called.code, 2, "neither names nor --all: {}", called.err);
    let called = a2md(&["rehearse", "-d", &store, "x.test"]);
    assert_eq!(called.code, 1);
    assert_eq!(pebble.order_count(), 1);
}

#[test]
fn without_httpd_it_says_so_and_the_hour_is_not_used_up() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let tests = Authority::named(&lab, "tests").start();
    let httpd = site(&lab, &pebble);
    let config = httpd.stop();
    let (store, certificate) = (config.store(), tests.authority.certificate.display().to_string());
    let (store, url) = (store.display().to_string(), tests.authority.directory());
    let line = ["rehearse", "one.test", "-d", &store, "-C", &certificate, "--acme", &url];
    let called = a2md(&line);
    assert!(called.code == 1 && called.out.contains("no httpd runs on the store"), "{}", called.out);
    assert_eq!(tests.order_count(), 0);

    let httpd = config.start();
    httpd.wait_looked_twice();
    let called = a2md(&line);
    assert_eq!(called.code, 0, "{}\n{}", called.out, called.err);
}
