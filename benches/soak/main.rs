// SPDX-License-Identifier: Apache-2.0
//! Renewals of many domains with certificates of two minutes, for hours, while one fault follows the other, and
//! clients verify each certificate they are served: `make soak HOURS=2`. docs/testing.md says how to read its table.
//!
//! ```text
//! make soak                            # an hour, with Redis for the fleet
//! make soak HOURS=0.4 ARGS="etcd 7"    # 24 minutes, with etcd, and the faults of seed 7
//! make soak ARGS="domains=50 shared=5" # of fewer domains
//! make soak ARGS=calm                  # no restarts, and no child is killed
//! ```
//!
//! It fails if a client is served an expired or otherwise wrong certificate, if a handshake or a request fails other
//! than by the end of a child that was killed, if a domain is not renewed in time although its CA, engine and disk
//! were there, if a child crashes, if a page of the module or `a2md gc` does not answer, if the store is not in order at
//! the end, and, in a run of an hour or more, if memory, open files, threads, children or the store without its archive
//! grow: by more than a quarter from the median of the first quarter of the run to that of the last, and by more than
//! the amounts that `samples.rs` has for each. The memory of all processes is judged in a calm run only, by a tenth from
//! the third quarter to the last: that of a child grows with its age, until what it keeps of domains and responses, and
//! the free rest between that, has its size. The first certificates and the first renewals come before all that. Where
//! nothing of that was the matter and the CA stood still (`ca.rs`), it ends with 2 and the table so far.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the test does more with it")]
// By its path, as the test has it: what it is made of is beside it.
#[path = "run.rs"]
mod run;

use run::Options;
use run::plan::{CALM, Pace, ROUND};
use run::signals::Signals;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::Lab;

fn main() -> ExitCode {
    let signals = Signals::watch();
    let options = options(std::env::args().skip(1));
    let lab = Lab::open("bench::soak::here", &[]).expect("the lab");
    let outcome = run::run(&lab, &options, &signals);
    println!("\n{}", outcome.table);
    match (outcome.broken.is_empty(), outcome.cut) {
        (false, _) => ExitCode::FAILURE,
        (true, Some(why)) => {
            println!("cut short {why}");
            ExitCode::from(2)
        }
        (true, None) => ExitCode::SUCCESS,
    }
}

fn options(words: impl Iterator<Item = String>) -> Options {
    let mut options = Options {
        total: Duration::from_secs(3600),
        seed: SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs() % 10_000),
        domains: 200,
        shared: 20,
        engine: "redis",
        lifetime: 120,
        window: 38,
        grace: Duration::from_secs(20),
        round: &ROUND,
        pace: Pace {
            outage: Duration::from_secs(20),
            quiet: Duration::from_secs(40),
            between_restarts: Duration::from_secs(3),
        },
        tail: Duration::from_secs(10),
        clients: 4,
        pause: Duration::from_millis(40),
        sample_every: Duration::from_secs(10),
        settles: Duration::from_secs(240),
        ahead: 20,
    };
    for word in words.filter(|word| !word.starts_with("--")) {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("what is '{word}'?"));
        match word.split_once('=') {
            Some(("hours", hours)) => {
                let hours: f64 =
                    hours.parse().unwrap_or_else(|_| panic!("HOURS is a number of hours: {hours}"));
                options.total = Duration::from_secs_f64(hours * 3600.0);
            }
            Some(("domains", count)) => options.domains = number(count),
            Some(("shared", count)) => options.shared = number(count),
            Some(_) => panic!("what is '{word}'?"),
            None if word == "calm" => options.round = &CALM,
            None if word == "etcd" => options.engine = "etcd",
            None if word == "redis" => options.engine = "redis",
            None => options.seed = number(&word) as u64,
        }
    }
    options
}
