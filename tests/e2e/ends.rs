//! How children end, in the middle of whatever our threads do: none crashes, none goes on, none keeps httpd waiting.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::ends::{Ends, Way, config, visited};
use crate::support::{Config, Lab, Pebble, SOON, open_lab, wait_for};

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
