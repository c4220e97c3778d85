// SPDX-License-Identifier: Apache-2.0
//! A key that waits for an account: a renewal has the CA take it and goes on with it, whatever dies or refuses, and
//! a start puts it in its place.

use super::account::{FOLDER, Hosted, call, document, ec, order_at, site};
use doubles::fake_ca::{Endpoint, FakeCa, Fault, problem};
use mod_md::cli::site::accounts::keys;
use mod_md::crypto::PrivateKey;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::managed::staging::Staging;
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::startup::accounts::Accounts;
use mod_md::store::{ACCOUNT_KEY, Fuse, Group, NEXT_ACCOUNT_KEY, StartStore};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::module::c_module;
use support::process::{is_alive, signal};
use support::{Account, Httpd, Need, Pebble, SOON, open_lab, wait_for};

const HOUR: Duration = Duration::from_secs(3600);

/// A key waits.
fn waiting() -> (Hosted, PrivateKey, PrivateKey) {
    let hosted = Hosted::new();
    let (old, next) = (hosted.key().unwrap(), ec());
    keys::leave(&hosted.host.store, FOLDER, &next).unwrap();
    (hosted, old, next)
}

fn run_two(context: &Context) {
    for index in 0..2 {
        check::run(context, index);
    }
}

impl Hosted {
    fn changes(&self) -> usize {
        self.host.ca.count(Endpoint::KeyChange)
    }

    /// The account is taken over as at a start.
    fn start(&self) {
        let mut accounts = Accounts::read(&self.host.store).unwrap();
        for md in &self.mds {
            accounts.adopt(&self.host.store, &md.md.name, &|_, _| true).unwrap();
        }
        assert_eq!(self.host.store.names(Group::Accounts).unwrap(), [FOLDER]);
    }

    #[track_caller]
    fn assert_renewed(&self, name: &str) {
        let job = self.host.job(name).unwrap();
        assert!(job.finished && job.errors == 0, "{job:?}");
        assert_eq!(self.host.ca.account_count(), 1);
    }
}

#[test]
fn a_renewal_has_the_ca_take_the_key_and_a_start_puts_it_in_its_place() {
    let (hosted, old, next) = waiting();
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 0);
    hosted.assert_renewed("a.test");
    assert!(hosted.takes(&next) && !hosted.takes(&old));
    let log = format!("{:?}", hosted.host.job("a.test").unwrap().log);
    assert!(log.contains("Changing the key of the ACME account"), "{log}");
    // `accounts` is not the child's to write.
    assert!(hosted.has_next() && hosted.key().unwrap().is_same(&old));
    hosted.forgive();
    // This child and a new one go on with it, and ask nothing more than for any order.
    let asked = |index: usize, context: &Context| {
        let before = hosted.host.ca.count(Endpoint::Account);
        check::run(context, index);
        hosted.host.ca.count(Endpoint::Account) - before
    };
    assert_eq!(asked(1, &context), 0, "the session is kept");
    hosted.forgive();
    assert_eq!(asked(2, &hosted.host.context(&hosted.mds)), 2, "both keys are tried");
    hosted.start();
    assert!(!hosted.has_next() && hosted.key().unwrap().is_same(&next));
    hosted.forgive();
    assert_eq!(asked(3, &context), 1, "it is read again");
    ["b.test", "c.test", "d.test"].iter().for_each(|name| hosted.assert_renewed(name));
    assert_eq!(hosted.changes(), 1);
    assert_eq!(hosted.host.ca.take_violations(), [""; 0], "nothing is signed with the old one");
}

#[test]
fn a_child_that_dies_at_any_write_leaves_an_account_that_the_next_one_uses() {
    let mut has_changed_before_it_died = false;
    for steps in 0.. {
        let (hosted, old, next) = waiting();
        let fuse = Fuse::after(steps);
        let dying = StartStore::open_existing_with(&hosted.host.path, fuse.clone()).unwrap().unsynced();
        let ca = hosted.host.ca.clone();
        check::run(&hosted.host.context_by(&hosted.mds, dying.worker(), move || Ok(ca.clone())), 0);
        let (is_through, is_changed) = (!fuse.is_blown(), hosted.takes(&next));
        has_changed_before_it_died |= is_changed && !is_through;
        hosted.start();
        assert!(hosted.takes(&hosted.key().unwrap()) || hosted.has_next(), "after {steps} steps");
        hosted.host.clock.advance(HOUR);
        let context = hosted.host.context(&hosted.mds);
        run_two(&context);
        assert!(hosted.takes(&next) && !hosted.takes(&old), "after {steps} steps");
        hosted.start();
        assert!(hosted.key().unwrap().is_same(&next) && !hosted.has_next(), "after {steps} steps");
        for name in ["a.test", "b.test"] {
            assert!(hosted.host.job(name).unwrap().finished, "after {steps} steps");
        }
        assert_eq!((hosted.host.ca.account_count(), hosted.changes()), (1, 1), "after {steps} steps");
        hosted.forgive();
        if is_through {
            assert!(steps > 10 && has_changed_before_it_died, "{steps}");
            return;
        }
    }
}

/// Lets a process die at the n-th request to the CA: before it arrives, or before its answer does.
struct Dying {
    ca: Arc<FakeCa>,
    left: AtomicUsize,
    arrives: bool,
}

impl Transport for Dying {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let is_last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        let answer = (!is_last || self.arrives).then(|| self.ca.send(request));
        assert!(!is_last, "the process dies here");
        answer.unwrap()
    }
}

#[test]
fn a_child_that_dies_at_any_request_leaves_an_account_that_the_next_one_uses() {
    for arrives in [false, true] {
        let mut has_changed_before_it_died = false;
        for requests in 1.. {
            let (hosted, old, next) = waiting();
            let dying = Dying { ca: hosted.host.ca.clone(), left: AtomicUsize::new(requests), arrives };
            let dying = Arc::new(dying);
            let context = hosted.host.context_by(&hosted.mds, hosted.host.work(), move || Ok(dying.clone()));
            let died = catch_unwind(AssertUnwindSafe(|| check::run(&context, 0))).is_err();
            has_changed_before_it_died |= died && hosted.takes(&next) && hosted.changes() == 1;
            hosted.host.clock.advance(HOUR);
            let context = hosted.host.context(&hosted.mds);
            run_two(&context);
            hosted.assert_renewed("a.test");
            hosted.assert_renewed("b.test");
            assert!(hosted.takes(&next) && !hosted.takes(&old), "at request {requests}");
            hosted.start();
            assert!(hosted.key().unwrap().is_same(&next) && !hosted.has_next(), "at request {requests}");
            hosted.forgive();
            if !died {
                assert!(requests > 5 && has_changed_before_it_died, "{requests}");
                break;
            }
        }
    }
}

#[test]
fn a_ca_that_refuses_the_key_is_asked_again_after_an_hour_and_renews_meanwhile() {
    let (hosted, old, next) = waiting();
    let refusal =
        || Fault::Problem { status: 500, document: problem("serverInternal", "no"), retry_after: None };
    hosted.host.ca.fault(Endpoint::KeyChange, refusal());
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 0);
    check::run(&context, 1);
    assert!(hosted.takes(&old) && hosted.has_next());
    assert_eq!(hosted.changes(), 1);
    hosted.host.clock.advance(HOUR);
    check::run(&context, 2);
    assert!(hosted.takes(&next) && !hosted.takes(&old));
    assert_eq!(hosted.changes(), 2);
    ["a.test", "b.test", "c.test"].iter().for_each(|name| hosted.assert_renewed(name));
    hosted.forgive();
}

#[test]
fn an_answer_that_is_lost_after_the_ca_took_the_key_is_found_out() {
    let (hosted, old, next) = waiting();
    hosted.host.ca.fault(Endpoint::KeyChange, Fault::Lost(http::Error::Timeout));
    check::run(&hosted.host.context(&hosted.mds), 0);
    hosted.assert_renewed("a.test");
    assert!(hosted.takes(&next) && !hosted.takes(&old));
    hosted.start();
    assert!(hosted.key().unwrap().is_same(&next) && !hosted.has_next());
    hosted.forgive();
}

#[test]
fn a_key_waits_while_the_ca_validates_an_order_with_the_present_one() {
    let hosted = Hosted::new();
    let old = hosted.key().unwrap();
    let context = hosted.host.context(&hosted.mds);
    hosted.host.ca.rules(|rules| rules.validation_time = HOUR);
    check::run(&context, 1);
    assert!(!hosted.host.job("b.test").unwrap().finished);
    let next = ec();
    keys::leave(&hosted.host.store, FOLDER, &next).unwrap();
    check::run(&context, 0);
    assert!(hosted.takes(&old) && hosted.changes() == 0);
    hosted.host.ca.rules(|rules| rules.validation_time = Duration::ZERO);
    hosted.host.clock.advance(HOUR);
    run_two(&context);
    ["a.test", "b.test"].iter().for_each(|name| hosted.assert_renewed(name));
    assert_eq!(hosted.host.ca.count(Endpoint::NewOrder), 2);
    check::run(&context, 2);
    hosted.assert_renewed("c.test");
    assert!(hosted.takes(&next) && hosted.changes() == 1);
    hosted.forgive();
}

type Act = Box<dyn FnOnce() + Send>;

/// Acts once, before the first order arrives.
struct Interrupted {
    ca: Arc<FakeCa>,
    act: Arc<Mutex<Option<Act>>>,
}

impl Transport for Interrupted {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let act = request.url.ends_with("/new-order").then(|| self.act.lock().unwrap().take()).flatten();
        act.into_iter().for_each(|act| act());
        self.ca.send(request)
    }
}

#[test]
fn a_key_waits_while_another_renewal_of_this_child_is_at_work_with_the_present_one() {
    let hosted = Hosted::new();
    let (old, next, act) = (hosted.key().unwrap(), ec(), Arc::new(Mutex::new(None)));
    let interrupted = Arc::new(Interrupted { ca: hosted.host.ca.clone(), act: act.clone() });
    let context = hosted.host.context_by(&hosted.mds, hosted.host.work(), move || Ok(interrupted.clone()));
    let context = Arc::new(context);
    let (store, key, other) = (hosted.host.path.clone(), next.clone(), context.clone());
    *act.lock().unwrap() = Some(Box::new(move || {
        keys::leave(&StartStore::open_existing(&store).unwrap(), FOLDER, &key).unwrap();
        check::run(&other, 1);
    }) as Act);
    check::run(&context, 0);
    ["a.test", "b.test"].iter().for_each(|name| hosted.assert_renewed(name));
    assert!(hosted.takes(&old) && hosted.changes() == 0);
    check::run(&context, 2);
    hosted.assert_renewed("c.test");
    assert!(hosted.takes(&next) && hosted.changes() == 1);
    hosted.forgive();
}

#[test]
fn of_renewals_side_by_side_one_changes_the_key_and_none_fails() {
    for _ in 0..5 {
        let (hosted, old, next) = waiting();
        let context = hosted.host.context(&hosted.mds);
        std::thread::scope(|scope| {
            for index in 0..hosted.mds.len() {
                let (context, clock) = (&context, &hosted.host.clock);
                scope.spawn(move || {
                    for _ in 0..50 {
                        match check::run(context, index) {
                            Next::Never => return,
                            Next::At(at) => clock.advance(at.since(mod_md::time::Clock::now(&**clock))),
                        }
                    }
                    panic!("{index} does not end");
                });
            }
        });
        ["a.test", "b.test", "c.test", "d.test"].iter().for_each(|name| hosted.assert_renewed(name));
        assert_eq!(hosted.changes(), 1);
        assert!(hosted.takes(&next) && !hosted.takes(&old));
        hosted.forgive();
    }
}

#[test]
fn while_an_a2md_changes_the_keys_a_renewal_leaves_them_alone() {
    let (hosted, old, next) = waiting();
    let context = hosted.host.context(&hosted.mds);
    let held = keys::lock(&hosted.host.store, FOLDER).unwrap();
    check::run(&context, 0);
    hosted.assert_renewed("a.test");
    assert!(hosted.takes(&old) && hosted.changes() == 0);
    drop(held);
    check::run(&context, 1);
    hosted.assert_renewed("b.test");
    assert!(hosted.takes(&next) && hosted.changes() == 1);
    hosted.forgive();
}

#[test]
fn a_key_that_was_taken_back_is_not_used() {
    let (hosted, old, next) = waiting();
    keys::take_back(&hosted.host.store, FOLDER).unwrap();
    check::run(&hosted.host.context(&hosted.mds), 0);
    hosted.assert_renewed("a.test");
    assert!(hosted.takes(&old) && !hosted.takes(&next) && hosted.changes() == 0);
    hosted.forgive();
}

#[test]
fn contacts_that_change_after_a_rollover_are_in_the_store_after_the_next_start() {
    let (mut hosted, old, next) = waiting();
    check::run(&hosted.host.context(&hosted.mds), 0);
    hosted.start();
    assert!(hosted.key().unwrap().is_same(&next));
    // A copy with the former key stays in staging, beside what children do from now on.
    let worker = hosted.host.work();
    let copies = Staging::new(&worker, "a.test");
    let (json, _) = copies.account(0).unwrap();
    copies.save_account_key(0, &old).unwrap();
    copies.save_account(0, &json.unwrap(), &old).unwrap();
    let contacts = vec!["mailto:new@a.test".to_string()];
    hosted.mds.iter_mut().for_each(|md| md.md.contacts.clone_from(&contacts));
    check::run(&hosted.host.context(&hosted.mds), 1);
    hosted.assert_renewed("b.test");
    hosted.start();
    let stored = hosted.host.store.read_json(Group::Accounts, FOLDER, "account.json").unwrap().unwrap();
    assert_eq!(stored["contact"], json!(contacts));
    assert!(hosted.key().unwrap().is_same(&next));
    hosted.forgive();
}

/// Acts before the n-th request arrives, and then before each fifth, until nothing is left to do.
struct Overtaken {
    ca: Arc<FakeCa>,
    left: AtomicUsize,
    acts: Mutex<Vec<Act>>,
}

impl Transport for Overtaken {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.left.store(5, Ordering::SeqCst);
            let act = self.acts.lock().unwrap().pop();
            act.into_iter().for_each(|act| act());
        }
        self.ca.send(request)
    }
}

/// Whether an attempt is over before the n-th request, where keys are changed so often from there on.
fn is_through_before(request: usize, times: usize) -> bool {
    let hosted = Arc::new(Hosted::new());
    let keys: Vec<_> = (0..times).map(|_| ec()).collect();
    let change = |key: &PrivateKey| {
        let (other, key) = (hosted.clone(), key.clone());
        Box::new(move || {
            let opened = other.open(&other.host.store).unwrap();
            keys::roll_over(&other.host.store, FOLDER, &opened, &key).unwrap();
        }) as Act
    };
    // The last one comes first.
    let acts = Mutex::new(keys.iter().map(change).collect());
    let overtaken = Arc::new(Overtaken { ca: hosted.host.ca.clone(), left: AtomicUsize::new(request), acts });
    let (transport, old) = (overtaken.clone(), hosted.key().unwrap());
    let context = hosted.host.context_by(&hosted.mds, hosted.host.work(), move || Ok(transport.clone()));
    check::run(&context, 0);
    let left = overtaken.acts.lock().unwrap().len();
    hosted.assert_renewed("a.test");
    let last = keys.get(left).unwrap_or(&old);
    assert!(hosted.takes(last), "{times} changes from request {request} on, {left} left");
    assert_eq!(hosted.host.ca.order_count(), 1, "{times} changes from request {request} on");
    hosted.forgive();
    overtaken.acts.lock().unwrap().clear();
    left == times
}

#[test]
fn a_key_that_is_changed_at_any_request_of_an_attempt_is_read_again_and_its_order_goes_on() {
    for times in [1, 3] {
        let requests = (1..).find(|request| is_through_before(*request, times)).unwrap();
        assert!(requests > 6, "{requests}");
    }
}

#[test]
fn an_order_that_the_ca_has_no_more_is_replaced_while_a_key_waits() {
    let (hosted, old, _) = waiting();
    let context = hosted.host.context(&hosted.mds);
    let held = keys::lock(&hosted.host.store, FOLDER).unwrap();
    hosted.host.ca.rules(|rules| rules.validation_time = HOUR);
    check::run(&context, 0);
    hosted.host.ca.rules(|rules| rules.validation_time = Duration::ZERO);
    let document = problem("malformed", "no such order");
    hosted.host.ca.fault(Endpoint::Order, Fault::Problem { status: 404, document, retry_after: None });
    hosted.host.clock.advance(HOUR);
    check::run(&context, 0);
    hosted.assert_renewed("a.test");
    assert!(hosted.takes(&old) && hosted.changes() == 0 && hosted.host.ca.order_count() == 2);
    drop(held);
    hosted.forgive();
}

#[test]
fn an_unusual_refusal_of_one_key_leaves_the_other_to_be_tried() {
    let (hosted, _, next) = waiting();
    hosted.open(&hosted.host.store).unwrap().session.change_key(&next).unwrap();
    let document = problem("serverInternal", "the signature could not be checked");
    hosted.host.ca.fault(Endpoint::Account, Fault::Problem { status: 500, document, retry_after: None });
    check::run(&hosted.host.context(&hosted.mds), 0);
    hosted.assert_renewed("a.test");
    // Of an account with one key it ends the attempt, and no other account is registered.
    let hosted = Hosted::new();
    let document = problem("serverInternal", "not now");
    hosted.host.ca.fault(Endpoint::Account, Fault::Problem { status: 500, document, retry_after: None });
    check::run(&hosted.host.context(&hosted.mds), 0);
    assert_eq!(hosted.host.job("a.test").unwrap().errors, 1);
    assert_eq!(hosted.host.ca.account_count(), 1);
    hosted.forgive();
}

#[test]
fn a_change_that_nobody_knows_the_outcome_of_ends_the_attempt_and_the_next_one_asks() {
    let (hosted, old, next) = waiting();
    hosted.host.ca.fault(Endpoint::KeyChange, Fault::Lost(http::Error::Timeout));
    hosted.host.ca.fault(Endpoint::Account, Fault::Alter(|_| ()));
    for _ in 0..2 {
        hosted.host.ca.fault(Endpoint::Account, Fault::Unreached(http::Error::Timeout));
    }
    let context = hosted.host.context(&hosted.mds);
    check::run(&context, 0);
    assert_eq!(hosted.host.job("a.test").unwrap().errors, 1);
    assert_eq!(hosted.host.ca.count(Endpoint::NewOrder), 0, "nothing is signed by a key that may be refused");
    hosted.host.clock.advance(HOUR);
    check::run(&context, 0);
    assert!(hosted.host.job("a.test").unwrap().finished);
    assert!(hosted.takes(&next) && !hosted.takes(&old));
    assert_eq!((hosted.changes(), hosted.host.ca.account_count()), (1, 1));
    hosted.forgive();
}

#[test]
fn one_session_serves_all_renewals_while_a_key_waits() {
    let hosted = Hosted::new();
    let context = hosted.host.context(&hosted.mds);
    hosted.host.ca.rules(|rules| rules.validation_time = HOUR);
    check::run(&context, 1);
    hosted.host.ca.rules(|rules| rules.validation_time = Duration::ZERO);
    let next = ec();
    keys::leave(&hosted.host.store, FOLDER, &next).unwrap();
    let asked = |index: usize| {
        let before = hosted.host.ca.count(Endpoint::Account);
        check::run(&context, index);
        hosted.host.ca.count(Endpoint::Account) - before
    };
    assert_eq!(asked(0), 1, "the keys have changed on disk");
    assert_eq!((asked(2), asked(3)), (0, 0));
    ["a.test", "c.test", "d.test"].iter().for_each(|name| hosted.assert_renewed(name));
    assert_eq!(hosted.changes(), 0);
    hosted.forgive();
}

/// The keys of the account that `rollover` has named: in its place, and the one that waits.
fn keys_of(path: &Path, folder: &str) -> (PrivateKey, Option<PrivateKey>) {
    let store = StartStore::open_existing(path).unwrap();
    let read = |file| store.read_key(Group::Accounts, folder, file).unwrap();
    (read(ACCOUNT_KEY).unwrap(), read(NEXT_ACCOUNT_KEY))
}

/// `key`, `next-key` and `next-key-taken` of the only account.
#[track_caller]
fn listed(path: &Path, pebble: &Pebble) -> [Value; 3] {
    let listed = document(path, pebble, &["list"]);
    let accounts = listed["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{listed}");
    ["key", "next-key", "next-key-taken"].map(|key| accounts[0][key].clone())
}

#[track_caller]
fn order_for(httpd: &mut Httpd, name: &str) {
    httpd.rewrite(|config| config.line(&format!("MDomain {name}")).site(name, &[]));
    httpd.graceful();
    httpd.wait_staged(name);
}

#[test]
fn a_key_is_left_taken_back_and_changed_by_renewals_at_a_real_ca() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = site(&lab, &pebble, Account::Own).line("MDAccountKey P-384").start();
    httpd.wait_staged("a.test");
    let path = httpd.config.store();
    let left = document(&path, &pebble, &["rollover", "127.0.0.1", "--at-renewal", "--type", "P-256"]);
    assert_eq!((&left["key"], &left["next-key"]), (&json!("P-384"), &json!("P-256")), "{left}");
    let folder = left["id"].as_str().unwrap().to_string();
    assert_eq!(listed(&path, &pebble), [json!("P-384"), json!("P-256"), json!(false)]);
    let text = call(&path, &pebble, &["list"]).out;
    assert!(text.contains("P-384, then P-256") && text.contains(&format!("{folder} --cancel")), "{text}");
    assert!(text.contains("MDAccountKey") && text.contains("--type P-384"), "{text}");

    // It is taken back, and there is nothing more to take back.
    document(&path, &pebble, &["rollover", &folder, "--cancel"]);
    assert_eq!(listed(&path, &pebble), [json!("P-384"), Value::Null, json!(false)]);
    let none = call(&path, &pebble, &["rollover", &folder, "--cancel"]);
    assert!(none.code == 1 && none.err.contains("no other key waits"), "{}", none.err);

    // The last one left counts.
    for kind in ["P-521", "P-256"] {
        document(&path, &pebble, &["rollover", &folder, "--at-renewal", "--type", kind]);
    }
    let (old, next) = keys_of(&path, &folder);
    let next = next.unwrap();
    order_for(&mut httpd, "b.test");
    let url = left["url"].as_str().unwrap();
    assert!(order_at(&pebble, url, &old).unwrap_err().problem().is_some(), "the CA refuses the old key");
    order_at(&pebble, url, &next).unwrap();
    assert_eq!(listed(&path, &pebble), [json!("P-384"), json!("P-256"), json!(true)]);
    let text = call(&path, &pebble, &["list"]).out;
    assert!(text.contains("A renewal has given") && !text.contains("--cancel"), "{text}");
    assert_eq!(document(&path, &pebble, &["show", &folder])["key"], json!("P-256"));

    // A start puts it in its place.
    httpd.graceful();
    let (stored, waiting) = keys_of(&path, &folder);
    assert!(stored.is_same(&next) && waiting.is_none());

    // One that the CA has taken is not taken back, but put in its place.
    document(&path, &pebble, &["rollover", &folder, "--at-renewal", "--type", "P-384"]);
    order_for(&mut httpd, "c.test");
    let late = call(&path, &pebble, &["rollover", &folder, "--cancel"]);
    assert!(late.code == 1 && late.err.contains("(P-384) already"), "{}", late.err);
    assert_eq!(listed(&path, &pebble), [json!("P-384"), Value::Null, json!(false)]);

    // At once, with the key that waits.
    document(&path, &pebble, &["rollover", &folder, "--at-renewal", "--type", "P-256"]);
    let next = keys_of(&path, &folder).1.unwrap();
    assert_eq!(document(&path, &pebble, &["rollover", &folder])["key"], json!("P-256"));
    let (stored, waiting) = keys_of(&path, &folder);
    assert!(stored.is_same(&next) && waiting.is_none());
    order_for(&mut httpd, "d.test");
    assert_eq!(pebble.account_count(), 1);
    for name in ["b.test", "c.test", "d.test"] {
        assert_eq!(httpd.md(name)["renewal"]["errors"].as_u64().unwrap_or_default(), 0, "{name}");
    }
}

#[test]
fn a_child_that_is_killed_while_a_real_ca_changes_the_key_costs_no_account() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = site(&lab, &pebble, Account::Own).line("MDRetryDelay 1s").start();
    httpd.wait_staged("a.test");
    let path = httpd.config.store();
    let left = document(&path, &pebble, &["rollover", "127.0.0.1", "--at-renewal", "--type", "P-256"]);
    let (folder, url) = (left["id"].as_str().unwrap(), left["url"].as_str().unwrap());
    let (old, next) = keys_of(&path, folder);
    httpd.rewrite(|config| config.line("MDomain b.test").site("b.test", &[]));
    httpd.graceful();
    wait_for("the request to change the key", SOON, || {
        pebble.log().contains("rollover-account-key").then_some(())
    });
    pebble.hold();
    let child = httpd.watchdog();
    signal(child, "KILL");
    wait_for("the end of the killed child", SOON, || (!is_alive(child)).then_some(()));
    pebble.go_on();
    httpd.wait_staged("b.test");
    assert!(order_at(&pebble, url, &old).is_err());
    order_at(&pebble, url, &next.unwrap()).unwrap();
    httpd.graceful();
    assert_eq!(listed(&path, &pebble), [json!("P-256"), Value::Null, json!(false)]);
    order_for(&mut httpd, "c.test");
    assert_eq!(pebble.account_count(), 1);
}

#[test]
fn after_a_rollover_to_rsa_the_c_module_renews_with_the_same_account() {
    let Some(lab) = open_lab!(Need::BothModules) else { return };
    let pebble = Pebble::start(&lab);
    let mut httpd = site(&lab, &pebble, Account::Own).line("MDAccountKey P-256").start();
    httpd.wait_staged_and_activate(&["a.test"]);
    let path = httpd.config.store();
    let rolled = document(&path, &pebble, &["rollover", "127.0.0.1", "--type", "RSA"]);
    assert_eq!(rolled["key"], json!("RSA-3072"), "{rolled}");
    let config = httpd.stop().without_line("MDAccountKey").module(&c_module().unwrap());
    let httpd = config.line("MDomain b.test").site("b.test", &[]).start();
    httpd.wait_staged("b.test");
    assert_eq!(pebble.account_count(), 1);
}
