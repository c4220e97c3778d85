// SPDX-License-Identifier: Apache-2.0
//! The renewing child, a store in which new certificates appear, and a responder that counts requests.

use super::*;
use crate::crypto::fixture::{Ca, Wish};
use crate::crypto::{Chain, PrivateKey};
use crate::http::{self, Request, Response, Transport};
use crate::live::signals::Signals;
use crate::log::capture;
use crate::managed::Managed;
use crate::model::KeySpec;
use crate::model::Md;
use crate::notify::Commands;
use crate::ocsp::fixture::wire::Say;
use crate::ocsp::fixture::{HOUR, Responder};
use crate::ocsp::subject::Terms;
use crate::ocsp::{Cache, Subject, file, response};
use crate::stapling::service::Found;
use crate::store::StartStore;
use crate::time::{Stopped, TimeSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct Refusing(AtomicUsize);

impl Transport for Refusing {
    fn send(&self, _: &Request<'_>) -> Result<Response, http::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(http::Error::Refused)
    }
}

struct World {
    _dir: tempfile::TempDir,
    store: StartStore,
    responder: Responder,
    clock: Arc<Hand>,
    asked: Arc<Refusing>,
    service: Arc<Service>,
    runner: Runner,
}

fn terms() -> Terms {
    Terms { renew_window: TimeSlice::Percent(33), proxy_url: None, proxy_ca_file: None }
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap();
        let now = crate::crypto::fixture::NOW;
        let clock = Arc::new(Hand(Mutex::new(now)));
        let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        let found = Found {
            cache: Arc::new(Cache::default()),
            subjects: Default::default(),
            terms: vec![Some(terms())],
            by_mod_ssl: Default::default(),
            mds: Arc::new([Managed { md, ..Managed::default() }]),
            store: store.worker(),
            started: now,
        };
        let counters = Arc::new((0..Signals::size(1)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let service = Arc::new(Service::new(found, Signals::new(counters, 1), clock.clone()));
        let asked = Arc::new(Refusing::default());
        let settings = Settings {
            parallel: 2,
            retry_delay: Duration::from_secs(30),
            started: now,
            commands: Commands::default(),
        };
        let way: Arc<Refusing> = asked.clone();
        let connect: Connect = Box::new(move |_| Ok(way.clone()));
        let runner =
            Runner::new(settings, service.clone(), connect, clock.clone(), || 0.5, StopFlag::default(), None);
        World { _dir: dir, store, responder: Responder::new(), clock, asked, service, runner }
    }

    /// Puts a chain into staging, where it waits until it goes live.
    fn stage(&self, chain: &Chain) {
        let file = KeySpec::default().file_name("pubcert");
        self.store.worker().write_chain(WorkGroup::Staging, "a.test", &file, chain).unwrap();
    }

    fn beat_after(&mut self, wait: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus(wait);
        drop(now);
        self.runner.beat();
    }

    fn subject(&self) -> Subject {
        Subject::new("a.test", &self.responder.chain, terms()).unwrap()
    }
}

#[test]
fn an_upcoming_certificate_is_asked_for_before_it_is_live() {
    let mut world = World::new();
    world.runner.beat();
    assert_eq!(world.asked.0.load(Ordering::SeqCst), 0);
    world.stage(&world.responder.chain);
    world.beat_after(LOOK_EVERY);
    assert!(world.service.cache.find(&world.subject().id).is_some());
    let asked = world.asked.clone();
    while asked.0.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    world.runner.stop();
}

#[test]
fn staging_is_read_again_only_where_it_has_changed() {
    let mut world = World::new();
    // Its issuer is not in its chain: each time it is read, that is logged.
    let leaf = Chain::new(vec![world.responder.chain.leaf().clone()]).unwrap();
    let read = |world: &mut World, wait| {
        world.beat_after(wait);
        capture::take().iter().filter(|text| text.contains("cannot be stapled")).count()
    };
    world.stage(&leaf);
    assert_eq!([read(&mut world, LOOK_EVERY), read(&mut world, LOOK_EVERY)], [1, 0]);
    // Two changes in one tick of the file system's clock look alike.
    let stamps = |world: &World| world.store.worker().stamps(WorkGroup::Staging).unwrap();
    let before = stamps(&world);
    while stamps(&world) == before {
        world.stage(&leaf);
    }
    assert_eq!(read(&mut world, Duration::from_millis(100)), 0, "it is too soon to look");
    assert_eq!([read(&mut world, LOOK_EVERY), read(&mut world, LOOK_EVERY)], [1, 0]);
    world.runner.stop();
}

#[test]
fn a_stored_response_of_an_upcoming_certificate_is_used() {
    let mut world = World::new();
    let (subject, now) = (world.subject(), world.clock.now());
    let der = world.responder.respond(&subject, Say::Good, now.minus(HOUR), Some(now.plus(HOUR * 99)));
    let response = response::verify(&der, &subject, now).unwrap();
    file::write(&world.store.worker(), &subject, &response).unwrap();
    world.stage(&world.responder.chain);
    world.beat_after(LOOK_EVERY);
    let entry = world.service.cache.find(&subject.id).unwrap();
    assert!(entry.response.is_some_and(|used| *used == response));
    world.beat_after(LOOK_EVERY);
    let asked = world.asked.clone();
    world.runner.stop();
    assert_eq!(asked.0.load(Ordering::SeqCst), 0, "it is not due");
}

#[test]
fn certificates_without_a_responder_are_left_alone() {
    let mut world = World::new();
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    let chain = Ca::new("Another CA").grant(&Wish { names: &["a.test"], ..Wish::default() }, &key);
    world.stage(&chain);
    world.beat_after(LOOK_EVERY);
    assert_eq!(world.service.cache.table().entries().count(), 0);
    let asked = world.asked.clone();
    world.runner.stop();
    assert_eq!(asked.0.load(Ordering::SeqCst), 0);
}

#[test]
fn the_response_of_a_certificate_that_has_expired_is_removed() {
    let mut world = World::new();
    let (subject, now) = (world.subject(), world.clock.now());
    let is_there =
        |world: &World| file::read(&world.store.worker(), WorkGroup::Ocsp, &subject, now).unwrap().is_some();
    let der = world.responder.respond(&subject, Say::Good, now.minus(HOUR), Some(now.plus(HOUR * 99)));
    file::write(&world.store.worker(), &subject, &response::verify(&der, &subject, now).unwrap()).unwrap();
    world.stage(&world.responder.chain);
    world.beat_after(CLEAN_UP_EVERY);
    world.beat_after(subject.not_after.since(now));
    assert!(is_there(&world), "it may be served yet");
    world.stage(&Responder::new().chain);
    world.beat_after(CLEAN_UP_EVERY);
    assert!(world.service.cache.find(&subject.id).is_none());
    assert!(!is_there(&world));
    world.runner.stop();
}

#[test]
fn a_clock_that_was_ahead_holds_up_no_request_once_it_is_right() {
    let mut world = World::new();
    world.stage(&world.responder.chain);
    let right = world.clock.now();
    world.beat_after(Duration::from_secs(86_400));
    let wait_for = |is_so: &dyn Fn(&World) -> bool, world: &World| {
        let begin = std::time::Instant::now();
        while !is_so(world) {
            assert!(begin.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
    };
    wait_for(&|world| world.asked.0.load(Ordering::SeqCst) == 1, &world);
    // The failure has been noted once the next request is not due.
    let second = Duration::from_secs(1);
    wait_for(&|world| world.runner.pause(Duration::ZERO, second) == second, &world);
    *world.clock.0.lock().unwrap() = right;
    world.runner.beat();
    wait_for(&|world| world.asked.0.load(Ordering::SeqCst) == 2, &world);
    world.runner.stop();
}

#[test]
fn a_staged_certificate_that_had_expired_by_a_wrong_clock_is_known_once_that_is_right() {
    let mut world = World::new();
    let (subject, right) = (world.subject(), world.clock.now());
    world.stage(&world.responder.chain);
    world.beat_after(LOOK_EVERY);
    assert!(world.service.cache.find(&subject.id).is_some());
    world.beat_after(subject.not_after.since(right));
    // As each look does that finds anything new.
    world.service.add_upcoming(0, world.clock.now());
    assert!(world.service.cache.find(&subject.id).is_none());
    *world.clock.0.lock().unwrap() = right;
    world.beat_after(Duration::ZERO);
    assert!(world.service.cache.find(&subject.id).is_some());
    world.runner.stop();
}
