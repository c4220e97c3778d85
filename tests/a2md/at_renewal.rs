// SPDX-License-Identifier: Apache-2.0
//! A key that waits for an account: a renewal has the CA take it and goes on with it, whatever dies or refuses, and
//! a start puts it in its place.

use super::account::{FOLDER, Hosted, ec};
use doubles::fake_ca::{Endpoint, FakeCa, Fault, problem};
use mod_md::cli::site::accounts::keys;
use mod_md::crypto::PrivateKey;
use mod_md::http::{self, Request, Response, Transport};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::startup::accounts::Accounts;
use mod_md::store::{Fuse, Group, StartStore};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
