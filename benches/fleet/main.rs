// SPDX-License-Identifier: Apache-2.0
//! Measures fleets: several real httpds, a real etcd over TLS or a real Redis, and a real CA: `make bench ARGS=fleet`.
//!
//! ```text
//! make bench ARGS="fleet"                # all of these, with their numbers below, on each engine
//! make bench ARGS="fleet spread 100"     # 100 renewals: from publication until three nodes serve the set, to their clients
//! make bench ARGS="fleet empty 50 3"     # 50 domains on three empty nodes, in 3 rounds, beside one node without a fleet
//! make bench ARGS="fleet storm 50"       # what 50 renewals at once ask of the engine, with three nodes
//! make bench ARGS="fleet sync 1000"      # one node has 1000 domains, two are empty: the first sync, bytes at the engine, requests while idle
//! make bench ARGS="fleet sync 1000 rsa"  # the same with keys of RSA, of 2048 bits
//! make bench ARGS="fleet idle 1000 3"    # memory and processor time of an idle node, with the fleet and without it, in 3 rounds
//! make bench ARGS="fleet idle 1000 redis" # each of them with one engine alone
//! ```
//!
//! What a fleet of a hundred nodes asks of its engine is simulated: `tests/fleet_simulation/cost.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod empty;
#[allow(dead_code, reason = "tests do more with it")]
#[path = "../../tests/fleet/engine.rs"]
mod engine;
mod idle;
mod measure;
mod spread;
mod storm;
mod sync;

use engine::{Engine, Kind};
use openssl::pkey::Id;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::issuer::{self, Issuer};
use support::{Authority, Config, Lab, fleet};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(1800);
const ALL: [u8; 3] = [1, 2, 3];

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--") && word != "fleet").collect();
    let has = |name: &str| words.iter().any(|word| word == name);
    let mut numbers = words.iter().filter_map(|word| word.parse::<usize>().ok());
    let (first, second) = (numbers.next(), numbers.next());
    let is_asked = |name: &str| {
        let is_named = ["spread", "empty", "storm", "sync", "idle"].iter().any(|name| has(name));
        has(name) || !is_named
    };
    for engine in ["etcd", "redis"] {
        let is_other = ["etcd", "redis"].iter().any(|name| has(name)) && !has(engine);
        if is_other {
            continue;
        }
        if is_asked("spread") {
            spread::run(engine, first.unwrap_or(100));
        }
        if is_asked("empty") {
            empty::run(engine, first.unwrap_or(50), second.unwrap_or(3));
        }
        if is_asked("storm") {
            storm::run(engine, first.unwrap_or(50));
        }
        if is_asked("sync") {
            sync::run(engine, first.unwrap_or(1000), if has("rsa") { Id::RSA } else { Id::EC });
        }
        if is_asked("idle") {
            idle::run(engine, first.unwrap_or(1000), second.unwrap_or(3));
        }
    }
}

fn lab(name: &str) -> Lab {
    Lab::open(&format!("bench::fleet::{name}"), &[]).expect("the lab")
}

fn start(engine: &str, lab: &Lab) -> Engine {
    if engine == "etcd" { Engine::etcd(lab) } else { Engine::redis(lab) }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("d{n}.test")).collect()
}

/// A node that logs little. `engine`: the directives that name it.
fn node(lab: &Lab, authority: &Authority, number: u8, engine: &str, names: &[String]) -> Config {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = fleet::node(lab, authority, number, engine, &names);
    let node = if engine.is_empty() { node.without_line("MDFleetNode") } else { node };
    node.line("MDPrivateKeys P-256\nLogLevel warn").patience(PATIENCE)
}

/// A set in use for each of these names, which is not due for long.
fn install(config: &Config, names: &[String], algorithm: Id) {
    let issuer = Issuer::new();
    for name in names {
        let set = issuer.issue_for(&[name], algorithm, -60, 90 * 86_400);
        issuer::install(&config.store(), &[name], &[&set]);
    }
}

/// The sets of the fleet that a store has.
fn sets_in(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store.join("fleet")).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("set-")))
        .collect()
}

impl Engine {
    /// What nodes have asked for, by kind.
    fn requests(&self) -> std::collections::BTreeMap<String, u64> {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.requests(),
            Kind::Redis(redis) => redis.requests(),
        }
    }

    /// Bytes that nodes have sent to it, and those that it has sent to them.
    fn traffic(&self) -> [u64; 2] {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.traffic(),
            Kind::Redis(redis) => redis.traffic(),
        }
    }

    /// Bytes of what is in force, without history.
    fn size(&self) -> u64 {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.size(),
            Kind::Redis(redis) => redis.size("{mod_md}/"),
        }
    }

    fn pid(&self) -> u32 {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.pid(0),
            Kind::Redis(redis) => redis.pid(),
        }
    }
}
