// SPDX-License-Identifier: Apache-2.0
//! What a node may do once it has the engine again: a lease that is granted anew, an engine that has lost its data
//! or gone back, give no right that the lease before had.

use crate::lab::{CA, Lab, NEED, TestNode, account, http_answer};
use mod_md::crypto::{PrivateKey, jws};
use mod_md::managed::peers::Peers;
use mod_md::model::KeySpec;
use mod_md::store::Fuse;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn key() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap()
}

/// The node is cut off until its lease has ended. Then its leases are granted again, and nothing else is answered:
/// as in a long listing, it does not know yet who has its locks.
fn cut_off(lab: &Lab, node: &mut TestNode, others: &mut TestNode) {
    node.handle.faults(|faults| faults.is_away = true);
    lab.pass(SECOND * 40, &mut [node, others]);
    node.handle.faults(|faults| (faults.is_away, faults.values_garbled) = (false, true));
}

#[test]
fn a_lease_that_is_granted_again_does_not_give_its_locks_back() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let turn = a.begin("a.test");
    turn.may_ask().unwrap();
    cut_off(&lab, &mut a, &mut b);
    let other = b.begin("a.test");
    for _ in 0..40 {
        lab.pass(SECOND / 2, &mut [&mut a, &mut b]);
        assert!(turn.may_ask().is_err(), "both ask the CA");
    }
    other.may_ask().unwrap();
    a.handle.faults(|faults| faults.values_garbled = false);
    lab.pass(SECOND * 20, &mut [&mut a, &mut b]);
    assert!(turn.may_ask().is_err());
    drop(turn);
    other.publish(&lab.set(&["a.test"])).unwrap();
}

#[test]
fn a_lease_that_is_granted_again_registers_no_account() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let registering = a.member.registering(CA, None).unwrap();
    registering.may_ask().unwrap();
    cut_off(&lab, &mut a, &mut b);
    let other = b.member.registering(CA, None).unwrap();
    for _ in 0..40 {
        lab.pass(SECOND / 2, &mut [&mut a, &mut b]);
        assert!(registering.may_ask().is_err(), "both register");
    }
    other.may_ask().unwrap();
    other.publish(&account(&key())).unwrap();
}

#[test]
fn of_nodes_whose_account_is_gone_at_the_ca_one_registers_another() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    a.member.registering(CA, None).unwrap().publish(&account(&key())).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let (of_a, of_b) = (a.member.registering(CA, None).unwrap(), b.member.registering(CA, None).unwrap());
    assert!(of_a.account().is_some() && of_b.account().is_some());
    of_a.may_ask().unwrap();
    assert!(of_b.may_ask().is_err(), "both register");
    let new = key();
    of_a.publish(&account(&new)).unwrap();
    assert!(of_b.may_ask().is_err(), "it does not know of the new one");
    drop((of_a, of_b));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let found = b.member.registering(CA, None).unwrap().account().unwrap();
    assert_eq!(found.key.public_der().unwrap(), new.public_der().unwrap());
}

#[test]
fn a_lock_that_the_engine_has_lost_is_no_longer_held() {
    for is_wiped in [true, false] {
        let lab = Lab::new();
        let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
        lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
        let before = lab.engine.revision();
        // The lock has a revision that the engine does not reach again soon.
        for count in 0..30 {
            b.member.present(&http_answer("b.test", &format!("t{count}.print"))).unwrap();
        }
        lab.pass(SECOND, &mut [&mut a, &mut b]);
        let turn = a.begin("a.test");
        turn.may_ask().unwrap();
        match is_wiped {
            true => lab.engine.wipe(),
            false => lab.engine.go_back(before),
        }
        lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
        let other = match b.member.begin("a.test", &NEED) {
            Ok(other) => other,
            Err(not_now) => panic!("wiped: {is_wiped} {not_now:?}"),
        };
        other.may_ask().unwrap();
        assert!(turn.may_ask().is_err(), "wiped: {is_wiped}: both ask the CA");
    }
}

#[test]
fn what_a_node_had_applied_of_a_history_that_is_lost_counts_no_more() {
    let lab = Lab::new();
    let fuse = Fuse::after(usize::MAX);
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node_with("b", &["a.test"], fuse.clone()));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let key = key();
    a.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let before = lab.engine.revision();
    let print = jws::thumbprint(&key).unwrap();
    for count in 0..60 {
        a.member.present(&http_answer("a.test", &format!("t{count}.{print}"))).unwrap();
    }
    a.member.withdraw_answers("a.test");
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    lab.engine.go_back(before);
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    fuse.blow();
    let _turn = a.begin("a.test");
    a.member.present(&http_answer("a.test", &format!("late.{print}"))).unwrap();
    assert!(lab.engine.revision().0 < before.0 + 60, "{:?}", lab.engine.revision());
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(a.member.await_presented("a.test"), ["b"], "it has not this answer");
}

#[test]
fn a_copy_of_a_store_remembers_which_sets_were_seen_and_withdrawn() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    b.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    let copy = a.dir.path().join("copy");
    std::process::Command::new("cp").arg("-a").arg(&a.path).arg(&copy).status().unwrap();
    let store = mod_md::store::StartStore::open_existing(&copy).unwrap().worker();
    let mut c = lab.process("c", &["a.test"], copy, store, a.dir.clone());
    c.handle.faults(|faults| faults.is_away = true);
    lab.pass(SECOND, &mut [&mut a, &mut b, &mut c]);
    let (of_a, of_c) = (a.node.state(), c.node.state());
    assert!(!of_c.me.is_empty() && of_c.me != of_a.me && of_c.lease != of_a.lease);
    assert_eq!(of_c.highest("a.test"), 1, "an older set would be taken");
    assert_eq!((&of_c.withdrawn, &of_c.epoch), (&of_a.withdrawn, &of_a.epoch));
}

#[test]
fn a_lock_of_another_node_at_the_same_revision_is_not_held() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    let before = lab.engine.revision();
    let turn = a.begin("a.test");
    // A failover loses the last write, and gives its revision to the next.
    lab.engine.go_back(before);
    let other = b.begin("a.test");
    assert_eq!(lab.engine.revision().0, before.0 + 1);
    lab.engine.compact();
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    assert!(turn.may_ask().is_err(), "both ask the CA");
    assert!(turn.publish(&lab.set(&["a.test"])).is_err());
    other.may_ask().unwrap();
    other.publish(&lab.set(&["a.test"])).unwrap();
}
