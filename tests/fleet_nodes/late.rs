// SPDX-License-Identifier: Apache-2.0
//! Transactions that time out and are carried out later, after newer ones: nothing goes back.

use crate::lab::{Lab, TestNode, http_answer};
use mod_md::fleet::engine::Committed;
use mod_md::fleet::key::Key;
use mod_md::managed::peers::{Peers, SharedJob};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What the engine has carried out of it, now.
fn carry_out(lab: &Lab) -> usize {
    let outcomes = lab.engine.carry_out_late();
    assert!(!outcomes.is_empty(), "nothing was late");
    outcomes.iter().filter(|outcome| matches!(outcome, Ok(Committed::Done(_)))).count()
}

#[test]
fn an_older_presence_is_not_written_over_a_newer_one() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    // The very first one.
    b.step();
    a.handle.be_late(1);
    a.step();
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    assert_eq!(carry_out(&lab), 0);
    // It acknowledges an older revision.
    lab.pass(SECOND * 16, &mut [&mut a, &mut b]);
    lab.clock.advance(SECOND * 4);
    a.handle.be_late(1);
    a.step();
    lab.pass(SECOND, &mut [&mut b]);
    let _turn = b.begin("a.test");
    b.member.present(&http_answer("a.test", "token.print")).unwrap();
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    let applied = |b: &TestNode| b.node.state().view.node(&a.node.state().me).unwrap().applied;
    let before = applied(&b);
    assert_eq!(carry_out(&lab), 0);
    lab.pass(SECOND, &mut [&mut b]);
    assert_eq!(applied(&b), before);
}

#[test]
fn an_older_state_of_a_renewal_is_not_written_over_a_newer_one() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    let turn = a.begin("a.test");
    let job = |step: &str| SharedJob { step: step.into(), ..SharedJob::default() };
    turn.save(&job("first")).unwrap();
    a.handle.be_late(1);
    turn.save(&job("second")).unwrap();
    turn.save(&job("third")).unwrap();
    assert_eq!(carry_out(&lab), 0);
    a.node.look_up(&Key::Job("a.test".into())).unwrap();
    assert_eq!(a.node.state().view.job("a.test").unwrap().value.0.step, "third");
}

#[test]
fn an_answer_that_is_given_again_is_not_taken_back_late_and_no_late_one_stays() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let answer = http_answer("a.test", "token.print");
    let has = |b: &TestNode| b.node.state().view.challenges().count();
    let turn = a.begin("a.test");
    a.member.present(&answer).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    a.handle.be_late(1);
    a.member.withdraw_answers("a.test");
    a.step();
    a.member.present(&answer).unwrap();
    assert_eq!(carry_out(&lab), 0);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(has(&b), 1);
    a.member.withdraw_answers("a.test");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(has(&b), 0);
    // Written late, where there is none: as wanted as ever.
    a.handle.be_late(1);
    a.member.present(&answer).unwrap();
    a.member.withdraw_answers("a.test");
    a.step();
    drop(turn);
    assert_eq!(carry_out(&lab), 1);
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(has(&b), 0, "no renewal wants it");
}
