// SPDX-License-Identifier: Apache-2.0
//! How long a graceful restart takes that brings the live sets of all domains into use, beside one that has none to.
//! Nobody is served meanwhile: httpd's children leave when it begins.

use super::{PATIENCE, lab, names, sites};
use std::time::{Duration, Instant};
use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, wait_for};

const ROUNDS: usize = 5;

pub fn run(domains: usize) {
    let (lab, issuer, names) = (lab("restart"), Issuer::new(), names(domains));
    let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names);
    let store = config.store();
    names.iter().for_each(|name| issuer::install(&store, &[name], &[&issuer.issue(&[name])]));
    let mut httpd = config.line("MDCheckInterval 20s\nMDRetryDelay 1s").start();
    let mut times = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        times[0].push(restart(&mut httpd));
        names.iter().for_each(|name| issuer::stage(&store, &[name], &[&issuer.issue(&[name])]));
        wait_for("all sets", PATIENCE, || {
            (httpd.logged("is live now").len() >= round * domains).then_some(())
        });
        times[1].push(restart(&mut httpd));
    }
    let [without, with] = times.map(median);
    println!(
        "restart: {domains} domains, medians of {ROUNDS}: without live sets {without:?}, with {with:?}, {:?} each",
        with.saturating_sub(without) / u32::try_from(domains).unwrap()
    );
}

fn restart(httpd: &mut Httpd) -> Duration {
    let begin = Instant::now();
    httpd.graceful();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
