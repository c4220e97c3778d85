// SPDX-License-Identifier: Apache-2.0
//! What a new child costs where many sets are live.

use super::visitor::{Tls, Visitor};
use super::{PATIENCE, lab, names, sites};
use std::fs;
use std::time::{Duration, Instant};
use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, process, wait_for};

const ROUNDS: usize = 9;

/// From the fork of a child until it has answered: with so many sets that went live since the start, and with
/// none.
pub fn start(count: usize) {
    for live in ["on", "off"] {
        let lab = lab("child");
        let issuer = Issuer::new();
        let root = lab.path("root.pem");
        fs::write(&root, issuer.root.to_pem().unwrap()).unwrap();
        let names = names(count);
        let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names);
        let store = config.store();
        names.iter().for_each(|name| issuer::install(&store, &[name], &[&issuer.issue(&[name])]));
        let httpd = config
            .line(&format!("MDLiveActivation {live}\nMDCheckInterval 20s\nMDRetryDelay 1s"))
            .line("StartServers 1\nServerLimit 1\nMaxRequestWorkers 8\nMaxSpareThreads 8")
            .start();
        names.iter().for_each(|name| issuer::stage(&store, &[name], &[&issuer.issue(&[name])]));
        let visitor = Visitor::new(lab.https, &root, Tls::V13);
        if live == "on" {
            wait_for("all sets", PATIENCE, || (httpd.logged("is live now").len() >= count).then_some(()));
        }
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| answer_of_new_child(&httpd, &visitor)).collect();
        times.sort_unstable();
        let ms: Vec<u128> = times.iter().map(Duration::as_millis).collect();
        println!("child: {count} sets, live activation {live}: from fork to first answer, ms: {ms:?}");
    }
}

fn answer_of_new_child(httpd: &Httpd, visitor: &Visitor) -> Duration {
    let old = process::children(httpd.pid());
    old.iter().for_each(|pid| process::signal(*pid, "KILL"));
    let begin = loop {
        if process::children(httpd.pid()).iter().any(|pid| !old.contains(pid)) {
            break Instant::now();
        }
    };
    wait_for("an answer", PATIENCE, || visitor.connect("d0.test").ok()?.request().ok());
    begin.elapsed()
}
