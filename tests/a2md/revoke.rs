// SPDX-License-Identifier: Apache-2.0
//! `a2md revoke` and what follows: the CA says that a certificate is revoked, and the renewing child and
//! starts act by the note in the store, with or without a request.

use super::call::{Called, a2md};
use doubles::Host;
use doubles::fake_ca::Endpoint;
use mod_md::crypto::{CertInfo, Chain};
use mod_md::managed::bundle::{self, Bundle};
use mod_md::managed::staging::Staging;
use mod_md::managed::withdrawn::{self, Entry, Why};
use mod_md::managed::{Managed, published};
use mod_md::model::KeySpec;
use mod_md::renew::worker::check;
use mod_md::store::Group;
use mod_md::time::Clock;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Account, Config, Httpd, Lab, Need, Pebble, open_lab};

pub fn call(store: &Path, pebble: &Pebble, arguments: &[&str]) -> Called {
    let certificate = pebble.authority.certificate.to_str().unwrap();
    a2md(&[&["-d", store.to_str().unwrap(), "-C", certificate, "--httpd", "false"], arguments].concat())
}

pub fn config(lab: &Lab, pebble: &Pebble, account: Account) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .account(account)
        .line("MDomain a.test\nMDCheckInterval 1s")
        .site("a.test", &[])
}

/// The serial of the first certificate, which is served.
pub fn first(httpd: &Httpd, pebble: &Pebble) -> String {
    support::wait_for("a certificate of the CA", support::SOON, || {
        Some(httpd.served("a.test", pebble, &[])).filter(|served| served.verified)
    })
    .serial()
}

fn revoked_without_httpd(account: Account, lab: &Lab) {
    let pebble = Pebble::start(lab);
    let httpd = config(lab, &pebble, account).start();
    let serial = first(&httpd, &pebble);
    let store = httpd.config.store();
    let config = httpd.stop();
    let refused = call(&store, &pebble, &["revoke", "a.test"]);
    assert!(refused.code == 1 && refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(pebble.status_of(&serial).0, "Valid");
    assert!(!store.join("withdrawn/a.test.json").exists());

    let called = call(&store, &pebble, &["revoke", "a.test", "--reason", "superseded", "--yes", "-j"]);
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
    let document = called.json();
    let entry = &document["certificates"][0];
    assert_eq!((&entry["state"], &entry["by"]), (&json!("revoked"), &json!("account")), "{document}");
    assert_eq!(document["renewal"]["state"], json!("at-next-start"), "{document}");
    assert_eq!(pebble.status_of(&serial), ("Revoked".into(), Some(4)));
    let again = call(&store, &pebble, &["revoke", "a.test", "--yes", "-j"]);
    assert_eq!((again.code, &again.json()["certificates"][0]["state"]), (0, &json!("already-revoked")));

    // Nothing else is there to be served: the start takes it, and it is renewed at once.
    let httpd = config.start();
    support::wait_for("another certificate", support::SOON, || {
        (httpd.served("a.test", &pebble, &[]).serial() != serial).then_some(())
    });
    assert!(httpd.served("a.test", &pebble, &[]).verified);
    assert_eq!(pebble.order_count(), 2);
    assert_eq!(pebble.account_count(), 1);
}

#[test]
fn a_certificate_revoked_without_httpd_is_renewed_by_the_next_start_of_root() {
    let Some(lab) = open_lab!() else { return };
    revoked_without_httpd(Account::Own, &lab);
}

#[test]
fn a_certificate_revoked_without_httpd_is_renewed_by_the_next_start_of_a_user() {
    let Some(lab) = open_lab!() else { return };
    revoked_without_httpd(Account::Ordinary, &lab);
}

#[test]
fn a_certificate_is_revoked_by_its_own_key_where_no_account_is_left_and_kept_in_use() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    // A CA with ARI has the domain renewed soon after it has revoked the certificate.
    let mut httpd = config(&lab, &pebble, Account::Own).line("MDRenewViaARI off").start();
    let serial = first(&httpd, &pebble);
    httpd.graceful();
    let store = httpd.config.store();
    std::fs::rename(store.join("accounts"), store.join("gone")).unwrap();
    std::fs::create_dir(store.join("accounts")).unwrap();
    let called = call(&store, &pebble, &["revoke", "a.test", "--reason", "1", "--keep", "--yes", "-j"]);
    let document = called.json();
    let entry = &document["certificates"][0];
    assert_eq!((called.code, &entry["by"]), (0, &json!("certificate key")), "{document}");
    assert_eq!(document["renewal"], json!(null), "{document}");
    assert_eq!(pebble.status_of(&serial), ("Revoked".into(), Some(1)));
    httpd.graceful();
    httpd.wait_looked_twice();
    assert_eq!(httpd.served("a.test", &pebble, &[]).serial(), serial, "it is kept");
    assert_eq!(pebble.order_count(), 1);
}

#[test]
fn a_certificate_is_renewed_by_the_running_httpd_with_a_new_key() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).start();
    let serial = first(&httpd, &pebble);
    let store = httpd.config.store();
    let called = call(&store, &pebble, &["revoke", "a.test", "--reason", "keyCompromise", "--yes", "-j"]);
    let document = called.json();
    assert_eq!(
        (called.code, &document["renewal"]["state"]),
        (0, &json!("done")),
        "{document} {}",
        called.err
    );
    assert_eq!(pebble.status_of(&serial), ("Revoked".into(), Some(1)));
    support::wait_for("another certificate", support::SOON, || {
        (httpd.served("a.test", &pebble, &[]).serial() != serial).then_some(())
    });
    assert_eq!(pebble.order_count(), 2);
}

#[test]
fn a_ca_that_refuses_or_does_not_answer_leaves_nothing_noted() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).start();
    let serial = first(&httpd, &pebble);
    let store = httpd.config.store();
    drop(httpd);
    let called = call(&store, &pebble, &["revoke", "a.test", "--reason", "6", "--yes"]);
    assert!(called.code == 1 && called.err.contains("keyCompromise (1)"), "{}", called.err);
    let called = call(&store, &pebble, &["revoke", "a.test", "--key", "P-384", "--yes"]);
    assert!(called.code == 1 && called.err.contains("P-384"), "{}", called.err);
    assert_eq!(pebble.status_of(&serial).0, "Valid");
    let authority = pebble.stop();
    let certificate = authority.certificate.to_str().unwrap();
    let called = a2md(&["-d", store.to_str().unwrap(), "-C", certificate, "revoke", "a.test", "--yes"]);
    assert!(called.code == 1 && called.out.contains("is not revoked"), "{} {}", called.out, called.err);
    assert!(!store.join("withdrawn/a.test.json").exists());
}

/// A domain whose first certificate is in staging.
fn staged() -> (Host, Vec<Managed>, Chain) {
    let host = Host::new().validates();
    let spec = KeySpec::Ec("P-256".into());
    host.leave_account_key("a.test", &spec);
    let mds = vec![host.managed(&["a.test"], std::slice::from_ref(&spec))];
    check::run(&host.context(&mds), 0);
    let chain = Staging::new(&host.work(), "a.test").chain(&spec).unwrap().unwrap();
    (host, mds, chain)
}

fn withdraw(host: &Host, chain: &Chain, why: Why) {
    let now = host.clock.now();
    let entry = Entry::new(chain.leaf(), why, false, now);
    withdrawn::change(&host.store, "a.test", now, |withdrawn| withdrawn.add(entry)).unwrap();
}

#[test]
fn a_revoked_certificate_in_use_is_due_at_once_and_a_kept_or_replaced_one_is_not() {
    for (why, orders) in [(Why::Revoked, 2), (Why::Kept, 1), (Why::Replaced, 1)] {
        let (host, mut mds, chain) = staged();
        let spec = mds[0].md.keys().remove(0);
        mds[0].certs = vec![(spec.clone(), Some(CertInfo::from_chain(&chain)))].into();
        let key = Staging::new(&host.work(), "a.test").key(&spec).unwrap().unwrap();
        let (set, _) = Bundle::from_sent(spec, key, chain.clone()).unwrap();
        bundle::write(&host.store, Group::Domains, "a.test", &set).unwrap();
        host.store.purge(Group::Staging, "a.test").unwrap();
        host.leave_account_key("a.test", &KeySpec::Ec("P-256".into()));
        withdraw(&host, &chain, why);
        check::run(&host.context(&mds), 0);
        assert_eq!(host.ca.count(Endpoint::NewOrder), orders, "{why:?}");
        assert!(published::staged_certs(&host.work(), "a.test").is_some() == (orders == 2), "{why:?}");
    }
}

#[test]
fn a_start_that_holds_the_lock_of_the_store_is_waited_for_as_long_as_the_configuration_says() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).line("MDStoreLocks 1s").start();
    let serial = first(&httpd, &pebble);
    let config = httpd.stop();
    let (store, control) = (config.store(), config.control());
    let held = mod_md::store::StartStore::open_existing(&store).unwrap();
    let held = held.lock(support::SOON).unwrap().unwrap();
    let certificate = pebble.authority.certificate.to_str().unwrap();
    let line =
        ["-d", store.to_str().unwrap(), "-C", certificate, "--httpd", &control, "revoke", "a.test", "--yes"];
    let begin = std::time::Instant::now();
    let called = a2md(&line);
    assert!(called.code == 1 && called.err.contains("holds the lock"), "{} {}", called.out, called.err);
    assert!(begin.elapsed() < std::time::Duration::from_secs(25), "as long as a start waits");
    assert_eq!(pebble.status_of(&serial).0, "Valid");
    assert!(!store.join("withdrawn/a.test.json").exists());
    drop(held);
    let called = a2md(&line);
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
}

#[test]
fn on_a_terminal_it_asks_and_only_yes_revokes() {
    let Some(lab) = open_lab!(Need::Program("script")) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = config(&lab, &pebble, Account::Own).start();
    let serial = first(&httpd, &pebble);
    let store = httpd.stop().store();
    let certificate = pebble.authority.certificate.to_str().unwrap();
    let line = format!(
        "{} -d {} -C {certificate} --httpd false revoke a.test",
        env!("CARGO_BIN_EXE_a2md"),
        store.display()
    );
    let answer = |answer: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for no in ["no\n", "\n", "yess\n"] {
        let (code, said) = answer(no);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is revoked for good") && said.contains("nothing was changed"), "{said}");
        assert_eq!(pebble.status_of(&serial).0, "Valid");
    }
    let (code, said) = answer("yes\n");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(pebble.status_of(&serial).0, "Revoked");
}
