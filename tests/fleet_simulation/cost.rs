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
    } else {
        format!("{:.1} KiB", bytes / 1024.0)
    }
}

/// `(requests, bytes to the engine, bytes from it)`: of a renewal, and of a second without any.
fn measure(nodes: usize, mds: usize, prints: bool) -> [[f64; 3]; 2] {
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
    world.end();
    [renewal, idle]
}

/// Costs grow with the number of MDs as with that of renewals; how they grow with nodes is measured.
#[test]
#[ignore = "prints a table; takes minutes"]
fn table() {
    println!(
        "| nodes | a renewal: requests | to the engine | from it | idle: requests/s | to the engine/s | from it/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for nodes in [1, 3, 10, 30, 100] {
        let [renewal, idle] = measure(nodes, 10, false);
        println!(
            "| {nodes} | {:.1} | {} | {} | {:.1} | {} | {} |",
            renewal[0],
            kib(renewal[1]),
            kib(renewal[2]),
            idle[0],
            kib(idle[1]),
            kib(idle[2])
        );
    }
}

/// No node asks the engine all the time, and none tells all others what only one wants to know.
#[test]
fn an_idle_fleet_asks_less_than_once_a_second_and_node() {
    let [renewal, idle] = measure(5, 3, true);
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
