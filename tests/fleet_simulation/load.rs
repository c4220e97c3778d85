// SPDX-License-Identifier: Apache-2.0
//! A fleet that begins with nothing.

use crate::world::{BEGIN, SECOND, Served, World};
use std::time::{Duration, Instant};

/// This many nodes with the same MDs begin at the same moment.
pub fn storm(nodes: usize, count: usize) -> World {
    let mut world = World::new();
    for _ in 0..nodes {
        let mds = (0..count).map(|i| world.md(&format!("d{i}.test"))).collect();
        world.add(mds);
    }
    world.wait_served(nodes * count, SECOND * 60 + SECOND * 10 * count as u32);
    world
}

fn check(nodes: usize, count: usize) {
    let begin = Instant::now();
    let world = storm(nodes, count);
    assert_eq!((world.orders(), world.ca.account_count()), (count, 1));
    let times = times_to_applied(world.served());
    let [median, late, latest] = [50, 99, 100].map(|percent| times[(times.len() - 1) * percent / 100]);
    println!(
        "{nodes} nodes, {count} MDs: {:?} of virtual time, {:?} of real time; from the publication of a set to each \
         other node: median {median:?}, 99 % within {late:?}, all within {latest:?}",
        world.stage.now().since(BEGIN),
        begin.elapsed(),
    );
    assert!(late < SECOND, "{late:?}");
    world.end();
}

/// From the first node that serves a set, which has published it just then, to each other.
fn times_to_applied(mut served: Vec<Served>) -> Vec<Duration> {
    served.sort();
    let sets = served.chunk_by(|a, b| a.md == b.md);
    let mut times: Vec<Duration> = sets
        .flat_map(|set| set[1..].iter().map(|served| served.at.since(set[0].at)).collect::<Vec<_>>())
        .collect();
    times.sort();
    times
}

#[test]
fn of_a_fleet_that_begins_with_nothing_one_node_orders_each_set_and_all_serve_it_within_a_second() {
    check(10, 20);
}

/// Some minutes.
#[test]
#[ignore = "takes minutes"]
fn the_same_of_a_thousand_domains() {
    check(10, 1000);
}
