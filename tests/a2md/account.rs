// SPDX-License-Identifier: Apache-2.0
//! `a2md account`: accounts are shown and changed at a real CA, beside httpds; a key that is changed while
//! processes die at any step leaves a usable account, for a2md and for renewals.

use super::call::{Called, a2md, command};
use doubles::fake_ca::{Endpoint, FakeCa, Fault, problem};
use doubles::{Host, VirtualClock};
use mod_md::acme::{OrderOptions, Server, Session};
use mod_md::cli::engine;
use mod_md::cli::site::accounts::keys;
use mod_md::crypto::PrivateKey;
use mod_md::managed::Managed;
use mod_md::model::{KeySpec, Route};
use mod_md::renew::worker::check;
use mod_md::store::{ACCOUNT_KEY, Fuse, Group, NEXT_ACCOUNT_KEY, StartStore};
use mod_md::time::{StopFlag, SystemClock};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use support::{Account, Config, Lab, Pebble, open_lab};

pub const FOLDER: &str = "ACME-ca.test-0000";

pub fn ec() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
}

/// A host whose account is in `accounts/`, and its domains.
pub struct Hosted {
    pub host: Host,
    pub mds: Vec<Managed>,
    server: Arc<Server>,
    url: String,
}

impl Hosted {
    pub fn new() -> Hosted {
        let host = Host::new().validates();
        let server = connect(&host.ca, &host.clock);
        let key = ec();
        let url = server.register(&key, &[], Some("accepted"), None).unwrap().url;
        host.store.write_key(Group::Accounts, FOLDER, ACCOUNT_KEY, &key).unwrap();
        let json = json!({"status": "valid", "url": url, "ca-url": host.ca.directory_url(), "contact": []});
        host.store.write_json(Group::Accounts, FOLDER, "account.json", &json).unwrap();
        let kind = [KeySpec::Ec("P-256".into())];
        let mds = ["a.test", "b.test", "c.test", "d.test"].map(|name| host.managed(&[name], &kind)).to_vec();
        Hosted { host, mds, server, url }
    }

    pub fn open(&self, store: &StartStore) -> Result<keys::Opened, keys::Error> {
        keys::open(store, FOLDER, &self.url, &self.server)
    }

    pub fn key(&self) -> Option<PrivateKey> {
        self.host.store.read_key(Group::Accounts, FOLDER, ACCOUNT_KEY).unwrap()
    }

    pub fn takes(&self, key: &PrivateKey) -> bool {
        Session::new(self.server.clone(), key.clone(), self.url.clone()).account().is_ok()
    }

    /// Requests were signed with keys that the account had before, or does not have yet.
    pub fn forgive(&self) {
        let violations = self.host.ca.take_violations();
        assert!(
            violations.iter().all(|text| text.ends_with("the signature does not hold")),
            "{violations:?}"
        );
    }

    pub fn has_next(&self) -> bool {
        let files = self.host.store.files(Group::Accounts, FOLDER).unwrap();
        files.iter().any(|file| file == NEXT_ACCOUNT_KEY)
    }
}

fn connect(ca: &Arc<FakeCa>, clock: &Arc<VirtualClock>) -> Arc<Server> {
    Arc::new(Server::connect(&ca.directory_url(), ca.clone(), clock.clone()).unwrap())
}

#[test]
fn a_process_that_dies_while_it_changes_a_key_leaves_a_usable_account() {
    for steps in 0.. {
        let hosted = Hosted::new();
        let fuse = Fuse::after(steps);
        let dying = StartStore::open_existing_with(&hosted.host.path, fuse.clone()).unwrap().unsynced();
        let opened = hosted.open(&dying).unwrap();
        let rolled = keys::roll_over(&dying, FOLDER, &opened, &ec());
        let is_through = !fuse.is_blown();
        assert!(rolled.is_ok() || !is_through, "after {steps} steps");
        // Renewals find the key, with whatever is there.
        let context = hosted.host.context(&hosted.mds);
        check::run(&context, 0);
        assert!(hosted.host.job("a.test").unwrap().finished, "after {steps} steps");
        assert_eq!(hosted.host.ca.account_count(), 1, "after {steps} steps");
        // The next call ends what was begun.
        let opened = hosted.open(&hosted.host.store).unwrap();
        keys::settle(&hosted.host.store, FOLDER, &opened).unwrap();
        assert!(hosted.takes(&hosted.key().unwrap()) && !hosted.has_next(), "after {steps} steps");
        hosted.forgive();
        if is_through {
            assert!(steps > 5, "it takes that many steps: {steps}");
            return;
        }
    }
}

#[test]
fn a_running_child_takes_the_new_key_and_the_ca_refuses_the_old_one() {
    let hosted = Hosted::new();
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 0);
    let (old, new) = (hosted.key().unwrap(), ec());
    let opened = hosted.open(&hosted.host.store).unwrap();
    keys::roll_over(&hosted.host.store, FOLDER, &opened, &new).unwrap();
    assert!(hosted.takes(&new) && !hosted.takes(&old));
    check::run(&context, 1);
    let job = hosted.host.job("b.test").unwrap();
    assert!(job.finished && job.errors == 0, "{job:?}");
    // A process dies after the CA has the new key; a child that has seen both of them goes on with it.
    let last = ec();
    let document = problem("serverInternal", "not now");
    let refusal = Fault::Problem { status: 500, document, retry_after: None };
    hosted.host.ca.fault(Endpoint::KeyChange, refusal);
    hosted.host.store.write_key(Group::Accounts, FOLDER, NEXT_ACCOUNT_KEY, &last).unwrap();
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 2);
    hosted.open(&hosted.host.store).unwrap().session.change_key(&last).unwrap();
    check::run(&context, 3);
    for name in ["c.test", "d.test"] {
        let job = hosted.host.job(name).unwrap();
        assert!(job.finished && job.errors == 0, "{job:?}");
    }
    assert_eq!(hosted.host.ca.account_count(), 1);
    hosted.forgive();
}

pub fn call(store: &Path, pebble: &Pebble, arguments: &[&str]) -> Called {
    let certificate = pebble.authority.certificate.to_str().unwrap();
    a2md(&[&["account", "-d", store.to_str().unwrap(), "-C", certificate], arguments].concat())
}

#[track_caller]
pub fn document(store: &Path, pebble: &Pebble, arguments: &[&str]) -> Value {
    let called = call(store, pebble, &[arguments, &["-j"]].concat());
    assert_eq!(called.code, 0, "{} {}", called.out, called.err);
    called.json()
}

pub fn site(lab: &Lab, pebble: &Pebble, account: Account) -> Config {
    Config::with_ca(lab, &pebble.authority)
        .account(account)
        .line("MDomain a.test\nMDContactEmail admin@a.test")
        .site("a.test", &[])
}

fn all_of_an_account(account: Account, lab: &Lab) {
    let pebble = Pebble::start(lab);
    let mut httpd = site(lab, &pebble, account).start();
    httpd.wait_staged("a.test");
    let store = httpd.config.store();
    let listed = document(&store, &pebble, &["list"]);
    let waiting = &listed["accounts"][0];
    assert_eq!((&waiting["place"], &waiting["waits-in"]), (&json!("staging"), &json!("a.test")), "{listed}");
    assert_eq!(waiting["domains"], json!(["a.test"]), "{listed}");
    let url = waiting["url"].as_str().unwrap().to_string();

    // It comes to accounts/ by being changed.
    let rolled = document(&store, &pebble, &["rollover", "127.0.0.1", "--type", "P-384"]);
    assert_eq!((&rolled["url"], &rolled["key"]), (&json!(url), &json!("P-384")), "{rolled}");
    let id = rolled["id"].as_str().unwrap().to_string();
    let shown = document(&store, &pebble, &["show", &id]);
    assert_eq!((&shown["place"], &shown["key"]), (&json!("accounts"), &json!("P-384")), "{shown}");
    assert_eq!((&shown["status-at-ca"], &shown["url"]), (&json!("valid"), &json!(url)), "{shown}");
    assert_eq!(shown["caa"], json!(format!("accounturi={url}")));

    let changed = document(&store, &pebble, &["contacts", &id, "new@a.test"]);
    assert_eq!(changed["contacts-at-ca"], json!(["mailto:new@a.test"]), "{changed}");
    assert!(changed["advice"].as_str().unwrap().contains("MDContactEmail"), "{changed}");

    // A start and a new order go on with that account.
    httpd.rewrite(|config| config.line("MDomain b.test").site("b.test", &[]));
    httpd.graceful();
    httpd.wait_staged("b.test");
    assert_eq!(pebble.account_count(), 1);
    let listed = document(&store, &pebble, &["list"]);
    let accounts = listed["accounts"].as_array().unwrap();
    assert_eq!((accounts.len(), &accounts[0]["url"]), (1, &json!(url)), "{listed}");

    let refused = call(&store, &pebble, &["deactivate", &id]);
    assert!(
        refused.code == 1 && refused.err.contains("--yes") && refused.err.contains("a.test"),
        "{}",
        refused.err
    );
    assert_eq!(document(&store, &pebble, &["show", &id])["status-at-ca"], json!("valid"));
    document(&store, &pebble, &["deactivate", &id, "--yes"]);
    let shown = call(&store, &pebble, &["show", &id, "-j"]);
    assert_eq!((shown.code, &shown.json()["status"]), (1, &json!("deactivated")), "{}", shown.out);
    assert_eq!(document(&store, &pebble, &["list"])["accounts"][0]["status"], json!("deactivated"));
}

#[test]
fn an_account_is_shown_changed_and_ended_beside_an_httpd_of_root() {
    let Some(lab) = open_lab!() else { return };
    all_of_an_account(Account::Own, &lab);
}

#[test]
fn an_account_is_shown_changed_and_ended_beside_an_httpd_of_an_ordinary_user() {
    let Some(lab) = open_lab!() else { return };
    all_of_an_account(Account::Ordinary, &lab);
}

#[test]
fn what_is_no_account_is_said_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("md");
    drop(StartStore::open(&store, None).unwrap());
    let call = |arguments: &[&str]| a2md(&[&["account", "-d", store.to_str().unwrap()], arguments].concat());
    let called = call(&["list"]);
    assert!(called.code == 0 && called.out.contains("no account"), "{} {}", called.out, called.err);
    let called = call(&["show", "ca.test"]);
    assert!(called.code == 1 && called.err.contains("a2md account list"), "{}", called.err);
    assert!(call(&["rollover", "ca.test", "--type", "RSA-1024"]).err.contains("P-384"));
    assert!(call(&["contacts", "ca.test", "nobody"]).err.contains("no mail address"));
}

#[test]
fn an_answer_that_is_cut_off_after_the_ca_has_changed_the_key_is_found_out() {
    let hosted = Hosted::new();
    let (old, new) = (hosted.key().unwrap(), ec());
    let opened = hosted.open(&hosted.host.store).unwrap();
    hosted.host.ca.fault(Endpoint::KeyChange, Fault::Lost(mod_md::http::Error::Timeout));
    keys::roll_over(&hosted.host.store, FOLDER, &opened, &new).unwrap();
    assert!(hosted.takes(&new) && !hosted.takes(&old) && !hosted.has_next());
    let stored = hosted.key().unwrap();
    assert!(hosted.takes(&stored), "the store has the new key");
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 0);
    assert!(hosted.host.job("a.test").unwrap().finished);
    hosted.forgive();
}

#[test]
fn the_store_stays_free_while_another_process_changes_the_keys() {
    let hosted = Hosted::new();
    let held = keys::lock(&hosted.host.store, FOLDER).unwrap();
    let path = hosted.host.path.to_str().unwrap().to_string();
    let mut waiting = command(&["account", "rollover", FOLDER, "--cancel", "-d", &path]);
    let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = said.inspect(|line| eprintln!("{line}"));
    assert!(said.any(|line| line.contains("Waiting for the process")));
    assert!(hosted.host.store.lock(Duration::ZERO).unwrap().is_some(), "a start of httpd goes on");
    drop(held);
    assert!(said.any(|line| line.contains("no other key waits")));
    assert_eq!(waiting.wait().unwrap().code(), Some(1));
}

#[test]
fn a_change_that_the_ca_may_make_yet_keeps_both_keys() {
    let hosted = Hosted::new();
    let (old, new) = (hosted.key().unwrap(), ec());
    let opened = hosted.open(&hosted.host.store).unwrap();
    hosted.host.ca.fault(Endpoint::KeyChange, Fault::Unreached(mod_md::http::Error::Timeout));
    let error = keys::roll_over(&hosted.host.store, FOLDER, &opened, &new).err().unwrap();
    assert!(matches!(error, keys::Error::Open(_)) && hosted.has_next(), "{error}");
    assert!(hosted.takes(&old) && hosted.key().unwrap().is_same(&old));
    // It is made.
    opened.session.change_key(&new).unwrap();
    let opened = hosted.open(&hosted.host.store).unwrap();
    keys::settle(&hosted.host.store, FOLDER, &opened).unwrap();
    assert!(hosted.key().unwrap().is_same(&new) && !hosted.has_next());
    // One that refuses makes it no more.
    let document = problem("malformed", "no");
    hosted.host.ca.fault(Endpoint::KeyChange, Fault::Problem { status: 400, document, retry_after: None });
    let error = keys::roll_over(&hosted.host.store, FOLDER, &opened, &ec()).err().unwrap();
    assert!(matches!(error, keys::Error::Refused(_)) && !hosted.has_next(), "{error}");
    hosted.forgive();
}

#[test]
fn a_real_ca_takes_no_order_of_the_old_key_after_a_rollover() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let httpd = site(&lab, &pebble, Account::Own).start();
    httpd.wait_staged("a.test");
    let path = httpd.config.store();
    let listed = document(&path, &pebble, &["list"]);
    let url = listed["accounts"][0]["url"].as_str().unwrap().to_string();
    let store = StartStore::open_existing(&path).unwrap();
    let old = store.read_key(Group::Staging, "a.test", ACCOUNT_KEY).unwrap().unwrap();
    let order = |key: &PrivateKey| order_at(&pebble, &url, key);
    order(&old).unwrap();
    let orders = pebble.order_count();
    let rolled = document(&path, &pebble, &["rollover", "127.0.0.1"]);
    let folder = rolled["id"].as_str().unwrap();
    let refused = order(&old).unwrap_err();
    assert!(refused.problem().is_some(), "{refused}");
    assert_eq!(pebble.order_count(), orders);
    order(&store.read_key(Group::Accounts, folder, ACCOUNT_KEY).unwrap().unwrap()).unwrap();
}

/// Places an order with this key of the account.
pub fn order_at(pebble: &Pebble, url: &str, key: &PrivateKey) -> Result<(), mod_md::acme::Error> {
    let ca_file = Some(pebble.authority.certificate.display().to_string());
    let route = Route { ca_file, ..Route::default() };
    let transport = engine::connect(&route, &StopFlag::default()).unwrap();
    let clock = Arc::new(SystemClock::default());
    let server = Arc::new(Server::connect(&pebble.authority.directory(), transport, clock).unwrap());
    let session = Session::new(server, key.clone(), url.to_string());
    session.new_order(&["a.test".to_string()], &OrderOptions::default()).map(drop)
}
