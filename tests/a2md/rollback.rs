// SPDX-License-Identifier: Apache-2.0
//! `a2md rollback`: an archived set comes back into use, at the next start or live, and stays; what is no
//! good any more is refused.

use super::revoke::{call, config, first};
use serde_json::{Value, json};
use std::path::Path;
use support::{Account, Httpd, Lab, Pebble, open_lab, wait_for};

/// An httpd with its second certificate in use, the first one in the archive; the serials of both.
fn renewed(lab: &Lab, pebble: &Pebble, account: Account) -> (Httpd, String, String) {
    let mut httpd = config(lab, pebble, account).start();
    let old = first(&httpd, pebble);
    httpd.graceful();
    httpd.rewrite(|config| config.line("MDRenewWindow 9999d\nMDRenewViaARI off"));
    httpd.graceful();
    let new = wait_for("the second certificate", support::SOON, || {
        Some(httpd.served("a.test", pebble, &[]).serial()).filter(|serial| *serial != old)
    });
    httpd.rewrite(|config| config.line("MDRenewWindow 33%"));
    httpd.graceful();
    (httpd, old, new)
}

#[track_caller]
fn document(store: &Path, pebble: &Pebble, arguments: &[&str]) -> Value {
    let called = call(store, pebble, &[arguments, &["-j"]].concat());
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
    called.json()
}

/// The archived set that can be put back.
fn usable(listed: &Value) -> &Value {
    let sets = listed["archived"].as_array().unwrap();
    sets.iter().find(|set| set["usable"] == json!(true)).unwrap_or_else(|| panic!("{listed}"))
}

fn at_the_next_start(account: Account, lab: &Lab) {
    let pebble = Pebble::start(lab);
    let (httpd, old, new) = renewed(lab, &pebble, account);
    let store = httpd.config.store();
    let config = httpd.stop();
    let listed = document(&store, &pebble, &["rollback", "a.test"]);
    assert_eq!(listed["in-use"]["certificates"][0]["serial"], json!(new), "{listed}");
    let set = usable(&listed);
    assert_eq!(set["certificates"][0]["serial"], json!(old), "{listed}");
    let number = set["number"].to_string();
    let done = document(&store, &pebble, &["rollback", "a.test", &number]);
    assert_eq!(done["activation"]["state"], json!("at-next-start"), "{done}");
    let mut httpd = config.start();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), old);
    httpd.wait_looked_twice();
    httpd.graceful();
    httpd.wait_looked_twice();
    let served = httpd.served("a.test", &pebble, &[]);
    assert!(served.verified && served.serial() == old, "nothing replaces it");
    assert_eq!(pebble.order_count(), 2);
    // The one before is withdrawn.
    let listed = document(&store, &pebble, &["rollback", "a.test"]);
    let sets = listed["archived"].as_array().unwrap();
    let former = sets.iter().find(|set| set["certificates"][0]["serial"] == json!(new)).unwrap();
    assert!(former["objection"].as_str().unwrap().contains("withdrawn"), "{listed}");
    let refused = call(&store, &pebble, &["rollback", "a.test", &former["number"].to_string()]);
    assert!(refused.code == 1 && refused.err.contains("withdrawn"), "{}", refused.err);
}

#[test]
fn an_archived_set_comes_back_at_the_next_start_of_root() {
    let Some(lab) = open_lab!() else { return };
    at_the_next_start(Account::Own, &lab);
}

#[test]
fn an_archived_set_comes_back_at_the_next_start_of_a_user() {
    let Some(lab) = open_lab!() else { return };
    at_the_next_start(Account::Ordinary, &lab);
}

#[test]
fn a_set_that_was_live_is_archived_and_the_domain_without_archive_says_so() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = config(&lab, &pebble, Account::Own).start();
    let old = first(&httpd, &pebble);
    let store = httpd.config.store();
    let called = call(&store, &pebble, &["rollback", "a.test"]);
    assert!(called.code == 0 && called.out.contains("no archived"), "{} {}", called.out, called.err);
    assert_eq!(call(&store, &pebble, &["rollback", "a.test", "7"]).code, 1);
    assert_eq!(call(&store, &pebble, &["rollback", "b.test"]).code, 1);
    httpd.graceful();
    httpd.rewrite(|config| config.line("MDRenewWindow 9999d\nMDRenewViaARI off"));
    httpd.graceful();
    let new = wait_for("the second certificate", support::SOON, || {
        Some(httpd.served("a.test", &pebble, &[]).serial()).filter(|serial| *serial != old)
    });
    // The second one is live, and nowhere but in staging; the first one is in domains/.
    httpd.rewrite(|config| config.line("MDRenewWindow 33%"));
    let config = httpd.stop();
    std::fs::create_dir_all(store.join("archive")).unwrap();
    let copy = store.join("archive/a.test.5");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(store.join("domains/a.test")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    document(&store, &pebble, &["rollback", "a.test", "5"]);
    let listed = document(&store, &pebble, &["rollback", "a.test"]);
    let serials: Vec<&Value> =
        listed["archived"].as_array().unwrap().iter().map(|set| &set["certificates"][0]["serial"]).collect();
    assert!(serials.contains(&&json!(new)), "{listed}");
    let httpd = config.start();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), old);
    httpd.wait_looked_twice();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), old);
}

fn beside_httpd(account: Account, lab: &Lab) {
    let pebble = Pebble::start(lab);
    let (mut httpd, old, new) = renewed(lab, &pebble, account);
    let store = httpd.config.store();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), new);
    let listed = document(&store, &pebble, &["rollback", "a.test"]);
    let number = usable(&listed)["number"].to_string();
    let done = document(&store, &pebble, &["rollback", "a.test", &number]);
    assert_eq!(done["activation"]["state"], json!("live"), "{done}");
    wait_for("the former certificate", support::SOON, || {
        (httpd.served("a.test", &pebble, &[]).serial() == old).then_some(())
    });
    httpd.graceful();
    httpd.wait_looked_twice();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), old);
    assert_eq!(pebble.order_count(), 2);
}

#[test]
fn an_archived_set_goes_live_beside_an_httpd_of_root() {
    let Some(lab) = open_lab!() else { return };
    beside_httpd(Account::Own, &lab);
}

#[test]
fn an_archived_set_goes_live_beside_an_httpd_of_a_user() {
    let Some(lab) = open_lab!() else { return };
    beside_httpd(Account::Ordinary, &lab);
}
