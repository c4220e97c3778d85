// SPDX-License-Identifier: Apache-2.0
//! Orders that outlive attempts, children and restarts, with CAs that are slow, sloppy or strange: the real
//! renewal and store, and a CA in memory that looks for the answers to its challenges where httpd serves
//! them from. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::Host;
use doubles::fake_ca::{Answer, Endpoint, Fault, problem};
use mod_md::crypto::CertInfo;
use mod_md::http;
use mod_md::managed::Managed;
use mod_md::managed::live_set::{LiveSet, Workers};
use mod_md::managed::save_error::SaveError;
use mod_md::managed::saved_order::{Phase, SavedOrder};
use mod_md::managed::slot::Slot;
use mod_md::managed::staging;
use mod_md::managed::staging::Staging;
use mod_md::model::ledger::Ledger;
use mod_md::model::{Job, KeySpec};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::renew::worker::pool::Driver;
use mod_md::startup::cleanup;
use mod_md::store::{Fuse, Group, StartStore, WorkGroup};
use mod_md::time::{Clock, DAY, Timestamp};
use serde_json::json;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

const NAME: &str = "a.test";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn key() -> KeySpec {
    KeySpec::Ec("P-256".into())
}

struct Lab(Host);

impl Deref for Lab {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.0
    }
}

impl Lab {
    fn new() -> Self {
        let host = Host::new().validates();
        host.leave_account_key(NAME, &key());
        Lab(host)
    }

    /// This machine's clock is ahead of the CA's.
    fn ahead(by: Duration) -> Self {
        let mut lab = Lab::new();
        lab.go_ahead(by);
        lab
    }

    fn md(&self, name: &str) -> Managed {
        self.managed(&[name], &[key()])
    }

    /// Of a new child.
    fn context(&self, names: &[&str]) -> Context {
        self.context_of(&names.iter().map(|name| self.md(name)).collect::<Vec<_>>())
    }

    fn context_of(&self, mds: &[Managed]) -> Context {
        self.0.context(mds)
    }

    fn job(&self) -> Job {
        self.0.job(NAME).unwrap()
    }

    /// One look of a new child, and the time until the next.
    fn look(&self) -> Next {
        let next = check::run(&self.context(&[NAME]), 0);
        if let Next::At(at) = next {
            self.clock.advance(at.since(self.clock.now()));
        }
        next
    }

    /// Looks until the set is complete. How many it took.
    #[track_caller]
    fn finish(&self) -> usize {
        let looks = (1..200).find(|_| self.look() == Next::Never);
        assert!(self.job().finished, "{:?}", self.job());
        assert!(!self.has_answer(), "answers are taken away in the end");
        looks.unwrap()
    }

    fn restart(&self) {
        cleanup::start_over(&self.store, NAME, self.clock.now()).unwrap();
        cleanup::purge_challenges(&self.store, std::iter::once((&self.md(NAME).md, None))).unwrap();
    }

    fn has_answer(&self) -> bool {
        !self.store.files(Group::Challenges, NAME).unwrap().is_empty()
    }

    fn order(&self) -> Option<SavedOrder> {
        Staging::new(&self.work(), NAME).order().unwrap()
    }

    fn orders(&self) -> usize {
        self.ca.count(Endpoint::NewOrder)
    }

    fn fault(&self, endpoint: Endpoint, status: u16, kind: &str, retry_after: Option<&'static str>) {
        let document = problem(kind, "in the words of the CA");
        self.ca.fault(endpoint, Fault::Problem { status, document, retry_after });
    }
}

#[test]
fn a_ca_that_is_done_at_once_is_asked_at_once_whatever_its_retry_after() {
    // pebble and most CAs on a machine of one's own: a second, and a few milliseconds' work.
    let lab = Lab::new();
    let moment = Duration::from_millis(50);
    lab.ca.rules(|rules| {
        (rules.retry_after, rules.shows_pending) = (Some("1".into()), true);
        (rules.validation_time, rules.issuance_time) = (moment, moment);
    });
    let begin = lab.clock.now();
    assert_eq!(lab.look(), Next::Never, "{:?}", lab.job());
    assert!(lab.clock.now().since(begin) < Duration::from_millis(500), "{:?}", lab.clock.now().since(begin));
    assert_eq!((lab.ca.count(Endpoint::Order), lab.orders()), (1, 1));
}

#[test]
fn a_retry_after_of_a_day_is_advice_where_a_ca_validates_in_seconds() {
    // ZeroSSL.
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        (rules.retry_after, rules.validation_time) = (Some("86400".into()), Duration::from_secs(5));
    });
    let begin = lab.clock.now();
    assert_eq!(lab.look(), Next::Never, "{:?}", lab.job());
    assert!(lab.clock.now().since(begin) < Duration::from_secs(30));
    assert_eq!((lab.job().errors, lab.orders(), lab.has_answer()), (0, 1, false));
}

#[test]
fn a_retry_after_of_ten_minutes_is_advice_while_a_ca_issues() {
    // acme2certifier.
    let lab = Lab::new();
    lab.ca.rules(|rules| (rules.retry_after, rules.issuance_time) = (Some("600".into()), MINUTE));
    let begin = lab.clock.now();
    lab.look();
    let job = lab.job();
    assert_eq!(job.waiting.unwrap().what, "issuing the certificate");
    assert_eq!((job.errors, job.last.status), (0, 0));
    assert!(!lab.has_answer(), "all names are validated");
    lab.finish();
    assert!(lab.clock.now().since(begin) < MINUTE * 3);
    assert_eq!((lab.orders(), lab.ca.count(Endpoint::Finalize)), (1, 1));
}

#[test]
fn a_validation_of_an_hour_outlives_children_and_restarts_without_error() {
    for retry_after in [None, Some("86400"), Some("30")] {
        let lab = Lab::new();
        lab.ca.rules(|rules| {
            (rules.validation_time, rules.conflicts, rules.shows_pending) = (HOUR, true, true);
            rules.retry_after = retry_after.map(String::from);
        });
        let begin = lab.clock.now();
        while lab.clock.now().since(begin) < HOUR {
            let (looked, next) = (lab.clock.now(), lab.look());
            let job = lab.job();
            let waiting = job.waiting.unwrap();
            assert_eq!((waiting.what.as_str(), waiting.since), ("validating a.test", begin));
            assert_eq!((job.errors, job.last.status, job.last.problem), (0, 0, None));
            assert_eq!(job.next_run.map(Next::At), Some(next), "it is shown when the CA is asked again");
            let detail = job.last.detail.unwrap();
            assert!(
                detail.contains("validating a.test since") && detail.contains("asked again at"),
                "{detail}"
            );
            assert!(lab.clock.now().since(looked) <= MINUTE * 10);
            assert!(lab.has_answer(), "the CA may come for it");
            lab.restart();
        }
        lab.finish();
        let job = lab.job();
        assert_eq!((job.errors, job.waiting), (0, None));
        let starts = job.log.iter().filter(|entry| entry.kind == "starting").count();
        assert_eq!(starts, 1, "it is one renewal, and its log stays short");
        assert_eq!((lab.orders(), lab.ca.count(Endpoint::Challenge)), (1, 1));
        assert!(lab.ca.count(Endpoint::Authorization) < 70, "{}", lab.ca.count(Endpoint::Authorization));
    }
}

#[test]
fn answers_and_order_outlive_a_failed_poll_and_a_restart() {
    for fault in ["gone", "500", "429"] {
        let lab = Lab::new();
        lab.ca.rules(|rules| (rules.validation_time, rules.conflicts) = (MINUTE * 20, true));
        lab.look();
        match fault {
            "gone" => lab.ca.fault(Endpoint::Authorization, Fault::Unreached(http::Error::Timeout)),
            "500" => lab.fault(Endpoint::Authorization, 500, "serverInternal", None),
            _ => lab.fault(Endpoint::Authorization, 429, "rateLimited", Some("300")),
        }
        lab.look();
        assert_eq!((lab.job().errors, lab.job().waiting), (1, None), "{fault}");
        assert!(lab.has_answer(), "{fault}");
        lab.restart();
        assert_eq!(lab.job().errors, 0, "{fault}");
        assert!(lab.has_answer() && lab.order().is_some(), "{fault}");
        lab.finish();
        assert_eq!((lab.orders(), lab.ca.count(Endpoint::Challenge)), (1, 1), "{fault}");
    }
}

#[test]
fn an_answer_that_was_lost_meanwhile_is_given_again() {
    let lab = Lab::new();
    lab.ca.rules(|rules| (rules.validation_time, rules.conflicts) = (MINUTE * 5, true));
    lab.look();
    std::fs::remove_dir_all(lab.path.join("challenges/a.test")).unwrap();
    lab.look();
    assert!(lab.has_answer());
    lab.finish();
    assert_eq!((lab.orders(), lab.job().errors), (1, 0));
}

#[test]
fn a_validation_failing_between_looks_is_told_in_the_words_of_the_ca() {
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        rules.validation_time = MINUTE * 2;
        rules.validate = Arc::new(|_| Err(problem("connection", "timeout during connect")));
    });
    while lab.job_errors() == 0 {
        lab.look();
    }
    let job = lab.job();
    assert_eq!((job.errors, lab.orders(), lab.has_answer()), (1, 1, false));
    assert!(job.last.detail.unwrap().contains("timeout during connect"));
    assert_eq!(job.retry_state.failed_validations.len(), 1);
}

impl Lab {
    fn job_errors(&self) -> u32 {
        Staging::new(&self.work(), NAME).job().unwrap().map_or(0, |job| job.errors)
    }
}

#[test]
fn an_order_that_became_invalid_while_nobody_looked_tells_why() {
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        rules.validation_time = MINUTE * 2;
        rules.validate = Arc::new(|_| Err(problem("dns", "no such host")));
    });
    lab.look();
    lab.clock.advance(HOUR);
    // The CA looks by itself: the next that asks for the order finds it invalid.
    let order = lab.order().unwrap();
    let authorization = order.started()[0].clone();
    lab.ca.look_at(&authorization);
    lab.look();
    let job = lab.job();
    assert_eq!((job.errors, lab.orders()), (1, 1));
    assert!(job.last.detail.unwrap().contains("no such host"));
}

#[test]
fn a_challenge_that_is_started_twice_is_under_way() {
    for status in [409, 400] {
        let lab = Lab::new();
        lab.ca.rules(|rules| {
            (rules.validation_time, rules.conflicts) = (MINUTE, true);
            rules.shows_pending = status == 409;
        });
        lab.look();
        // The child was killed before it could note that the challenge was started.
        let order = SavedOrder { phase: Phase::Placed, ..lab.order().unwrap() };
        Staging::new(&lab.work(), NAME).save_order(&order).unwrap();
        if status == 400 {
            lab.fault(Endpoint::Challenge, 400, "malformed", None);
        }
        lab.finish();
        assert_eq!((lab.orders(), lab.job().errors), (1, 0), "{status}");
    }
}

#[test]
fn an_order_not_ready_after_validation_is_waited_for_whatever_the_error() {
    for not_ready in [(403, "orderNotReady"), (400, "malformed"), (403, "unauthorized"), (409, "conflict")] {
        for ready_polls in [1, 3, 30] {
            let lab = Lab::new();
            lab.ca.rules(|rules| (rules.not_ready, rules.ready_polls) = (not_ready, ready_polls));
            lab.finish();
            assert_eq!((lab.orders(), lab.job().errors), (1, 0), "{not_ready:?} {ready_polls}");
            assert_eq!(lab.ca.count(Endpoint::Finalize), 2, "{not_ready:?} {ready_polls}");
        }
    }
}

#[test]
fn an_order_unchanged_by_finalize_is_finalized_again_ever_less_often() {
    for status in ["ready", "pending"] {
        let lab = Lab::new();
        lab.ca.fault(Endpoint::Finalize, Fault::Unreached(http::Error::Timeout));
        lab.look();
        let url = |endpoint| lab.ca.seen().into_iter().find(|seen| seen.endpoint == endpoint).unwrap().url;
        let object = json!({
            "status": status, "identifiers": [{"type": "dns", "value": NAME}],
            "authorizations": [url(Endpoint::Authorization)], "finalize": url(Endpoint::Finalize),
        });
        for _ in 0..300 {
            lab.ca.fault(Endpoint::Finalize, Fault::Raw(Answer::json(200, &object)));
        }
        let (begin, before) = (lab.clock.now(), lab.ca.count(Endpoint::Finalize));
        while lab.clock.now().since(begin) < HOUR {
            lab.look();
            assert_eq!(lab.job().waiting.unwrap().what, "issuing the certificate", "{status}");
        }
        let finalized = lab.ca.count(Endpoint::Finalize) - before;
        assert!((2..80).contains(&finalized), "{status}: finalized {finalized} times in an hour");
        assert_eq!(lab.orders(), 1, "{status}");
    }
}

#[test]
fn a_key_damaged_while_the_ca_issues_costs_one_certificate() {
    let lab = Lab::new();
    lab.ca.rules(|rules| rules.issuance_time = MINUTE * 2);
    lab.look();
    assert!(lab.order().unwrap().is_validated());
    let key = lab.path.join("staging/a.test/privkey.p-256.pem");
    std::fs::write(key, "").unwrap();
    lab.clock.advance(HOUR);
    lab.look();
    let job = lab.job();
    let detail = job.last.detail.unwrap();
    assert!(detail.contains("privkey.p-256.pem is damaged"), "{detail}");
    assert_eq!((job.errors, lab.order()), (1, None));
    lab.finish();
    assert_eq!(lab.orders(), 2);
}

#[test]
fn an_order_past_its_end_is_dropped_and_not_taken_up() {
    // By the date it came with, by the word of the CA about the order, and about its authorization.
    for case in ["date", "order", "authorization"] {
        let lab = Lab::new();
        lab.ca.rules(|rules| rules.expires = (case == "date").then_some(HOUR));
        lab.fault(Endpoint::Authorization, 500, "serverInternal", None);
        lab.look();
        assert_eq!((lab.job_errors(), lab.orders()), (1, 1));
        lab.clock.advance(HOUR * 2);
        let gone = || Fault::Problem {
            status: 404,
            document: problem("malformed", "Expired authorization"),
            retry_after: None,
        };
        match case {
            "order" => lab.ca.fault(Endpoint::Order, gone()),
            "authorization" => lab.ca.fault(Endpoint::Authorization, gone()),
            _ => {}
        }
        assert_eq!(lab.look(), Next::Never, "{case}: {:?}", lab.job().last);
        assert_eq!(lab.orders(), 2, "{case}");
        if case == "date" {
            assert_eq!(lab.ca.count(Endpoint::Order), 1, "the one that has expired is not asked for");
        }
    }
}

/// Whoever writes in staging can write anything there, and a CA can forget what it likes.
#[test]
fn an_order_of_another_renewal_is_dropped_and_a_new_one_placed() {
    const OTHER: &str = "b.test";
    let begun = |now: Timestamp| Phase::Validating { since: now.plus(DAY * 300), started: Vec::new() };
    for (case, is_begun, errors) in [
        ("foreign", false, 0),
        ("foreign", true, 1),
        ("garbage", false, 0),
        ("garbage", true, 1),
        ("directory", false, 0),
        ("pending of another", false, 0),
        ("pending of another", true, 0),
        ("ready of another", false, 0),
        ("ready of another", true, 0),
        ("valid of another", false, 0),
        ("valid of another", true, 0),
        ("former account", false, 0),
    ] {
        let lab = Lab::new();
        let work = lab.work();
        let mine = Staging::new(&work, NAME);
        lab.fault(Endpoint::Authorization, 500, "serverInternal", None);
        lab.look();
        assert_eq!((lab.job_errors(), lab.orders()), (1, 1));
        let own = lab.order().unwrap();
        // One of another MD, of the same account.
        let failing = if case == "ready of another" { Endpoint::Finalize } else { Endpoint::Authorization };
        lab.fault(failing, 500, "serverInternal", None);
        check::run(&lab.context(&[NAME, OTHER]), 1);
        let others = Staging::new(&work, OTHER).order().unwrap().unwrap();
        let url = match case {
            "foreign" => "https://elsewhere.test/order/1".to_string(),
            "garbage" => "x y".to_string(),
            "directory" => lab.ca.directory_url(),
            "former account" => own.url.clone(),
            _ => others.url.clone(),
        };
        if case == "valid of another" {
            lab.clock.advance(HOUR);
            while check::run(&lab.context(&[NAME, OTHER]), 1) != Next::Never {
                lab.clock.advance(HOUR);
            }
        }
        if case == "former account" {
            for (json, key) in staging::file::ACCOUNTS {
                [json, key]
                    .into_iter()
                    .for_each(|file| lab.work().remove(WorkGroup::Staging, NAME, file).unwrap());
            }
        }
        let phase = if is_begun { begun(lab.clock.now()) } else { Phase::Placed };
        mine.save_order(&SavedOrder { url, phase, ..own }).unwrap();
        let before = lab.ca.count(Endpoint::NewOrder);
        let mut more = 0;
        while lab.look() != Next::Never {
            more += 1;
            assert!(more <= errors, "{case}, begun: {is_begun}: {:?}", lab.job().last);
        }
        assert_eq!(more, errors, "{case}, begun: {is_begun}");
        assert_eq!(lab.ca.count(Endpoint::NewOrder) - before, 1, "{case}, begun: {is_begun}");
    }
}

#[test]
fn trouble_and_limits_of_the_ca_while_an_order_is_taken_up_do_not_cost_it() {
    for (status, kind) in
        [(500, "serverInternal"), (502, "about:blank"), (503, "serverInternal"), (429, "rateLimited")]
    {
        let lab = Lab::new();
        lab.fault(Endpoint::Authorization, 500, "serverInternal", None);
        lab.look();
        lab.fault(Endpoint::Order, status, kind, Some("120"));
        let begin = lab.clock.now();
        lab.look();
        assert_eq!((lab.job_errors(), lab.orders()), (2, 1), "{status}");
        if status == 429 || status == 503 {
            assert!(lab.clock.now().since(begin) >= MINUTE * 2, "{status}");
        }
        lab.finish();
        assert_eq!(lab.orders(), 1, "{status}");
    }
}

#[test]
fn a_ca_that_looks_once_and_tells_why_not_is_asked_to_look_again() {
    // step-ca.
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        rules.looks_once = Some("pending");
        rules.validate = Arc::new(|_| Err(problem("connection", "connection refused")));
    });
    let begin = lab.clock.now();
    lab.look();
    let job = lab.job();
    assert_eq!(job.errors, 1);
    let detail = job.last.detail.unwrap();
    assert!(detail.contains("a.test by http-01: connection refused"), "{detail}");
    assert!(lab.clock.now().since(begin) < MINUTE * 2);
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.finish();
    assert_eq!((lab.orders(), lab.ca.count(Endpoint::Challenge)), (1, 2));
}

#[test]
fn a_ca_that_looks_too_early_and_refuses_the_start_is_asked_again() {
    // serles.
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        (rules.validation_polls, rules.looks_once) = (0, Some("processing"));
        rules.refuses_in_vain = true;
        rules.validate = Arc::new(|_| Err(problem("connection", "connection refused")));
    });
    let begin = lab.clock.now();
    lab.look();
    let job = lab.job();
    assert_eq!((job.errors, job.retry_state.failed_validations.len()), (1, 1));
    let detail = job.last.detail.unwrap();
    assert!(detail.contains("a.test by http-01: connection refused"), "{detail}");
    assert!(lab.clock.now().since(begin) < MINUTE);
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.finish();
    assert_eq!((lab.orders(), lab.ca.count(Endpoint::Challenge)), (1, 2));
}

#[test]
fn a_ca_that_finds_no_answer_and_keeps_pending_is_asked_by_the_next_try() {
    let lab = Lab::new();
    lab.ca.rules(|rules| {
        rules.looks_once = Some("processing");
        rules.validate = Arc::new(|_| Err(problem("connection", "connection refused")));
    });
    let begin = lab.clock.now();
    let first_error = (1..50).find(|_| {
        lab.look();
        lab.job().errors == 1
    });
    // It may look again by itself, so it is given its time (RFC 8555 §8.2).
    let waited = lab.clock.now().since(begin);
    assert!(first_error.is_some() && waited > MINUTE * 5 && waited < MINUTE * 15, "{waited:?}");
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    lab.finish();
    assert_eq!((lab.orders(), lab.ca.count(Endpoint::Challenge)), (1, 2));
}

/// All that is complete is served at once.
struct Serving(Vec<Slot>);

impl Workers for Serving {
    fn publish(&self, index: usize, set: LiveSet) {
        self.0[index].store(set);
    }

    fn have_staples(&self, _: usize, _: &[CertInfo]) -> bool {
        true
    }
}

/// How many certificates the CA issues in `span`, with live activation.
fn issued_in(lab: &Lab, span: Duration) -> usize {
    let md = lab.md(NAME);
    md.live.attach();
    let serving = Arc::new(Serving(vec![md.live.clone()]));
    let begin = lab.clock.now();
    while lab.clock.now().since(begin) < span {
        // Each time another child.
        let context =
            lab.context_of(std::slice::from_ref(&md)).with_live_activation(serving.clone(), Duration::ZERO);
        let Next::At(at) = check::run(&context, 0) else {
            panic!("it is not looked after any more: {:?}", lab.job())
        };
        assert_eq!(lab.job().errors, 0, "{:?}", lab.job());
        assert!(lab.ca.count(Endpoint::Certificate) < 100, "it does not end");
        lab.clock.advance(at.since(lab.clock.now()).max(Duration::from_millis(100)));
    }
    assert!(md.live.load().is_some());
    lab.ca.count(Endpoint::Certificate)
}

#[test]
fn advice_that_stays_in_the_past_does_not_cause_endless_renewals() {
    let lab = Lab::new();
    let past = |days: u32| lab.clock.now().minus(DAY * days).to_rfc3339();
    let info = json!({"suggestedWindow": {"start": past(3), "end": past(2)}});
    lab.ca.rules(|rules| rules.renewal_info = Some(info));
    let issued = issued_in(&lab, DAY * 5);
    assert!((5..=7).contains(&issued), "{issued} in five days");
    let held = lab.job().held_back.unwrap();
    assert!(held.reason.contains("ARI") && held.until > lab.clock.now().minus(DAY), "{held:?}");
    // The CA comes to its senses.
    let future = |days: u32| lab.clock.now().plus(DAY * days).to_rfc3339();
    let info = json!({"suggestedWindow": {"start": future(60), "end": future(61)}});
    lab.ca.rules(|rules| rules.renewal_info = Some(info));
    assert!(issued_in_addition(&lab, DAY * 5) <= 2);
    assert_eq!(lab.job().held_back, None);
}

fn issued_in_addition(lab: &Lab, span: Duration) -> usize {
    let before = lab.ca.count(Endpoint::Certificate);
    issued_in(lab, span) - before
}

#[test]
fn a_clock_months_ahead_does_not_cause_endless_renewals() {
    for days in [70, 85] {
        let lab = Lab::ahead(DAY * days);
        let issued = issued_in(&lab, DAY * 5);
        assert!((5..=7).contains(&issued), "{days} days ahead: {issued} in five days");
        let held = lab.job().held_back.unwrap();
        assert!(held.reason.contains("date and time"), "{held:?}");
    }
}

#[test]
fn certificates_of_two_minutes_are_renewed_all_the_same() {
    let lab = Lab::new();
    lab.ca.rules(|rules| rules.lifetime = MINUTE * 2);
    let issued = issued_in(&lab, MINUTE * 40);
    assert!((25..40).contains(&issued), "{issued} in forty minutes");
    assert_eq!(lab.job().held_back, None);
}

/// Wherever the next renewal is stopped as it begins: by a full disk, where the process goes on, or by its death.
#[test]
fn a_live_set_that_could_not_be_cleared_away_is_no_new_one() {
    // How many changes of the disk succeed, and if the process does not die, how many at its next look.
    let next = [None, Some(0), Some(7), Some(8)];
    for (steps, next) in (0..6).flat_map(|steps| next.map(|next| (steps, next))) {
        let mut lab = Lab::new();
        lab.settings.retry.delay = Duration::from_secs(1);
        lab.ca.rules(|rules| rules.lifetime = MINUTE * 2);
        let child = || {
            let counters = Arc::new((0..SaveError::SIZE).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
            Managed { save_error: SaveError::new(counters, 0), ..lab.md(NAME) }
        };
        let mut md = child();
        md.live.attach();
        let serving = Arc::new(Serving(vec![md.live.clone()]));
        let (fuse, ca) = (Fuse::after(usize::MAX), lab.ca.clone());
        let store = StartStore::open_with(&lab.path, None, fuse.clone()).unwrap().unsynced().worker();
        let look = |md: &Managed| {
            let ca = ca.clone();
            let context = lab.0.context_by(std::slice::from_ref(md), store.clone(), move || Ok(ca.clone()));
            check::run(&context.with_live_activation(serving.clone(), Duration::ZERO), 0)
        };
        let served =
            |md: &Managed| md.live.load().as_ref().map(|set| set.certs.all().next().unwrap().serial.clone());
        look(&md);
        let first = served(&md);
        assert!(first.is_some(), "{:?}", lab.job());
        lab.clock.advance(Duration::from_secs(90));
        let due = lab.clock.now();
        fuse.blow_after(steps);
        look(&md);
        match next {
            None => md = Managed { live: md.live.clone(), ..child() },
            Some(steps) => {
                lab.clock.advance(Duration::from_secs(2));
                fuse.blow_after(steps);
                look(&md);
            }
        }
        fuse.mend();
        while served(&md) == first && lab.clock.now().since(due) < Duration::from_secs(25) {
            lab.clock.advance(Duration::from_secs(1));
            look(&md);
        }
        assert_ne!(served(&md), first, "after {steps} steps, {next:?}: {:?}", lab.job().held_back);
    }
}

#[test]
fn what_was_issued_lately_counts_over_the_restarts_that_put_it_into_use() {
    let lab = Lab::new();
    let past = |days: u32| lab.clock.now().minus(DAY * days).to_rfc3339();
    let info = json!({"suggestedWindow": {"start": past(3), "end": past(2)}});
    lab.ca.rules(|rules| rules.renewal_info = Some(info));
    let mut certs = Vec::new();
    let begin = lab.clock.now();
    for _ in 0..40 {
        let mut md = lab.md(NAME);
        md.md.ca.url = md.md.ca.urls.first().cloned();
        md.certs.keyed[0].1 = certs.last().cloned();
        check::run(&lab.context_of(&[md]), 0);
        let staging = lab.work();
        if let Some(chain) = Staging::new(&staging, NAME).chain(&KeySpec::Ec("P-256".into())).unwrap() {
            certs.push(CertInfo::from_chain(&chain));
            staging::purge(&lab.store, NAME).unwrap();
        }
        cleanup::start_over(&lab.store, NAME, lab.clock.now()).unwrap();
        lab.clock.advance(HOUR * 3);
    }
    let days = lab.clock.now().since(begin).as_secs() / 86_400;
    assert!((3..=7).contains(&certs.len()), "{} in {days} days", certs.len());
}

#[test]
fn a_first_start_of_hundreds_keeps_to_the_orders_its_ca_accepts() {
    let lab = Lab(Host::with_ca("acme-v02.api.letsencrypt.org").validates());
    lab.leave_account_key(NAME, &key());
    let mds: Vec<Managed> =
        (0..20).map(|n| lab.md(&if n == 0 { NAME.into() } else { format!("n{n}.test") })).collect();
    let begin = lab.clock.now();
    // An earlier child has placed most of those that the CA takes at once; a part of them is left to others.
    let work = lab.work();
    for managed in mds.iter().take(9) {
        let mut ledger = Ledger::default();
        (0..29).for_each(|_| ledger.place(&lab.ca.directory_url(), begin));
        Staging::new(&work, &managed.md.name).save_ledger(&ledger).unwrap();
    }
    let context = lab.context_of(&mds);
    let waits: Vec<bool> = (0..mds.len())
        .map(|index| {
            matches!(check::run(&context, index), Next::At(at) if at > begin)
                && !is_finished(&lab, &mds[index])
        })
        .collect();
    let waiting = waits.iter().filter(|waits| **waits).count();
    let placed = lab.orders();
    // The clock goes on meanwhile.
    assert!((9..=10).contains(&placed) && waiting + placed == mds.len(), "{placed} placed, {waiting} wait");
    let job = |index: usize| Staging::new(&lab.work(), &mds[index].md.name).job().unwrap().unwrap();
    let first = waits.iter().position(|waits| *waits).unwrap();
    let (held, last) = (job(first).held_back.unwrap(), job(mds.len() - 1).held_back.unwrap());
    assert!(held.reason.contains("300 new orders of an account in 3h"), "{held:?}");
    assert!(held.until.since(begin) <= Duration::from_secs(37), "{held:?}");
    assert!(last.until.since(begin) > Duration::from_secs(320), "each has its turn: {last:?}");
    assert_eq!((job(first).errors, job(first).last.status), (0, 0));
    // The next child knows what this one has ordered.
    let context = lab.context_of(&mds);
    check::run(&context, first);
    assert_eq!(lab.orders(), placed);
    // And each renewal begins when its turn has come.
    for index in (first..mds.len()).filter(|index| waits[*index]) {
        while !is_finished(&lab, &mds[index]) {
            if let Next::At(at) = check::run(&context, index) {
                lab.clock.advance(at.since(lab.clock.now()).min(HOUR));
            }
            assert_eq!(job(index).errors, 0);
        }
        assert_eq!(job(index).held_back, None);
    }
    assert_eq!(lab.orders(), mds.len());
    assert!(lab.clock.now().since(begin) < HOUR);
}

fn is_finished(lab: &Lab, managed: &Managed) -> bool {
    let job = Staging::new(&lab.work(), &managed.md.name).job().unwrap();
    job.is_some_and(|job| job.finished)
}

#[test]
fn five_failed_validations_in_an_hour_pause_and_say_so_over_restarts() {
    let lab = Lab::new();
    lab.ca.rules(|rules| rules.validate = Arc::new(|_| Err(problem("connection", "timeout"))));
    let begin = lab.clock.now();
    for failures in 1..=5 {
        let looked = lab.clock.now();
        lab.look();
        let detail = lab.job().last.detail.unwrap();
        assert_eq!(detail.contains("Five validations failed within an hour"), failures == 5, "{detail}");
        assert!(failures == 5 || lab.clock.now().since(looked) < MINUTE * 30);
        lab.restart();
    }
    assert!(lab.clock.now().since(begin) >= HOUR);
}

#[test]
fn one_that_waits_for_its_ca_takes_no_place_of_others() {
    let mut lab = Lab::new();
    lab.settings.parallel = 1;
    lab.ca.rules(|rules| rules.validation_time = HOUR);
    let context = Arc::new(lab.context(&[NAME, "b.test"]));
    let mut driver = Driver::new(context, lab.clock.stop.clone());
    let begin = Instant::now();
    let is_waiting = |name: &str| {
        let job = Staging::new(&lab.work(), name).job().unwrap();
        job.is_some_and(|job| job.waiting.is_some())
    };
    while !(is_waiting(NAME) && is_waiting("b.test")) {
        driver.beat();
        assert!(begin.elapsed() < MINUTE, "the second one waits for the first");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lab.clock.now().since(Timestamp::from_unix(1_700_000_000)) < MINUTE * 10);
    driver.stop();
}
