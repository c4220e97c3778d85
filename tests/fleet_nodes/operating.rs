// SPDX-License-Identifier: Apache-2.0
//! What operators do: requests of `a2md fleet`, restores, sets from before the fleet.

use crate::lab::{Lab, TestNode, fingerprint};
use mod_md::managed::peers::Peers;
use mod_md::managed::withdrawn::{self, Entry, Why};
use mod_md::model::{FleetOp, FleetRequest};
use mod_md::time::Clock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn ask(lab: &Lab, node: &TestNode, id: &str, op: FleetOp) {
    let request = FleetRequest { id: id.into(), op, time: lab.clock.now(), by: "user 0 (test)".into() };
    node.start().write_fleet_request(&request.to_json()).unwrap();
}

fn answer(node: &TestNode) -> String {
    let report: serde_json::Value = serde_json::from_str(&node.file("fleet/status.json").unwrap()).unwrap();
    report["answer"].to_string()
}

#[test]
fn what_a_dead_node_left_is_removed_on_request_and_a_live_one_is_not() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["b.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    ask(&lab, &a, "1", FleetOp::Evict { node: "b".into() });
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    assert!(answer(&a).contains("refused") && answer(&a).contains("is live"), "{}", answer(&a));
    b.replicator.stop(true);
    let gone = b.node.state().me.clone();
    lab.pass(SECOND * 3, &mut [&mut a]);
    ask(&lab, &a, "2", FleetOp::Evict { node: gone });
    lab.pass(SECOND * 3, &mut [&mut a]);
    assert!(answer(&a).contains("done") && answer(&a).contains("removed"), "{}", answer(&a));
}

#[test]
fn all_is_read_again_on_request() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    ask(&lab, &a, "1", FleetOp::Resync);
    lab.pass(SECOND * 3, &mut [&mut a]);
    assert!(answer(&a).contains("done"), "{}", answer(&a));
    assert!(a.node.state().is_joined);
}

#[test]
fn values_of_the_former_secret_are_sealed_again_on_request() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    a.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
    a.replicator.stop(true);
    let mut a = a.killed_with(&lab, &[2, 1]);
    lab.pass(SECOND * 2, &mut [&mut a]);
    ask(&lab, &a, "1", FleetOp::Rekey);
    lab.pass(SECOND * 3, &mut [&mut a]);
    assert!(answer(&a).contains("sealed 2 values again"), "{}", answer(&a));
    a.replicator.stop(true);
    let mut a = a.killed_with(&lab, &[2]);
    lab.pass(SECOND * 2, &mut [&mut a]);
    assert!(a.node.state().view.set("a.test").is_some(), "{:?}", a.node.state().problem);
}

#[test]
fn a_node_without_the_secret_serves_on_and_writes_nothing() {
    let lab = Lab::new();
    let (mut a, b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a]);
    let revision = lab.engine.revision();
    let mut b = b.killed_with(&lab, &[7]);
    lab.pass(SECOND * 5, &mut [&mut b]);
    assert_eq!(lab.engine.revision(), revision);
    let report = b.file("fleet/status.json").unwrap();
    assert!(report.contains("another secret"), "{report}");
    lab.pass(SECOND * 60, &mut [&mut b]);
    assert!(b.member.is_ready(), "as if the engine were away");
}

#[test]
fn a_set_that_an_operator_has_withdrawn_is_used_by_no_node_again() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    b.handle.faults(|faults| faults.is_away = true);
    let set = lab.set(&["a.test"]);
    a.begin("a.test").publish(&set).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a]);
    let entry = Entry::new(set.certs[0].chain.leaf(), Why::Revoked, false, lab.clock.now());
    withdrawn::change(&a.start(), "a.test", lab.clock.now(), |withdrawn| withdrawn.add(entry)).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a]);
    b.handle.faults(|faults| faults.is_away = false);
    lab.pass(SECOND * 20, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), None);
    // The engine loses what it knew; the nodes do not.
    lab.engine.wipe();
    lab.pass(SECOND * 40, &mut [&mut a, &mut b]);
    assert!(b.node.state().view.withdrawn("a.test").is_some(), "it is published again");
    assert!(b.node.state().view.set("a.test").is_none(), "the set is not");
    let next = lab.set(&["a.test"]);
    a.begin("a.test").publish(&next).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&next));
}

#[test]
fn sets_from_before_the_fleet_are_shared_and_the_later_one_wins() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    let early = lab.set(&["a.test"]);
    std::thread::sleep(Duration::from_millis(1100)); // certificates have whole seconds
    let late = lab.set(&["a.test"]);
    a.node.offer(vec![("a.test".into(), early)]);
    b.node.offer(vec![("a.test".into(), late.clone())]);
    lab.pass(SECOND * 10, &mut [&mut a, &mut b]);
    assert_eq!(a.staged("a.test"), fingerprint(&late));
    assert_eq!(b.staged("a.test"), None);
    assert_eq!(a.node.state().view.set("a.test").unwrap().value.generation, 1);
}

#[test]
fn a_set_that_was_restored_replaces_the_one_that_was_withdrawn() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let (old, new) = (lab.set(&["a.test"]), lab.set(&["a.test"]));
    a.begin("a.test").publish(&old).unwrap();
    a.begin("a.test").publish(&new).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    // A start brings the former set into use, and notes what it replaces.
    let entry = Entry::new(new.certs[0].chain.leaf(), Why::Replaced, false, lab.clock.now());
    withdrawn::change(&a.start(), "a.test", lab.clock.now(), |withdrawn| withdrawn.add(entry)).unwrap();
    a.replicator.stop(false);
    let mut a = a.killed(&lab);
    a.node.offer(vec![("a.test".into(), old.clone())]);
    lab.pass(SECOND * 10, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&old));
    assert_eq!(b.node.state().view.set("a.test").unwrap().value.generation, 3);
}

#[test]
fn a_set_that_was_only_refused_here_is_not_replaced_by_the_one_in_use() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    let old = lab.set(&["a.test"]);
    std::thread::sleep(Duration::from_millis(1100));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let new = lab.set(&["a.test"]);
    a.begin("a.test").publish(&new).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    b.replicator.stop(false);
    let mut b = b.killed(&lab);
    b.node.offer(vec![("a.test".into(), old)]);
    lab.pass(SECOND * 10, &mut [&mut a, &mut b]);
    assert_eq!(a.node.state().view.set("a.test").unwrap().value.generation, 1);
}
