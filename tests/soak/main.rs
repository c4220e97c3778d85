// SPDX-License-Identifier: Apache-2.0
//! `make soak` in small: its parts that only compute, and a run in which each fault comes once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blame;
mod ca;
mod log;
mod plan;
#[allow(dead_code, reason = "the program does more with it")]
#[path = "../../benches/soak/run.rs"]
mod run;
mod samples;
mod seen;
mod table;

use run::Options;
use run::plan::{EACH, Pace, length};
use run::signals::Signals;
use std::time::Duration;
use support::{Need, open_lab};

/// Certificates that hold this number of seconds, each renewed when half of that is left.
const LIFETIME: u32 = 40;

#[test]
fn each_fault_once_and_no_client_is_served_what_is_wrong() {
    let Some(lab) = open_lab!(Need::Program("redis-server")) else { return };
    let pace = Pace {
        outage: Duration::from_secs(4),
        quiet: Duration::from_secs(2),
        between_restarts: Duration::from_secs(1),
    };
    let options = Options {
        total: length(&EACH, &pace),
        // The first renewals are due while the CA hangs, the second ones while the disk is full.
        seed: 273,
        domains: 6,
        shared: 2,
        engine: "redis",
        lifetime: LIFETIME,
        window: 45,
        grace: Duration::from_secs(12),
        round: &EACH,
        pace,
        tail: Duration::from_millis(1500),
        clients: 2,
        pause: Duration::from_millis(50),
        sample_every: Duration::from_secs(2),
        settles: Duration::ZERO,
        ahead: 5,
    };
    let outcome = run::run(&lab, &options, &Signals::unwatched());
    println!("{}", outcome.table);
    assert!(outcome.broken.is_empty() && outcome.cut.is_none(), "{:#?} {:?}", outcome.broken, outcome.cut);
    assert!(outcome.handshakes > 100 && outcome.renewals > 8, "{}", outcome.table);
}
