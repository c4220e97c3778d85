// SPDX-License-Identifier: Apache-2.0
//! Sets and answers to challenges between nodes.

use crate::lab::{CA, Lab, NEED, TestNode, account, fingerprint, http_answer};
use mod_md::crypto::{PrivateKey, jws};
use mod_md::managed::peers::{Peers, SharedJob};
use mod_md::managed::saved_order::{Phase, SavedOrder};
use mod_md::model::KeySpec;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_set_that_one_node_publishes_all_have_in_staging_within_a_second() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test", "b.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert!(a.member.is_ready() && b.member.is_ready());
    let turn = a.begin("a.test");
    assert!(!turn.is_solo() && turn.job().is_none());
    turn.may_ask().unwrap();
    let waits = b.member.begin("a.test", &NEED).err().unwrap();
    assert_eq!(waits.node.as_deref(), Some("a"), "{waits:?}");
    let set = lab.set(&["a.test"]);
    turn.publish(&set).unwrap();
    drop(turn);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&set));
    assert_eq!(a.staged("a.test"), None, "the renewal that got it has staged it itself");
    let job = b.file("staging/a.test/job.json").unwrap();
    assert!(
        job.contains("\"notified-renewed\": true") && !job.contains("notified-activated\": true"),
        "{job}"
    );
    // The next one has a higher generation.
    let turn = b.begin("a.test");
    let next = lab.set(&["a.test"]);
    turn.publish(&next).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(a.staged("a.test"), fingerprint(&next));
    assert_eq!(a.node.state().view.set("a.test").unwrap().value.generation, 2);
}

/// An empty node that joins meanwhile would order what the engine does not have yet.
#[test]
fn many_sets_that_the_engine_does_not_have_are_published_without_a_pause() {
    let lab = Lab::new();
    let names: Vec<String> = (0..100).map(|n| format!("d{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut a = lab.node("a", &names);
    a.node.offer(names.iter().map(|name| (name.to_string(), lab.set(&[name]))).collect());
    lab.pass(SECOND * 2, &mut [&mut a]);
    let sets = lab.engine.dump().iter().filter(|entry| entry.key.contains("v1/set/")).count();
    assert_eq!(sets, names.len());
}

#[test]
fn an_answer_is_given_by_all_nodes_before_the_ca_is_asked_to_look() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    let registering = a.member.registering(CA, None).unwrap();
    assert!(registering.account().is_none());
    registering.may_ask().unwrap();
    registering.publish(&account(&key)).unwrap();
    drop(registering);
    let print = jws::thumbprint(&key).unwrap();
    let turn = a.begin("a.test");
    let answer = http_answer("a.test", &format!("token-1.{print}"));
    a.member.present(&answer).unwrap();
    let foreign = http_answer("b.test", "token-2.foreign");
    a.member.present(&foreign).unwrap();
    assert_eq!(a.member.await_presented("a.test"), ["b"], "it has not been told yet");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(b.file("challenges/a.test/acme-http-01.txt"), Some(answer.answer.clone()));
    assert_eq!(b.file("challenges/b.test/acme-http-01.txt"), None, "its account is none of the fleet's");
    assert_eq!(a.member.await_presented("a.test"), Vec::<String>::new());
    assert!(b.member.registering(CA, None).unwrap().account().is_some());
    a.member.withdraw_answers("a.test");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(b.file("challenges/a.test/acme-http-01.txt"), None);
    drop(turn);
}

#[test]
fn answers_of_a_dead_node_are_given_until_its_order_is_over() {
    let lab = Lab::new();
    let mds = ["a.test", "b.test"];
    let (mut a, mut b) = (lab.node("a", &mds), lab.node("b", &["a.test"]));
    // It does not have the MD.
    let mut c = lab.node("c", &["b.test"]);
    lab.pass(SECOND, &mut [&mut a, &mut b, &mut c]);
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    a.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
    let answer = http_answer("a.test", &format!("token.{}", jws::thumbprint(&key).unwrap()));
    let turn = a.begin("a.test");
    let url = "https://ca.test/order/1".into();
    let order = SavedOrder { url, key: "P-256".into(), expires: None, phase: Phase::Placed };
    let job = SharedJob { ca: CA.into(), order: Some(order), ..SharedJob::default() };
    turn.save(&job).unwrap();
    a.member.present(&answer).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b, &mut c]);
    let has = |node: &TestNode| node.file("challenges/a.test/acme-http-01.txt").is_some();
    assert!(has(&b) && has(&c));
    lab.pass(SECOND * 40, &mut [&mut b, &mut c]);
    assert!(b.node.state().view.challenges().next().is_none(), "its lease has ended");
    assert!(has(&b) && has(&c), "the CA may come for it");
    // Another process reads everything again.
    let mut c = c.killed(&lab);
    lab.pass(SECOND, &mut [&mut b, &mut c]);
    assert!(has(&c));
    let next = b.begin("a.test");
    b.member.present(&answer).unwrap();
    lab.pass(SECOND, &mut [&mut b, &mut c]);
    assert!(has(&b) && has(&c));
    next.publish(&lab.set(&["a.test"])).unwrap();
    b.member.withdraw_answers("a.test");
    lab.pass(SECOND * 2, &mut [&mut b, &mut c]);
    assert!(!has(&c));
    drop(turn);
}

#[test]
fn a_dead_node_loses_its_lock_and_the_next_one_goes_on_with_its_job() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let turn = a.begin("a.test");
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    let keys = vec![(KeySpec::Ec("P-256".into()), key.clone())];
    turn.save(&SharedJob {
        ca: CA.into(),
        names: vec!["a.test".into()],
        keys,
        step: "s".into(),
        ..SharedJob::default()
    })
    .unwrap();
    // It is frozen: nothing of it is dropped.
    lab.pass(SECOND * 40, &mut [&mut b]);
    let next = b.begin("a.test");
    assert_eq!(next.job().unwrap().keys.len(), 1);
    assert!(next.job().unwrap().keys[0].1.public_der().unwrap() == key.public_der().unwrap());
    assert!(turn.may_ask().is_err() && turn.save(&SharedJob::default()).is_err());
    assert!(turn.publish(&lab.set(&["a.test"])).is_err());
    let set = lab.set(&["a.test"]);
    next.publish(&set).unwrap();
    drop((turn, next));
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    assert_eq!(a.staged("a.test"), fingerprint(&set));
    assert!(b.node.state().view.job("a.test").is_none());
}

#[test]
fn the_process_that_follows_takes_lease_locks_and_jobs_over() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let turn = a.begin("a.test");
    let id = a.node.state().me.clone();
    std::mem::forget(turn);
    let mut a = a.killed(&lab);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(a.node.state().me, id);
    let turn = a.begin("a.test");
    turn.may_ask().unwrap();
    turn.publish(&lab.set(&["a.test"])).unwrap();
}
