// SPDX-License-Identifier: Apache-2.0
//! What a fleet asks of its engine. Prints the table of docs/fleet.md.

use crate::load::storm;
use crate::world::World;
use doubles::counting_engine::{Count, Counts};
use doubles::memory_engine::Faults;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(600);

fn counts(world: &World) -> Counts {
    let mut all = Counts::new();
    for (key, count) in world.nodes.iter().flat_map(|node| node.engine.take()) {
        let sum = all.entry(key).or_default();
        sum.requests += count.requests;
        sum.sent += count.sent;
        sum.received += count.received;
    }
    all
}

fn sum<'c>(counts: impl Iterator<Item = &'c Count>) -> Count {
    counts.fold(Count::default(), |sum, count| Count {
        requests: sum.requests + count.requests,
        sent: sum.sent + count.sent,
        received: sum.received + count.received,
    })
}

/// Requests without what a watch tells, and with it only its bytes.
fn requests(counts: &Counts) -> Count {
    let told = sum(counts.iter().filter(|((call, _), _)| *call == "news").map(|(_, count)| count));
    let asked = sum(counts.iter().filter(|((call, _), _)| *call != "news").map(|(_, count)| count));
    Count { received: asked.received + told.received, ..asked }
}

fn kib(bytes: f64) -> String {
    if bytes >= 1_048_576.0 {
        format!("{:.1} MiB", bytes / 1_048_576.0)
    } else if bytes < 1024.0 {
        format!("{bytes:.0} B")
    } else {
        format!("{:.1} KiB", bytes / 1024.0)
    }
}

/// What a fleet asks: requests, bytes to the engine, and bytes from it.
struct Asked {
    renewal: [f64; 3],
    /// In a second without any renewal.
    idle: [f64; 3],
    held: Held,
}

/// What the engine has between renewals.
struct Held {
    /// Bytes of all keys of a set, of a node, and of the rest; keys of the rest.
    set: f64,
    node: f64,
    rest: f64,
    keys: f64,
}

fn held(world: &World, mds: usize) -> Held {
    let all = world.memory.dump();
    let bytes = |of: &dyn Fn(&str) -> bool| {
        let entries = all.iter().filter(|entry| of(&entry.key));
        entries.map(|entry| entry.key.len() + entry.value.len()).sum::<usize>() as f64
    };
    let (is_set, is_node) = (|key: &str| key.contains("v1/set/"), |key: &str| key.contains("v1/node/"));
    let is_rest = |key: &str| !is_set(key) && !is_node(key);
    Held {
        set: bytes(&is_set) / mds as f64,
        node: bytes(&is_node) / world.nodes.len() as f64,
        rest: bytes(&is_rest),
        keys: all.iter().filter(|entry| is_rest(&entry.key)).count() as f64,
    }
}

fn measure(nodes: usize, mds: usize, prints: bool) -> Asked {
    let world = storm(nodes, mds);
    let per =
        |count: Count, n: f64| [count.requests as f64 / n, count.sent as f64 / n, count.received as f64 / n];
    let storm = counts(&world);
    // What is done at a start is no part of a renewal.
    let of_renewals = storm.iter().filter(|((call, kind), _)| {
        !["grant", "list", "keep alive", "watch"].contains(call) && kind != "meta"
    });
    let renewal = per(requests(&of_renewals.map(|(key, count)| (key.clone(), *count)).collect()), mds as f64);
    world.pass(IDLE / 10);
    counts(&world);
    world.pass(IDLE);
    let idle = counts(&world);
    if prints {
        for (what, counts) in [("storm", &storm), ("idle", &idle)] {
            for ((call, kind), count) in counts {
                println!(
                    "{what:6} {call:10} {kind:10} {:>8} requests, {:>9} sent, {:>10} received",
                    count.requests, count.sent, count.received
                );
            }
        }
    }
    let idle = per(requests(&idle), IDLE.as_secs_f64());
    let held = held(&world, mds);
    world.end();
    Asked { renewal, idle, held }
}

/// How costs grow with nodes is measured. With MDs they grow as renewals do, and what the engine holds as sets and as
/// the names that each node tells; the growth of these is measured on one node.
#[test]
#[ignore = "prints tables; takes minutes"]
fn table() {
    const MDS: usize = 10;
    const MORE: usize = 100;
    const ROUND: f64 = 60.0 * 86_400.0;
    let of_name =
        (measure(1, MORE, false).held.node - measure(1, MDS, false).held.node) / (MORE - MDS) as f64;
    let all = [1, 3, 10, 30, 100].map(|nodes| (nodes, measure(nodes, MDS, false)));
    println!(
        "| nodes | a renewal: requests | to the engine | from it | idle: requests/s | to the engine/s | from it/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (nodes, Asked { renewal, idle, .. }) in &all {
        println!(
            "| {nodes} | {:.1} | {} | {} | {:.2} | {} | {} |",
            renewal[0],
            kib(renewal[1]),
            kib(renewal[2]),
            idle[0],
            kib(idle[1]),
            kib(idle[2])
        );
    }
    println!(
        "\n| nodes | MDs | keys | bytes held | of these nodes' names | requests/s | to the engine/s | from it/s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (nodes, asked) in &all {
        for mds in [100, 1000, 10_000] {
            let (n, m, held) = (*nodes as f64, f64::from(mds), &asked.held);
            let of_nodes = n * (held.node + of_name * (m - MDS as f64));
            // All renew in the course of the round, evenly.
            let at = |which: usize| asked.idle[which] + asked.renewal[which] * m / ROUND;
            println!(
                "| {nodes} | {mds} | {} | {} | {} | {:.2} | {} | {} |",
                m + 2.0 * n + held.keys,
                kib(held.set * m + of_nodes + held.rest),
                kib(of_nodes),
                at(0),
                kib(at(1)),
                kib(at(2))
            );
        }
    }
}

/// No node asks the engine all the time, and none tells all others what only one wants to know.
#[test]
fn an_idle_fleet_asks_less_than_once_a_second_and_node() {
    let Asked { renewal, idle, .. } = measure(5, 3, true);
    assert!(idle[0] < 5.0, "{idle:?} a second, of five nodes");
    assert!(renewal[0] < 60.0, "{renewal:?} for one renewal with five nodes");
}

/// What goes wrong is tried again, at a measured pace.
#[test]
fn an_engine_in_trouble_is_asked_no_more_than_one_that_works() {
    let troubles: [fn(&mut Faults); 6] = [
        |faults| faults.is_full = true,
        |faults| faults.is_read_only = true,
        |faults| faults.is_denied = true,
        |faults| faults.is_garbled = true,
        |faults| faults.values_garbled = true,
        |faults| faults.is_away = true,
    ];
    let world = storm(3, 2);
    for trouble in troubles {
        world.memory.faults(trouble);
        // Something is due all the same.
        world.stage.leap(Duration::from_secs(60));
        world.pass(IDLE / 60);
        counts(&world);
        world.pass(IDLE / 5);
        let asked = requests(&counts(&world)).requests as f64 / (IDLE / 5).as_secs_f64();
        assert!(asked < 3.0 * 3.0, "{asked} a second, of three nodes: {:?}", world.memory.faults_now());
        world.memory.faults(|faults| *faults = Faults::default());
        world.pass(IDLE / 10);
    }
    assert_eq!(world.orders(), 2);
    world.end();
}
