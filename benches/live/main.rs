// SPDX-License-Identifier: Apache-2.0
//! Measures live activation with real servers and a real CA: `make bench ARGS=live`.
//!
//! ```text
//! make bench ARGS="live"               # first, staged, handshake and load, with their numbers below
//! make bench ARGS="live first 50"      # from an empty store to a certificate of the CA for each of 50 domains; and the C module
//! make bench ARGS="live staged 1000"   # from a set that is published to its being served by every child, among 1000 domains
//! make bench ARGS="live handshake 4000" # processor time and instructions of a handshake, with live activation on and off
//! make bench ARGS="live load 1000"     # handshakes while 1000 sets go live: failures, memory and open files
//! make bench ARGS="live child 1000"    # only when asked for: a new child's way to its first answer, where 1000 sets are live
//! make bench ARGS="live restart 200"   # only when asked for: graceful restarts that bring 200 live sets into use
//! make bench ARGS="live memory 1000 16" # only when asked for: of all processes, where 1000 sets are live in each of 16 children
//!
//! # Only when asked for, each with its minutes and the MPM, `event` or `prefork`:
//! make bench ARGS="live minutes 5 event" # the same with new certificates each second, and memory and open files of each process
//! make bench ARGS="live endure 60 event" # a renewal every 20 s, restarts, module swaps, killed children, and clients that verify
//! make bench ARGS="live ends 500"       # children that end in the middle of renewals: so many graceful restarts and a fifth as many stops, on each MPM (or the one named)
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod child;
mod cpu;
mod ends;
mod endure;
mod events;
mod handshake;
mod load;
mod memory;
mod processes;
mod restart;
mod visitor;

use openssl::ssl::{Ssl, SslContext, SslMethod};
use openssl::x509::X509;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use support::issuer::{self, Issuer};
use support::stream::Stream;
use support::{Authority, Config, Lab, Pebble, module, tls, wait_for};

const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--") && word != "live");
    let scenario = words.next();
    let number: Option<usize> = words.next().map(|word| word.parse().expect("a number"));
    let named = words.next();
    let mpm = if named.as_deref() == Some("prefork") { "prefork" } else { "event" };
    match scenario.as_deref() {
        Some("ends") => ends::run(number.unwrap_or(500), named.as_deref()),
        Some("endure") => endure::run(number.unwrap_or(60) as u64, mpm),
        Some("memory") => {
            memory::run(
                number.unwrap_or(1000),
                named.as_deref().map_or(3, |word| word.parse().expect("children")),
            );
        }
        Some("restart") => restart::run(number.unwrap_or(200)),
        Some("child") => child::start(number.unwrap_or(1000)),
        Some("minutes") => load::minutes(number.unwrap_or(5) as u64, mpm),
        _ => {}
    }
    let is_asked = |name: &str| scenario.as_deref().is_none_or(|asked| asked == name);
    const SCENARIOS: [&str; 10] =
        ["child", "ends", "endure", "first", "handshake", "load", "memory", "minutes", "restart", "staged"];
    if let Some(unknown) = scenario.as_deref().filter(|asked| !SCENARIOS.contains(asked)) {
        eprintln!("no scenario '{unknown}' of live; there are {}", SCENARIOS.join(", "));
        std::process::exit(2);
    }
    if is_asked("first") {
        for file in [Some(module::under_test()), module::c_module()].into_iter().flatten() {
            first(number.unwrap_or(50), &file);
        }
    }
    if is_asked("staged") {
        staged(number.unwrap_or(1000));
    }
    if is_asked("handshake") {
        handshake::run(number.unwrap_or(4000));
    }
    if is_asked("load") {
        load::count(number.unwrap_or(1000), "event");
        load::count(number.unwrap_or(1000), "prefork");
    }
}

fn lab(name: &str) -> Lab {
    Lab::open(&format!("bench::{name}::here"), &[]).expect("the lab")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("d{n}.test")).collect()
}

/// Hosts and domains of these names, a P-256 key each.
fn sites(config: Config, names: &[String]) -> Config {
    let config = config.line("MDPrivateKeys P-256\nLogLevel notice");
    names.iter().fold(config, |config, name| config.line(&format!("MDomain {name}")).site(name, &[]))
}

/// The certificate of one handshake; `None`: it did not work out.
fn leaf(context: &SslContext, port: u16, name: &str) -> Option<X509> {
    let mut ssl = Ssl::new(context).ok()?;
    ssl.set_hostname(name).ok()?;
    ssl.connect(Stream::connect(port).ok()?).ok()?.ssl().peer_certificate()
}

fn client() -> SslContext {
    SslContext::builder(SslMethod::tls_client()).unwrap().build()
}

fn first(count: usize, file: &Path) {
    let lab = lab("first");
    let pebble = Pebble::start(&lab);
    let names = names(count);
    let is_c = module::is_c(file);
    let config = sites(Config::with_ca(&lab, &pebble.authority), &names).module(file);
    let begin = Instant::now();
    let mut httpd = config.start();
    if is_c {
        wait_for("all sets", PATIENCE, || {
            let mds = httpd.mds();
            let finished = |md: &serde_json::Value| md["renewal"]["finished"] == true;
            mds["managed-domains"].as_array().unwrap().iter().all(finished).then_some(())
        });
        httpd.graceful();
    }
    let context = client();
    for name in &names {
        wait_for(name, PATIENCE, || {
            let issuer = format!("{:?}", leaf(&context, lab.https, name)?.issuer_name());
            issuer.contains("Pebble").then_some(())
        });
    }
    let how = if is_c { "the C module, with one graceful restart" } else { "ours, without" };
    println!("first: {count} domains, {how}: {:.1} s", begin.elapsed().as_secs_f64());
}

fn staged(count: usize) {
    let lab = lab("staged");
    let issuer = Issuer::new();
    let names = names(count);
    let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names);
    let store = config.store();
    names.iter().for_each(|name| issuer::install(&store, &[name], &[&issuer.issue(&[name])]));
    let _httpd =
        config.line("MDCheckInterval 20s\nStartServers 4\nMinSpareThreads 32\nMaxSpareThreads 64").start();
    let context = client();
    let measure = |name: &str| {
        let set = issuer.issue(&[name]);
        let serial = set.serial();
        issuer::stage(&store, &[name], &[&set]);
        let file = store.join("staging").join(name).join("live.json");
        let published = wait_for("live.json", PATIENCE, || fs::metadata(&file).ok()?.modified().ok());
        let mut all = SystemTime::now();
        wait_for("the new certificate from every child", PATIENCE, || {
            all = SystemTime::now();
            (0..24)
                .all(|_| leaf(&context, lab.https, name).is_some_and(|leaf| tls::serial(&leaf) == serial))
                .then_some(())
        });
        all.duration_since(published).unwrap_or_default().as_millis()
    };
    let chosen = names.iter().step_by((count / 8).max(1)).take(8);
    let mut times: Vec<u128> = thread::scope(|scope| {
        let running: Vec<_> = chosen.map(|name| scope.spawn(|| measure(name))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    times.sort_unstable();
    println!("staged: {count} domains, from published to served by every child, ms: {times:?}");
}
