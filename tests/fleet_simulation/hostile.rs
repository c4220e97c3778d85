// SPDX-License-Identifier: Apache-2.0
//! An engine that withholds, repeats, swaps and garbles what lies in it, and a node that lies: nobody serves, orders
//! or answers anything else for that.

use crate::load::storm;
use crate::world::{SECOND, SimNode, World};
use mod_md::crypto::PrivateKey;
use mod_md::fleet::engine::{Condition, Engine, Entry, Revision, Transaction, Write};
use mod_md::managed::peers::{Need, Peers, SharedJob};
use mod_md::managed::saved_order::SavedOrder;
use mod_md::model::KeySpec;
use mod_md::time::DAY;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Who has the engine's disk: sees whole keys, and writes what it likes.
fn write(world: &World, key: &str, value: &[u8]) {
    let key = key.strip_prefix("p/").unwrap().to_string();
    let put = Write::Put { key, value: value.into(), lease: None };
    let disk = world.memory.handle("p");
    disk.commit(&Transaction { when: Vec::<Condition>::new(), then: vec![put] }).unwrap();
}

fn sets(world: &World) -> Vec<Entry> {
    world.memory.dump().into_iter().filter(|entry| entry.key.starts_with("p/v1/set/")).collect()
}

/// What all nodes serve of each MD.
fn leaves(world: &World) -> Vec<String> {
    let nodes = 0..world.nodes.len();
    let mds = 0..world.nodes[0].targets.len();
    mds.flat_map(|md| nodes.clone().map(move |node| (node, md)))
        .map(|(node, md)| world.leaf(node, md).unwrap().fingerprint)
        .collect()
}

/// The second generation of a set, renewed in time.
fn renewed(nodes: usize, mds: usize) -> World {
    let world = storm(nodes, mds);
    world.stage.leap(DAY * 65);
    world.wait_served(nodes * mds * 2, MINUTE * 5 + MINUTE * mds as u32);
    world
}

/// What each node reads in the engine of the first MD: the generation of its set.
fn generations(world: &World) -> Vec<Option<u64>> {
    let of = |node: &SimNode| {
        let state = node.node.state();
        state.view.set("d0.test").map(|set| set.value.generation)
    };
    world.nodes.iter().map(of).collect()
}

/// Nothing changes for half an hour: what is served, and what the CA was asked for.
fn assert_steady(world: &World, before: &[String], orders: usize) {
    world.pass(MINUTE * 30);
    assert_eq!(leaves(world), before);
    assert_eq!(world.orders(), orders);
}

#[test]
fn values_that_do_not_open_change_nothing_and_are_replaced() {
    let world = storm(3, 2);
    let before = leaves(&world);
    for entry in sets(&world) {
        for value in [b"".to_vec(), b"{}".to_vec(), b"\xff\0garbage".to_vec(), entry.value[..40].to_vec()] {
            write(&world, &entry.key, &value);
            world.pass(SECOND * 2);
        }
        let mut bit = entry.value.clone();
        let middle = bit.len() / 2;
        bit[middle] = if bit[middle] == b'A' { b'B' } else { b'A' };
        write(&world, &entry.key, &bit);
    }
    assert_steady(&world, &before, 2);
    assert_eq!(generations(&world), [Some(1); 3], "replaced");
    world.end();
}

#[test]
fn values_of_other_keys_change_nothing() {
    let world = storm(3, 2);
    let before = leaves(&world);
    let sets = sets(&world);
    write(&world, &sets[0].key, &sets[1].value);
    write(&world, &sets[1].key, &sets[0].value);
    assert_steady(&world, &before, 2);
    world.end();
}

#[test]
fn an_old_set_that_is_shown_again_is_not_taken() {
    let world = storm(3, 1);
    let old = sets(&world);
    // The old one is valid for longer: its generation alone tells.
    world.ca.rules(|rules| rules.lifetime = DAY * 15);
    world.stage.leap(DAY * 65);
    world.wait_served(6, MINUTE * 10);
    let before = leaves(&world);
    assert_eq!(generations(&world), [Some(2); 3]);
    // Nobody can put the new one back.
    let set_full =
        |is_full| world.nodes.iter().for_each(|node| node.handle.faults(|faults| faults.is_full = is_full));
    set_full(true);
    write(&world, &old[0].key, &old[0].value);
    world.pass(SECOND * 30);
    assert_eq!((leaves(&world), generations(&world)), (before.clone(), vec![Some(1); 3]));
    set_full(false);
    write(&world, &old[0].key, &old[0].value);
    assert_steady(&world, &before, 2);
    assert_eq!(generations(&world), [Some(2); 3], "published again");
    world.end();
}

#[test]
fn a_history_that_goes_back_takes_no_set_back() {
    let world = storm(3, 1);
    let old = world.memory.revision();
    world.stage.leap(DAY * 65);
    world.wait_served(6, MINUTE * 10);
    let before = leaves(&world);
    world.memory.go_back(old);
    assert_steady(&world, &before, 2);
    assert_eq!(generations(&world), [Some(2); 3], "published again");
    world.memory.go_back(Revision(world.memory.revision().0 - 1));
    assert_steady(&world, &before, 2);
    world.end();
}

#[test]
fn an_engine_that_lost_everything_gets_it_back_from_the_nodes() {
    let world = renewed(3, 2);
    let before = leaves(&world);
    world.memory.wipe();
    assert_steady(&world, &before, 4);
    assert_eq!((sets(&world).len(), generations(&world)), (2, vec![Some(2); 3]), "published again");
    world.end();
}

/// Whoever has the secret can write jobs: an order is the CA's own, or none.
#[test]
fn an_order_at_a_foreign_url_is_never_asked_for() {
    let mut world = World::new();
    let mds = vec![world.md("a.test")];
    let liar = world.add(mds).member.clone();
    let bare = Need { is_bare: true, ..Need::default() };
    // Before its own renewal has begun.
    let turn = world.stage.wait(SECOND * 5, || liar.begin("a.test", &bare).ok()).unwrap();
    let ca = world.ca.directory_url();
    let order = Some(SavedOrder::new("https://evil.test/order/1", "P-256", None));
    let spec = KeySpec::Ec("P-256".into());
    let keys = vec![(spec.clone(), PrivateKey::generate(&spec).unwrap())];
    let names = vec!["a.test".into()];
    let job = SharedJob { ca, names, order, keys, step: "finalize".into(), ..SharedJob::default() };
    turn.save(&job).unwrap();
    let mds = vec![world.md("a.test")];
    world.add(mds);
    world.pass(SECOND * 3);
    drop(turn);
    world.wait_served(2, MINUTE * 5);
    let asked = world.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(_, url)| url.starts_with("https://ca.test/")), "{asked:?}");
    assert!(!asked.is_empty());
    world.end();
}
