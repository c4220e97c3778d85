// SPDX-License-Identifier: Apache-2.0
//! Stapling from the first request to the last response: the real driver, schedule and store, with a
//! responder in memory. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use doubles::{Fleet, VirtualClock};
use mod_md::crypto::Chain;
use mod_md::http::{self, Method, Request, Response, Transport};
use mod_md::managed::Managed;
use mod_md::model::{Job, Md};
use mod_md::notify::Commands;
use mod_md::ocsp::subject::Terms;
use mod_md::ocsp::{Cache, Entry, Subject, cache, file};
use mod_md::stapling::driver::Context;
use mod_md::stapling::others::Others;
use mod_md::stapling::report::STAPLINGS;
use mod_md::stapling::{Driver, Settings};
use mod_md::store::{Group, StartStore, WorkGroup};
use mod_md::time::{Clock, DAY, StopFlag, SystemClock, TimeSlice, Timestamp};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::certificate;
use support::ocsp_response::{self as wire, Say, Wish};

const HOUR: Duration = Duration::from_secs(3600);

/// What the responder does with a request.
#[derive(Clone)]
enum Act {
    /// Answers with this, valid for so long from now on.
    Say(Say, Duration),
    /// Hands out what it said last.
    Repeat,
    Status(u16, Vec<(String, String)>),
    Dead,
    /// Meets a bug of ours.
    Bug,
}

struct Responder {
    signer: (X509, PKey<Private>),
    clock: Arc<VirtualClock>,
    act: Mutex<Act>,
    last: Mutex<Vec<u8>>,
    /// When it was asked.
    asked: Mutex<Vec<Timestamp>>,
    headers: Mutex<Vec<(String, String)>>,
}

impl Transport for Responder {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        let now = self.clock.now();
        self.asked.lock().unwrap().push(now);
        assert_eq!(request.method, Method::Get);
        let (_, path) = request.url.rsplit_once('/').unwrap();
        let text = path.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let der = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        let act = self.act.lock().unwrap().clone();
        let body = match act {
            Act::Dead => return Err(http::Error::Refused),
            Act::Bug => panic!("injected for a test"),
            Act::Status(status, headers) => return Ok(Response::new(status, headers, Vec::new())),
            Act::Repeat => self.last.lock().unwrap().clone(),
            Act::Say(say, valid) => {
                let date = |at: Timestamp| at.to_rfc3339().replace(['-', ':', 'T'], "");
                let cert_id = (0..4).fold(der.as_slice(), |der, _| wire::content(der).0);
                wire::build(&Wish {
                    cert_id,
                    say,
                    from: date(now),
                    until: Some(date(now.plus(valid))),
                    signer: &self.signer.0,
                    key: &self.signer.1,
                    by_key: true,
                    certs: &[],
                })
            }
        };
        self.last.lock().unwrap().clone_from(&body);
        Ok(Response::new(200, self.headers.lock().unwrap().clone(), body))
    }
}

struct Lab {
    dir: tempfile::TempDir,
    clock: Arc<VirtualClock>,
    responder: Arc<Responder>,
    chain: Chain,
    /// With the number of this node.
    fleet: Option<(Arc<Fleet>, usize)>,
}

impl Lab {
    fn new() -> Lab {
        // To the second, as dates in responses are.
        let now = Timestamp::from_unix(SystemClock::default().now().unix());
        let clock = Arc::new(VirtualClock::at(now));
        let (ca, key) = certificate::ca("Test CA");
        let leaf = certificate::leaf("a.test", &certificate::new_key(), (&ca, &key), "http://o.test/x");
        let pem = [leaf.to_pem().unwrap(), ca.to_pem().unwrap()].concat();
        let responder = Responder {
            signer: (ca, key),
            clock: clock.clone(),
            act: Mutex::new(Act::Say(Say::Good, DAY * 8)),
            last: Mutex::default(),
            asked: Mutex::default(),
            headers: Mutex::default(),
        };
        let chain = Chain::from_pem(&pem).unwrap();
        Lab { dir: tempfile::tempdir().unwrap(), clock, responder: Arc::new(responder), chain, fleet: None }
    }

    /// The node of this number, of a fleet of two. The first one asks for all.
    fn node(number: usize) -> Lab {
        let lab = Lab::new();
        let fleet = Fleet::new(lab.clock.clone());
        (0..2).for_each(|_| fleet.join(lab.store().worker(), &mds()));
        Lab { fleet: Some((fleet, number)), ..lab }
    }

    fn others(&self) -> Option<Others> {
        let (fleet, number) = self.fleet.as_ref()?;
        Some(Others::new(fleet.node(*number), mds()))
    }

    fn act(&self, act: Act) {
        *self.responder.act.lock().unwrap() = act;
    }

    fn asked(&self) -> Vec<Timestamp> {
        self.responder.asked.lock().unwrap().clone()
    }

    fn store(&self) -> StartStore {
        StartStore::open(&self.dir.path().join("md"), None).unwrap()
    }

    /// A start of the server: what it knows is what the store has.
    fn start(&self) -> Server<'_> {
        self.take_over(self.clock.now())
    }

    /// Another child of the server that was started then.
    fn take_over(&self, started: Timestamp) -> Server<'_> {
        let terms = Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None };
        let subject = Arc::new(Subject::new("a.test", &self.chain, terms).unwrap());
        let stored = file::read(&self.store(), Group::Ocsp, &subject, self.clock.now()).unwrap();
        let entry = Entry { subject: subject.clone(), response: stored.map(Arc::new) };
        let cache = Arc::new(Cache::new([entry]));
        let (retry_delay, commands) = (Duration::from_secs(30), Commands::default());
        let settings = Settings { parallel: 4, retry_delay, started, commands };
        let responder = self.responder.clone();
        let around = Context {
            store: self.store().worker(),
            cache: cache.clone(),
            clock: self.clock.clone(),
            connect: Box::new(move |_| Ok(responder.clone())),
            publish: Box::new(|_, _| {}),
            random: || 0.5,
            others: self.others(),
        };
        let driver = Driver::new(settings, around, StopFlag::default());
        Server { lab: self, subject, cache, driver }
    }

    fn job(&self) -> Job {
        let json = self.store().read_json(Group::Ocsp, "a.test", "job.json").unwrap().unwrap();
        Job::from_json("a.test", &json).unwrap()
    }
}

fn mds() -> Arc<[Managed]> {
    let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
    Arc::new([Managed { md, ..Managed::default() }])
}

struct Server<'a> {
    lab: &'a Lab,
    subject: Arc<Subject>,
    cache: Arc<Cache>,
    driver: Driver,
}

impl Server<'_> {
    fn is_stapled(&self) -> bool {
        let now = self.lab.clock.now();
        self.cache.staple(&self.subject.id, now, |der| der.is_some()).unwrap()
    }

    /// Lets time pass, with a beat each `step`.
    fn run(&mut self, time: Duration, step: Duration) {
        let end = self.lab.clock.now().plus(time);
        while self.lab.clock.now() < end {
            self.driver.run_due();
            self.lab.clock.advance(step);
        }
        self.driver.run_due();
    }
}

#[test]
fn a_response_is_renewed_in_its_last_third_for_as_long_as_the_server_runs() {
    let lab = Lab::new();
    let mut server = lab.start();
    assert!(!server.is_stapled());
    for _ in 0..60 {
        server.run(DAY, HOUR);
        assert!(server.is_stapled());
    }
    // Of 8 days, each is renewed after 5.36 at the earliest.
    let count = lab.asked().len();
    assert!((10..=12).contains(&count), "{count}");
    assert_eq!(lab.job().errors, 0);
}

#[test]
fn a_responder_that_is_dead_for_a_week_and_two_restarts_is_not_felt() {
    let lab = Lab::new();
    let mut server = lab.start();
    server.run(HOUR, HOUR);
    let end = lab.asked()[0].plus(DAY * 8);
    lab.act(Act::Dead);
    server.run(DAY * 3, HOUR / 2);
    assert!(server.is_stapled());
    let mut server = lab.start();
    assert!(server.is_stapled(), "from the first handshake on");
    server.run(DAY * 3, HOUR / 2);
    assert!(server.is_stapled());
    let mut server = lab.start();
    server.run(DAY + HOUR * 22, HOUR / 2);
    assert!(server.is_stapled(), "an hour before it expires");
    assert!(lab.asked().len() < 200, "no more than about one try in half an hour: {}", lab.asked().len());
    let job = lab.job();
    assert!(job.errors > 0);
    let state = &job.extra[STAPLINGS][server.subject.id_hex()];
    assert_eq!(state["detail"], "connection refused");
    assert_eq!(state["responder"], "http://o.test/x");
    // To the end, and not a moment longer.
    lab.clock.advance(Duration::from_millis(end.since(lab.clock.now()).as_millis() as u64 - 1));
    assert!(server.is_stapled());
    lab.clock.advance(Duration::from_millis(1));
    assert!(!server.is_stapled());
    assert!(!lab.start().is_stapled(), "nor after a restart");
    lab.act(Act::Say(Say::Good, DAY));
    server.run(HOUR * 2, Duration::from_secs(60));
    assert!(server.is_stapled(), "the end of the outage is noticed");
    assert_eq!(lab.job().errors, 0);
}

#[test]
fn a_responder_that_repeats_itself_is_asked_more_often_but_not_polled() {
    let lab = Lab::new();
    let mut server = lab.start();
    server.run(HOUR, HOUR);
    lab.act(Act::Repeat);
    server.run(DAY * 8 - HOUR * 2, Duration::from_secs(60));
    assert!(server.is_stapled());
    let count = lab.asked().len();
    assert!((5..90).contains(&count), "{count}");
}

#[test]
fn retry_after_and_max_age_are_heeded() {
    let lab = Lab::new();
    let mut server = lab.start();
    lab.act(Act::Status(503, vec![("Retry-After".into(), "7200".into())]));
    server.run(HOUR * 3 / 2, Duration::from_secs(60));
    assert_eq!(lab.asked().len(), 1);
    *lab.responder.headers.lock().unwrap() = vec![("Cache-Control".into(), "public, max-age=86400".into())];
    lab.act(Act::Say(Say::Good, DAY * 8));
    server.run(DAY * 2, HOUR / 2);
    let asked = lab.asked();
    assert!(asked[1].since(asked[0]) >= HOUR * 2);
    assert!((DAY..DAY + HOUR).contains(&asked[2].since(asked[1])), "{asked:?}");
}

#[test]
fn a_revoked_certificate_stays_stapled_and_revoked_over_a_restart() {
    let lab = Lab::new();
    lab.act(Act::Say(Say::Revoked, DAY));
    let mut server = lab.start();
    server.run(HOUR, HOUR);
    assert!(server.is_stapled());
    for server in [server, lab.start()] {
        assert!(cache::is_revoked(&server.cache, &server.subject.id));
        assert!(!cache::has_staple(&server.cache, &server.subject.id, lab.clock.now()));
    }
    let json = lab.store().files(Group::Ocsp, "a.test").unwrap();
    let file = json.iter().find(|name| name.starts_with("ocsp-")).unwrap();
    let json = lab.store().worker().read_json(WorkGroup::Ocsp, "a.test", file).unwrap().unwrap();
    assert_eq!(json["status"], "revoked");
}

#[test]
fn unknown_takes_the_place_of_nothing() {
    let lab = Lab::new();
    lab.act(Act::Say(Say::Unknown, DAY));
    let mut server = lab.start();
    server.run(HOUR, HOUR);
    assert!(!server.is_stapled());
    assert_eq!(lab.job().last.detail.as_deref(), Some("the responder does not know the certificate"));
}

#[test]
fn a_panic_is_a_failure_that_is_tried_again_ever_more_rarely() {
    let lab = Lab::new();
    lab.act(Act::Bug);
    let mut server = lab.start();
    server.run(HOUR, Duration::from_secs(10));
    let asked = lab.asked();
    assert!((4..12).contains(&asked.len()), "{asked:?}");
    let detail = lab.job().last.detail.unwrap();
    assert!(detail.contains("internal error"), "{detail}");
    lab.act(Act::Say(Say::Good, DAY * 8));
    server.run(HOUR * 2, Duration::from_secs(60));
    assert!(server.is_stapled());
}

#[test]
fn what_the_responder_asked_for_holds_over_restarts() {
    let lab = Lab::new();
    lab.act(Act::Status(503, vec![("Retry-After".into(), "7200".into())]));
    lab.start().run(HOUR / 2, Duration::from_secs(60));
    lab.act(Act::Say(Say::Good, DAY * 8));
    for _ in 0..3 {
        lab.start().run(HOUR / 4, Duration::from_secs(60));
    }
    assert_eq!(lab.asked().len(), 1);
    let mut server = lab.start();
    server.run(HOUR, Duration::from_secs(60));
    assert!(server.is_stapled());
}

#[test]
fn a_start_tries_a_failed_response_once_and_continues_the_backoff() {
    let lab = Lab::new();
    lab.act(Act::Dead);
    lab.start().run(HOUR * 4, Duration::from_secs(10));
    let (before, errors) = (lab.asked().len(), lab.job().errors);
    let mut started = lab.clock.now();
    for _ in 0..3 {
        started = lab.clock.now();
        lab.start().run(HOUR / 6, Duration::from_secs(1));
        assert_eq!(lab.asked().last(), Some(&started));
    }
    assert_eq!(lab.asked().len() - before, 3, "and no more: {:?}", lab.asked());
    assert_eq!(lab.job().errors, errors + 3);
    // Children of the same server come and go, and change nothing.
    for _ in 0..3 {
        lab.take_over(started).run(HOUR / 18, Duration::from_secs(1));
    }
    assert_eq!(lab.asked().len() - before, 3);
    lab.act(Act::Say(Say::Good, DAY * 8));
    let mut server = lab.start();
    server.run(Duration::from_secs(1), Duration::from_secs(1));
    assert!(server.is_stapled(), "what a restart has mended is noticed at once");
}

#[test]
fn the_node_that_asks_for_all_shares_each_response() {
    let lab = Lab::node(0);
    let mut server = lab.start();
    server.run(DAY * 7, HOUR);
    let (fleet, _) = lab.fleet.as_ref().unwrap();
    let shared = fleet.responses();
    assert!(shared.len() > 1 && shared.len() == lab.asked().len());
    assert!(shared.iter().all(|(name, _)| *name == format!("ocsp-{}.json", server.subject.id_hex())));
    let last = shared.last().unwrap().1.clone();
    let is_it = |der: Option<&[u8]>| der == Some(last.as_slice());
    assert_eq!(server.cache.staple(&server.subject.id, lab.clock.now(), is_it), Some(true));
}

#[test]
fn a_node_that_others_ask_for_asks_only_where_nothing_comes() {
    let lab = Lab::node(1);
    let mut server = lab.start();
    let (begin, second) = (lab.clock.now(), Duration::from_secs(1));
    server.run(Duration::from_secs(15), second);
    assert_eq!(lab.asked(), [], "another node is given some time");
    server.run(Duration::from_secs(10), second);
    assert_eq!(lab.asked().len(), 1);
    assert!(server.is_stapled());
    // 8 days: others have asked since the last third begins.
    server.run(DAY * 6 + HOUR * 12, HOUR / 2);
    assert_eq!(lab.asked().len(), 1);
    server.run(HOUR * 12, HOUR / 2);
    let asked = lab.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].since(begin) < DAY * 7 && server.is_stapled(), "a day before it ends");
    let (fleet, _) = lab.fleet.as_ref().unwrap();
    assert_eq!(fleet.responses().len(), 2, "and the others have it");
}
