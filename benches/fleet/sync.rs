// SPDX-License-Identifier: Apache-2.0
//! One node joins with a set of each domain, two join with empty stores: how long that takes, what the engine then
//! holds for each domain, and what three idle nodes ask.

use crate::engine::Kind;
use crate::measure::{Asked, load, wait_issued};
use crate::{PATIENCE, install, lab, names, node, sets_in, start};
use openssl::pkey::Id;
use std::thread;
use std::time::{Duration, Instant};
use support::{Authority, fleet, wait_for};

const IDLE: Duration = Duration::from_secs(60);

pub fn run(engine: &str, count: usize, algorithm: Id) {
    let lab = lab("sync");
    let mut engine_of = start(engine, &lab);
    let authority = Authority::new(&lab);
    let names = names(count);
    let of = |number| node(&lab, &authority, number, &engine_of.directives(), &names);
    let configs = [1, 2, 3].map(of);
    let [first, second, third] = configs;
    install(&first, &names, algorithm);
    let fresh = engine_of.size();

    let mut nodes = vec![first.start()];
    let begin = Instant::now();
    wait_for("all sets in the engine", PATIENCE, || (count_sets(&engine_of) == count).then_some(()));
    println!(
        "sync, {engine}: {count} MDs, {algorithm:?}: a node publishes them in {:.1} s, load {}",
        begin.elapsed().as_secs_f64(),
        load()
    );
    let begin = Instant::now();
    nodes.push(second.start());
    let answered = begin.elapsed().as_secs_f64();
    wait_for("the first sync", PATIENCE, || {
        (fleet::report(&nodes[1])["applied"].as_u64()? > 0).then_some(())
    });
    let listed = begin.elapsed().as_secs_f64();
    let store = nodes[1].config.store();
    wait_for("all sets in the store", PATIENCE, || (sets_in(&store).len() == count).then_some(()));
    let stored = begin.elapsed().as_secs_f64();
    wait_issued(&[2], lab.https, &names, "Lab Root");
    println!(
        "  an empty node: first answer {answered:.1} s after its start, all listed {listed:.1} s, all in the store \
         {stored:.1} s, all served {:.1} s, load {}",
        begin.elapsed().as_secs_f64(),
        load()
    );
    nodes.push(third.start());
    wait_issued(&[3], lab.https, &names, "Lab Root");

    let size = engine_of.size();
    println!("  the engine holds {size} bytes, {:.0} an MD", (size - fresh) as f64 / count as f64);
    if let Kind::Redis(redis) = &engine_of.kind {
        println!("  memory of Redis with its log: {} bytes", redis.memory());
    }
    thread::sleep(IDLE / 2);
    let asked = Asked::begin(&engine_of, &nodes);
    thread::sleep(IDLE);
    asked.print(&format!("sync, {engine}: three idle nodes with {count} MDs"), None);
    drop(nodes);
    engine_of.kill();
}

pub fn count_sets(engine: &crate::engine::Engine) -> usize {
    let count = match &engine.kind {
        Kind::Etcd(etcd) => {
            let keys = etcd.ctl(&["get", "--prefix", "--keys-only", "{mod_md}/v1/set/"]);
            keys.lines().filter(|line| !line.is_empty()).count()
        }
        Kind::Redis(redis) => {
            let count = redis.cli(&["ZLEXCOUNT", "{mod_md}/names", "[v1/set/", "(v1/set0"]);
            count.trim_start_matches("(integer) ").parse().unwrap()
        }
    };
    thread::sleep(Duration::from_millis(200));
    count
}
