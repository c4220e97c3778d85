// SPDX-License-Identifier: Apache-2.0
//! Keys that an operator of the engine deletes while nodes follow its history, which tells of each; and problems
//! that pass.

use crate::lab::{CA, Lab, TestNode, account, fingerprint};
use mod_md::crypto::PrivateKey;
use mod_md::fleet::engine::{Engine, Transaction, Write};
use mod_md::fleet::key::META;
use mod_md::managed::peers::Peers;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn delete(lab: &Lab, keys: Vec<String>) {
    let handle = lab.engine.handle("p");
    for key in keys {
        handle.commit(&Transaction { when: Vec::new(), then: vec![Write::Delete { key }] }).unwrap();
    }
}

fn keys(lab: &Lab) -> Vec<String> {
    let page = lab.engine.handle("p").list("", None).unwrap();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

/// One renews, the other one has its set a second later.
fn renew(lab: &Lab, by: &mut TestNode, other: &mut TestNode) {
    let set = lab.set(&["a.test"]);
    by.begin("a.test").publish(&set).unwrap();
    lab.pass(SECOND, &mut [by, other]);
    assert_eq!(other.staged("a.test"), fingerprint(&set));
}

fn register(node: &TestNode) {
    let key = PrivateKey::generate(&mod_md::model::KeySpec::Ec("P-256".into())).unwrap();
    node.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
}

#[test]
fn the_key_that_hides_names_is_put_back_by_nodes_that_know_it() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let epoch = a.node.state().epoch.clone();
    delete(&lab, vec![META.into()]);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert!(keys(&lab).contains(&META.to_string()));
    let mut b = b.killed(&lab);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!((&a.node.state().epoch, &b.node.state().epoch), (&epoch, &epoch));
    renew(&lab, &mut a, &mut b);
    renew(&lab, &mut b, &mut a);
}

#[test]
fn nodes_follow_another_one_that_stands_in_the_place_of_a_deleted_key() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    renew(&lab, &mut a, &mut b);
    let epoch = a.node.state().epoch.clone();
    a.handle.faults(|faults| faults.is_read_only = true);
    delete(&lab, vec![META.into()]);
    // A process that has never known it.
    let mut b = b.killed(&lab);
    lab.pass(SECOND, &mut [&mut b]);
    a.handle.faults(|faults| faults.is_read_only = false);
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    assert_ne!(a.node.state().epoch, epoch);
    assert_eq!(a.node.state().epoch, b.node.state().epoch);
    renew(&lab, &mut a, &mut b);
    renew(&lab, &mut b, &mut a);
}

#[test]
fn nodes_sets_and_accounts_that_are_deleted_are_written_again() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    register(&a);
    renew(&lab, &mut a, &mut b);
    let before = keys(&lab);
    for part in ["v1/node/", "v1/set/", "v1/account/"] {
        assert!(before.iter().any(|key| key.starts_with(part)), "{part}: {before:?}");
    }
    delete(&lab, before.clone());
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    let is_lasting = |key: &&String| !key.ends_with("/applied");
    let lasting = |keys: &[String]| keys.iter().filter(is_lasting).cloned().collect::<Vec<_>>();
    assert_eq!(lasting(&keys(&lab)), lasting(&before));
}

#[test]
fn an_account_survives_the_loss_of_all_data_at_the_nodes_that_use_it() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    register(&a);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    lab.engine.wipe();
    lab.pass(SECOND * 3, &mut [&mut b]);
    let account = b.member.registering(CA, None).unwrap().account();
    assert_eq!(account.unwrap().json["url"], "https://ca.test/acct/1");
}

#[test]
fn a_problem_that_is_over_is_told_no_more() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    let told = |a: &TestNode| {
        let report: serde_json::Value = serde_json::from_str(&a.file("fleet/status.json").unwrap()).unwrap();
        (report["connected"].as_bool().unwrap(), report["problem"].as_str().map(str::to_string))
    };
    assert_eq!(told(&a), (true, None));
    lab.engine.faults(|faults| faults.is_full = true);
    lab.pass(SECOND * 30, &mut [&mut a]);
    let (connected, problem) = told(&a);
    assert!(connected && problem.unwrap().contains("takes no writes"));
    lab.engine.faults(|faults| faults.is_full = false);
    lab.pass(SECOND * 30, &mut [&mut a]);
    assert_eq!(told(&a), (true, None));
}
