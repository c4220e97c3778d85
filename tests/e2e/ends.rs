// SPDX-License-Identifier: Apache-2.0
//! The end of children in the middle of any work of our threads: none crashes, none goes on, none keeps httpd
//! waiting. Meanwhile no handshake waits for the disk.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use support::ends::{Ends, Way, config, visited};
use support::issuer::{self, Issuer};
use support::preload::Preload;
use support::process::children;
use support::strace::Strace;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, open_lab, tls, wait_for};

const DOMAINS: usize = 60;
/// Of each kind, on each MPM. `make bench ARGS="live ends 500"` does more.
const RESTARTS: usize = 8;
const STOPS: usize = 4;

/// On an idle machine a stop in the middle of renewals takes a tenth of a second.
#[track_caller]
fn assert_children_end_well(lab: &Lab, mpm: &'static str) {
    let pebble = Pebble::start(lab);
    let mut ends = Ends::default();
    for (live, few_connections) in [(false, false), (true, true)] {
        let way = Way { mpm, live, few_connections };
        let config = config(lab, &pebble.authority, way, DOMAINS);
        let mut httpd = config.clone().start();
        match few_connections {
            true => visited(lab, DOMAINS, || ends.restart(&mut httpd, RESTARTS)),
            false => ends.restart(&mut httpd, RESTARTS),
        }
        httpd.stop();
        config.forget();
    }
    let config = config(lab, &pebble.authority, Way { mpm, live: true, few_connections: false }, DOMAINS);
    ends.stop(&config, STOPS);
    let idle = config.line("MDRenewMode manual").start();
    let begin = Instant::now();
    idle.stop();
    let idle = begin.elapsed();
    assert!(ends.crashes.is_empty(), "{:#?}", ends.crashes);
    assert_eq!(ends.left_over, 0, "children of another generation");
    let slow: Vec<_> = ends.stops.iter().filter(|stop| **stop > idle * 4 + Duration::from_secs(2)).collect();
    assert!(slow.is_empty(), "{slow:?} where an idle server stops within {idle:?}");
}

#[test]
fn children_end_well_in_the_middle_of_renewals_under_the_event_mpm() {
    let Some(lab) = open_lab!() else { return };
    assert_children_end_well(&lab, "event");
}

#[test]
fn children_end_well_in_the_middle_of_renewals_under_the_worker_mpm() {
    let Some(lab) = open_lab!() else { return };
    assert_children_end_well(&lab, "worker");
}

#[test]
fn children_end_well_in_the_middle_of_renewals_without_threads() {
    let Some(lab) = open_lab!() else { return };
    assert_children_end_well(&lab, "prefork");
}

#[test]
fn no_thread_of_ours_is_left_where_openssl_is_torn_down() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let preload = Preload::build(&lab);
    for mpm in ["event", "prefork"] {
        let config =
            config(&lab, &pebble.authority, Way { mpm, live: true, few_connections: false }, DOMAINS);
        let mut httpd = preload.before(config.line("LogLevel md:debug")).start();
        let keys = |httpd: &Httpd| httpd.logged("Creating rsa CSR").len();
        wait_for("keys that are being made", SOON, || (keys(&httpd) > 0).then_some(()));
        httpd.next_generation();
        let before = keys(&httpd);
        wait_for("more of them", SOON, || (keys(&httpd) > before).then_some(()));
        httpd.stop().forget();
    }
    assert_eq!(preload.notes(), Vec::<String>::new());
}

#[test]
fn a_thread_that_nothing_can_end_is_not_left_where_openssl_is_torn_down() {
    let Some(lab) = open_lab!() else { return };
    let preload = Preload::build(&lab);
    for mpm in ["event", "prefork"] {
        let config = Config::new(&lab)
            .mpm(mpm)
            .line("MDCertificateAgreement accepted\nMDCertificateAuthority https://ca.invalid/dir\nMDomain one.test")
            .site("one.test", &[]);
        let httpd = preload.hang_lookups(config).start();
        let has_thread = |pid: &u32| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            tasks.into_iter().any(|task| {
                fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "md-connect")
            })
        };
        wait_for("a lookup that hangs", SOON, || children(httpd.pid()).iter().any(has_thread).then_some(()));
        let begin = Instant::now();
        let config = httpd.stop();
        assert!(begin.elapsed() < SOON / 4, "{:?}", begin.elapsed());
        let log = fs::read_to_string(config.server_root().join("error.log")).unwrap();
        assert!(!log.contains("exit signal") && !log.contains("still did not exit"), "{log}");
        config.forget();
    }
    assert_eq!(preload.notes(), Vec::<String>::new());
}

#[test]
fn a_stop_does_not_wait_for_a_large_key() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let mut config = Config::with_ca(&lab, &pebble.authority).line("MDPrivateKeys RSA 16384");
    for name in ["one.test", "two.test", "three.test", "four.test"] {
        config = config.line(&format!("MDomain {name}")).site(name, &[]);
    }
    let httpd = config.start();
    let key = "Creating rsa CSR";
    wait_for("a key that is being made", SOON, || httpd.log().contains(key).then_some(()));
    let begin = Instant::now();
    let config = httpd.stop();
    assert!(begin.elapsed() < SOON / 4, "{:?}", begin.elapsed());
    let log = fs::read_to_string(config.server_root().join("error.log")).unwrap();
    assert!(!log.contains("exit signal") && !log.contains("still did not exit"), "it was killed");
}

const NAMES: &[&str] = &["one.test"];
/// What each read of a set takes, on a disk that does not answer.
const SLOW: Duration = Duration::from_secs(5);

/// A server with a set that is live; the serials of the one of the start and of the one that is live.
fn live(lab: &Lab, mpm: &'static str) -> (Httpd, String, String) {
    let issuer = Issuer::new();
    let config = Config::with_ca(lab, &Authority::new(lab))
        .line("MDCheckInterval 1s\nMDRetryDelay 1s\nMDPrivateKeys P-256\nMDomain one.test")
        .mpm(mpm)
        .site("one.test", &[]);
    let start = issuer.issue(NAMES);
    issuer::install(&config.store(), NAMES, &[&start]);
    let httpd = config.start();
    let set = issuer.issue(NAMES);
    issuer::stage(&httpd.config.store(), NAMES, &[&set]);
    httpd.wait_live("one.test", &set.serial());
    (httpd, start.serial(), set.serial())
}

fn serial(httpd: &Httpd) -> String {
    tls::served(httpd.config.https(), "one.test", None, &[]).serial()
}

#[test]
fn no_handshake_waits_for_a_set_that_cannot_be_read() {
    let Some(lab) = open_lab!(Need::Strace) else { return };
    let (httpd, start, new) = live(&lab, "event");
    let file = httpd.config.store().join("staging/one.test/live.json");
    let _strace = Strace::slow_down(&lab, httpd.pid(), &file, SLOW);
    httpd.replace_children();
    let begin = Instant::now();
    // New children wait for a moment, and then serve what they have.
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let first = serial(&httpd);
    let is_in_time = || begin.elapsed() < SLOW;
    assert!(is_in_time(), "the first handshake took {:?}", begin.elapsed());
    assert_eq!(first, start);
    while is_in_time() {
        let begin = Instant::now();
        let now = serial(&httpd);
        assert!(now == first || now == new, "{now}");
        slowest = slowest.max(begin.elapsed());
        served += 1;
    }
    assert!(served > 10, "{served} handshakes");
    assert!(slowest < SLOW / 2, "{slowest:?}");
    wait_for("the set in all children", SOON, || (0..10).all(|_| serial(&httpd) == new).then_some(()));
}

#[test]
fn a_later_child_shows_no_self_signed_certificate_once_a_set_is_live() {
    let Some(lab) = open_lab!(Need::Strace) else { return };
    let pebble = Pebble::start(&lab);
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line("MDPrivateKeys P-256\nMDomain one.test")
        .site("one.test", &[])
        .start();
    let new = wait_for("a live set", SOON, || {
        let served = httpd.served("one.test", &pebble, &[]);
        served.verified.then(|| served.serial())
    });
    httpd.wait_live("one.test", &new);
    let file = httpd.config.store().join("staging/one.test/live.json");
    // Far longer than the first handshake takes.
    let _strace = Strace::slow_down(&lab, httpd.pid(), &file, Duration::from_millis(1500));
    httpd.replace_children();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..4).for_each(|_| assert_eq!(serial(&httpd), new)));
        }
    });
}
