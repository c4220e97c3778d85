// SPDX-License-Identifier: Apache-2.0
//! CAs that fail, an engine that is away, and configurations that differ.

use crate::load::storm;
use crate::world::{SECOND, World};
use doubles::fake_ca::{Endpoint, problem};
use mod_md::model::KeySpec;
use mod_md::time::{DAY, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How many orders and validations are tried in three hours in which every validation fails.
fn tries(nodes: usize) -> (usize, usize) {
    let mut world = World::new();
    world.ca.rules(|rules| rules.validate = Arc::new(|_| Err(problem("connection", "connection refused"))));
    for _ in 0..nodes {
        world.add(vec![world.md("a.test")]);
    }
    world.pass(HOUR * 3);
    let tries = (world.orders(), world.ca.count(Endpoint::Challenge));
    world.end();
    tries
}

#[test]
fn ten_nodes_try_a_ca_that_fails_as_often_as_one() {
    let alone = tries(1);
    assert!(alone.1 >= 3, "{alone:?}");
    assert_eq!(tries(10), alone);
}

/// The CA may be sent to any node, that which learns last of the answer included.
#[test]
fn before_the_ca_looks_a_slow_node_is_waited_for() {
    let mut world = World::new();
    world.first_look = SECOND * 10;
    for _ in 0..3 {
        world.add(vec![world.md("a.test")]);
    }
    world.pass(SECOND * 5);
    world.nodes[2].handle.faults(|faults| faults.slow = Duration::from_millis(800));
    world.wait_served(3, MINUTE);
    assert_eq!((world.orders(), world.ca.count(Endpoint::Challenge)), (1, 1));
    world.end();
}

/// The node that makes the request of this number to the CA dies while it is under way. False: there is none.
fn kill_at(request: usize, ends_are_untold: bool) -> bool {
    let mut world = World::new();
    if ends_are_untold {
        world.memory.leave_ends_untold();
    }
    for _ in 0..3 {
        world.add(vec![world.md("a.test")]);
    }
    // The CA looks at once: later, the answers have gone with the lease of the dead node.
    world.ca.rules(|rules| rules.validation_polls = 0);
    let asked = world.asked.clone();
    let dying = world.stage.wait(MINUTE, || asked.lock().unwrap().get(request).map(|(node, _)| *node));
    if let Some(node) = dying {
        let (before, url) = (world.served().len(), asked.lock().unwrap()[request].1.clone());
        world.kill(node);
        let begin = world.stage.now();
        let others = (0..3).filter(|other| *other != node);
        let serve = || others.clone().all(|other| world.leaf(other, 0).is_some()).then_some(());
        assert!(
            world.stage.wait(MINUTE, serve).is_some(),
            "{before} served before {url}, then none in {:?}",
            world.stage.now().since(begin)
        );
        assert_eq!((world.orders(), world.ca.account_count()), (1, 1), "killed at request {request}: {url}");
    }
    world.end();
    dying.is_some()
}

/// Within two lease times, with the account and the order that the dead one has made.
#[test]
fn whenever_the_renewing_node_dies_another_finishes_its_order() {
    for ends_are_untold in [false, true] {
        let last = (0..40).find(|request| !kill_at(*request, ends_are_untold));
        assert!(last.is_some_and(|last| last > 8), "{last:?}");
    }
}

/// The engine is away from the tenth day of certificates of ninety on.
#[test]
fn seven_nodes_alone_renew_once_each_in_the_last_twentieth_ten_minutes_apart() {
    let world = storm(7, 1);
    world.pass(MINUTE);
    world.memory.faults(|faults| faults.is_away = true);
    // It looks where the answer is: nobody answers for others now.
    world.ca.rules(|rules| rules.validate = Arc::new(|_| Ok(())));
    world.stage.leap(DAY * 70);
    world.pass(HOUR);
    assert_eq!(world.orders(), 1, "due, but far from its end");
    world.stage.leap(DAY * 15 + HOUR * 10);
    let begin = world.served().len();
    assert_eq!(begin, 7);
    world.stage.wait_by(SECOND, HOUR * 5, || (world.orders() == 8).then_some(()));
    world.pass(MINUTE * 30);
    assert_eq!(world.orders(), 8, "one for each node");
    let mut times: Vec<Timestamp> = world.served()[begin..].iter().map(|served| served.at).collect();
    times.sort();
    let apart = times.windows(2).map(|two| two[1].since(two[0])).min().unwrap();
    assert!(times.len() == 7 && apart >= MINUTE * 10 - SECOND * 5, "{times:?}");
    let leaves = |world: &World| {
        let mut leaves: Vec<String> = (0..7).map(|node| world.leaf(node, 0).unwrap().fingerprint).collect();
        leaves.sort();
        leaves.dedup();
        leaves
    };
    assert_eq!(leaves(&world).len(), 7);
    // It is back: all have the one set that wins, the latest of them.
    let latest = (0..7).map(|node| world.leaf(node, 0).unwrap()).max_by_key(|leaf| leaf.not_before).unwrap();
    world.memory.faults(|faults| faults.is_away = false);
    let is_same = world.stage.wait(MINUTE * 2, || (leaves(&world).len() == 1).then_some(()));
    assert!(is_same.is_some(), "{:?}", leaves(&world));
    assert_eq!(leaves(&world), [latest.fingerprint]);
    world.pass(HOUR);
    assert_eq!(world.orders(), 8);
    world.end();
}

/// How many validations have failed, all in all, one hour and two hours after certificates of 90 days came to their
/// last twentieth, while the engine is away.
fn solo_tries(nodes: usize) -> [usize; 2] {
    let world = storm(nodes, 1);
    world.pass(MINUTE);
    let before = world.ca.count(Endpoint::Challenge);
    world.memory.faults(|faults| faults.is_away = true);
    world.ca.rules(|rules| rules.validate = Arc::new(|_| Err(problem("connection", "connection refused"))));
    // An hour before it begins.
    world.stage.leap(DAY * 85 + HOUR * 11);
    let has_begun = || (world.ca.count(Endpoint::Challenge) > before).then_some(());
    world.stage.wait_by(SECOND, HOUR * 4, has_begun).expect("a try in the last twentieth");
    let tries = [1, 1].map(|hours| {
        world.pass(HOUR * hours);
        world.ca.count(Endpoint::Challenge) - before
    });
    world.end();
    tries
}

#[test]
fn seven_nodes_alone_try_a_ca_that_fails_at_most_twice_as_often_as_one() {
    let (alone, seven) = (solo_tries(1), solo_tries(7));
    println!("validations that failed: {alone:?} by one node, {seven:?} by seven");
    assert!(alone[0] >= 4, "{alone:?}");
    for (alone, seven) in alone.into_iter().zip(seven) {
        assert!(seven <= alone * 2, "{alone} by one node, {seven} by seven");
    }
    assert!(seven[1] >= 7, "each node has tried: {seven:?}");
}

#[test]
fn nodes_whose_kinds_of_keys_differ_do_not_renew_against_each_other() {
    let mut world = World::new();
    for curve in ["P-256", "P-384"] {
        let mut md = world.md("a.test");
        md.md.key_specs = vec![KeySpec::Ec(curve.into())];
        md.certs = md.md.keys().into_iter().map(|spec| (spec, None)).collect::<Vec<_>>().into();
        world.add(vec![md]);
    }
    // They look when a set comes, and each twelve hours.
    world.pass(HOUR);
    world.stage.leap(HOUR * 11);
    world.pass(HOUR * 2);
    assert_eq!(world.orders(), 1);
    let leaves: Vec<_> = (0..2).map(|node| world.leaf(node, 0).map(|leaf| leaf.fingerprint)).collect();
    assert!(leaves[0].is_some() && leaves[0] == leaves[1], "{leaves:?}");
    // After a third of its lifetime, the other kind may have its turn, which lasts as long.
    world.stage.leap(DAY * 31);
    world.pass(HOUR * 3);
    assert!(world.orders() <= 2, "{}", world.orders());
    world.end();
}
