// SPDX-License-Identifier: Apache-2.0
//! What operators ask of the renewing child: what it does about that, and what a CA's demands and other
//! processes make of it. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::Host;
use doubles::fake_ca::{Endpoint, Fault, problem};
use mod_md::crypto::CertInfo;
use mod_md::managed::Managed;
use mod_md::model::{Answer, KeySpec, Op, Renew, Request, RequestState};
use mod_md::renew::attempt::context::Context;
use mod_md::renew::worker::check;
use mod_md::renew::worker::next::Next;
use mod_md::renew::worker::requests::Requests;
use mod_md::store::{Flat, Holder};
use mod_md::time::Clock;
use std::fs;
use std::time::{Duration, Instant};

const NAME: &str = "a.test";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

struct Lab {
    host: Host,
    context: Context,
    requests: Requests,
}

impl Lab {
    /// Its certificate is not due.
    fn new() -> Lab {
        Lab::with(|managed, now| {
            managed.certs.keyed[0].1 = Some(CertInfo {
                dns_names: vec![NAME.into()],
                not_before: now.minus(DAY),
                not_after: now.plus(DAY * 89),
                ..CertInfo::default()
            });
        })
    }

    fn with(change: impl FnOnce(&mut Managed, mod_md::time::Timestamp)) -> Lab {
        let host = Host::new().validates();
        // Files are of the real time, and none of the future.
        host.clock.advance(mod_md::time::now().since(host.clock.now()) + MINUTE);
        let mut managed = host.managed(&[NAME], &[KeySpec::Ec("P-256".into())]);
        change(&mut managed, host.clock.now());
        let context = host.context(&[managed]);
        let requests = Requests::new(&context.targets);
        Lab { host, context, requests }
    }

    fn ask(&self, id: &str, op: Op) {
        let request = Request { id: id.into(), op, time: self.host.clock.now(), by: "root".into() };
        self.host.store.write_flat(Flat::Requests, NAME, &request.to_json()).unwrap();
    }

    fn renew(&self, id: &str) {
        self.ask(id, Op::Renew(Renew { force: true, ..Renew::default() }));
    }

    /// What a beat a second later does.
    fn beat(&mut self) -> Vec<usize> {
        self.host.clock.advance(Duration::from_secs(1));
        self.requests.look(&self.context, self.host.clock.now())
    }

    fn run(&self) -> Next {
        check::run(&self.context, 0)
    }

    fn answer(&self, id: &str) -> Option<Answer> {
        self.host.job(NAME)?.request?.answer_to(id)
    }

    #[track_caller]
    fn assert_answer(&self, id: &str, state: RequestState, about: &str) {
        let answer = self.answer(id).unwrap();
        let detail = answer.detail.unwrap_or_default();
        assert!(answer.state == state && detail.contains(about), "{:?}: {detail}", answer.state);
    }

    fn orders(&self) -> usize {
        self.host.ca.count(Endpoint::NewOrder)
    }
}

#[test]
fn what_is_not_due_is_renewed_where_that_is_forced() {
    let mut lab = Lab::new();
    lab.run();
    lab.ask("a", Op::Renew(Renew::default()));
    assert_eq!(lab.beat(), [0]);
    lab.assert_answer("a", RequestState::Accepted, "");
    lab.run();
    lab.assert_answer("a", RequestState::Done, "not due before ");
    assert_eq!((lab.orders(), lab.beat()), (0, vec![]));
    lab.host.clock.advance(MINUTE);
    lab.renew("b");
    assert_eq!(lab.beat(), [0]);
    lab.run();
    lab.assert_answer("b", RequestState::Done, "restart httpd gracefully");
    assert_eq!(lab.orders(), 1);
    // Each once.
    for _ in 0..3 {
        assert_eq!(lab.beat(), [0usize; 0]);
        lab.run();
    }
    assert_eq!(lab.orders(), 1);
}

#[test]
fn a_failure_answers_with_the_words_of_the_ca_and_ends_what_was_forced() {
    let mut lab = Lab::new();
    lab.renew("a");
    lab.beat();
    let document = problem("rejectedIdentifier", "a.test is on the list of forbidden names");
    lab.host.ca.fault(Endpoint::NewOrder, Fault::Problem { status: 400, document, retry_after: None });
    lab.run();
    lab.assert_answer("a", RequestState::Failed, "on the list of forbidden names");
    let orders = lab.orders();
    lab.host.clock.advance(DAY * 2);
    lab.run();
    assert_eq!(lab.orders(), orders, "it is not due");
}

#[test]
fn a_request_ends_waits_of_our_own_and_none_of_the_ca() {
    let mut lab = Lab::with(|_, _| {});
    let document = || problem("serverInternal", "out of order");
    lab.host
        .ca
        .fault(Endpoint::NewOrder, Fault::Problem { status: 500, document: document(), retry_after: None });
    let Next::At(_) = lab.run() else { panic!() };
    let orders = lab.orders();
    lab.host.ca.fault(
        Endpoint::NewOrder,
        Fault::Problem {
            status: 429,
            document: problem("rateLimited", "too many"),
            retry_after: Some("7200"),
        },
    );
    lab.renew("a");
    lab.beat();
    lab.run();
    lab.assert_answer("a", RequestState::Failed, "too many");
    assert_eq!(lab.orders(), orders + 1, "it was tried again before its time");
    lab.host.clock.advance(MINUTE * 2);
    lab.renew("b");
    lab.beat();
    let seen = lab.host.ca.seen().len();
    lab.run();
    lab.assert_answer("b", RequestState::Refused, "wants no requests before ");
    assert_eq!(lab.host.ca.seen().len(), seen, "the CA is left in peace");
    // By itself it is tried again all the same.
    lab.host.clock.advance(Duration::from_secs(7200));
    lab.run();
    assert!(lab.host.job(NAME).unwrap().finished);
}

#[test]
fn an_attempt_of_another_process_is_waited_for() {
    let mut lab = Lab::new();
    let work = lab.host.work();
    let other = Holder::of_program("a2md", lab.host.clock.now());
    let held = work.lock_attempt(NAME, &other).unwrap().unwrap();
    lab.renew("a");
    lab.beat();
    let Next::At(at) = lab.run() else { panic!() };
    assert!(at.since(lab.host.clock.now()) < Duration::from_secs(10));
    lab.assert_answer("a", RequestState::Accepted, "(a2md)");
    assert_eq!(lab.orders(), 0);
    drop(held);
    lab.run();
    lab.assert_answer("a", RequestState::Done, "");
    assert_eq!(lab.orders(), 1);
    // One that hangs does not keep the domain from its certificates.
    let held = work.lock_attempt(NAME, &other).unwrap().unwrap();
    lab.host.clock.advance(MINUTE * 2);
    lab.ask("b", Op::Renew(Renew { new_key: true, ..Renew::default() }));
    lab.beat();
    lab.run();
    assert_eq!(lab.orders(), 1);
    lab.host.clock.advance(MINUTE * 61);
    lab.run();
    assert_eq!(lab.orders(), 2);
    drop(held);
}

#[test]
fn new_keys_replace_those_that_are_staged() {
    let mut lab = Lab::new();
    lab.renew("a");
    lab.beat();
    lab.run();
    let key = lab.host.path.join("staging/a.test/privkey.p-256.pem");
    let first = fs::read(&key).unwrap();
    lab.host.clock.advance(MINUTE * 2);
    lab.renew("b");
    lab.beat();
    lab.run();
    lab.assert_answer("b", RequestState::Done, "staged");
    assert_eq!(lab.orders(), 1, "what is staged is new");
    lab.host.clock.advance(MINUTE * 2);
    lab.ask("c", Op::Renew(Renew { new_key: true, ..Renew::default() }));
    lab.beat();
    lab.run();
    lab.assert_answer("c", RequestState::Done, "staged");
    assert_eq!(lab.orders(), 2);
    assert_ne!(fs::read(&key).unwrap(), first);
}

#[test]
fn a_flood_of_files_costs_little_and_keeps_no_request_from_its_answer() {
    let mut lab = Lab::new();
    let folder = lab.host.path.join("requests");
    for count in 0..10_000 {
        fs::write(folder.join(format!("n{count}.test.json")), "{").unwrap();
    }
    lab.renew("a");
    let (mut longest, mut beats) = (Duration::ZERO, 0);
    while lab.answer("a").is_none() {
        let begin = Instant::now();
        lab.requests.look(&lab.context, lab.host.clock.now());
        longest = longest.max(begin.elapsed());
        beats += 1;
        lab.host.clock.advance(Duration::from_millis(100));
        assert!(beats < 300, "it is answered");
    }
    lab.host.clock.advance(MINUTE);
    while !lab.beat().is_empty() {
        lab.run();
    }
    // The rest is read.
    for _ in 0..110 {
        lab.beat();
    }
    let begin = Instant::now();
    for _ in 0..100 {
        lab.beat();
    }
    let each = begin.elapsed() / 100;
    eprintln!("10 000 files: {beats} beats, the longest {longest:?}; an unchanged folder {each:?}");
    assert!(each < Duration::from_millis(20), "{each:?}");
}
