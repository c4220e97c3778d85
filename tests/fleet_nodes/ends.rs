// SPDX-License-Identifier: Apache-2.0
//! Processes, disks and engines that fail.

use crate::lab::{CA, Lab, NEED, account, fingerprint, http_answer};
use mod_md::crypto::{PrivateKey, jws};
use mod_md::managed::peers::Peers;
use mod_md::model::KeySpec;
use mod_md::store::Fuse;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_process_that_dies_at_any_step_of_writing_a_set_leaves_it_to_the_next() {
    let mut steps = 0;
    loop {
        let lab = Lab::new();
        let fuse = Fuse::after(usize::MAX);
        let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node_with("b", &["a.test"], fuse.clone()));
        lab.pass(SECOND, &mut [&mut a, &mut b]);
        let set = lab.set(&["a.test"]);
        a.begin("a.test").publish(&set).unwrap();
        fuse.blow_after(steps);
        lab.pass(SECOND, &mut [&mut b]);
        let is_over = !fuse.is_blown();
        let me = b.node.state().me.clone();
        fuse.mend();
        let mut b = b.killed(&lab);
        lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
        assert_eq!(b.staged("a.test"), fingerprint(&set), "after {steps} steps");
        assert_eq!(b.node.state().me, me, "after {steps} steps");
        if is_over {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
}

#[test]
fn a_disk_that_is_full_for_a_while_has_the_set_later() {
    let lab = Lab::new();
    let fuse = Fuse::after(usize::MAX);
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node_with("b", &["a.test"], fuse.clone()));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    a.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
    fuse.blow();
    let turn = a.begin("a.test");
    let answer = http_answer("a.test", &format!("token.{}", jws::thumbprint(&key).unwrap()));
    a.member.present(&answer).unwrap();
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    assert_eq!(a.member.await_presented("a.test"), ["b"], "it cannot give the answer, and does not say so");
    let set = lab.set(&["a.test"]);
    turn.publish(&set).unwrap();
    lab.pass(SECOND * 20, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), None);
    fuse.mend();
    lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&set));
    assert_eq!(a.member.await_presented("a.test"), Vec::<String>::new());
}

#[test]
fn a_lease_that_ends_between_order_and_publication_leaves_the_set_to_the_next_turn() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let turn = a.begin("a.test");
    turn.may_ask().unwrap();
    // The machine sleeps.
    lab.clock.advance(SECOND * 31);
    let set = lab.set(&["a.test"]);
    assert!(turn.may_ask().is_err() && turn.publish(&set).is_err());
    drop(turn);
    lab.pass(SECOND * 2, &mut [&mut a, &mut b]);
    a.begin("a.test").publish(&set).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&set));
}

#[test]
fn a_publication_whose_answer_is_lost_is_one_all_the_same() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let (turn, set) = (a.begin("a.test"), lab.set(&["a.test"]));
    a.handle.faults(|faults| faults.answers_lost = true);
    assert!(turn.publish(&set).is_err(), "nobody has said so for as long as the lease is certain");
    a.handle.faults(|faults| faults.answers_lost = false);
    drop(turn);
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    assert_eq!((a.staged("a.test"), b.staged("a.test")), (fingerprint(&set), fingerprint(&set)));
    assert_eq!(b.node.state().view.set("a.test").unwrap().value.generation, 1);
}

#[test]
fn a_publication_that_the_watch_tells_before_its_answer_is_no_set_of_another() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    let (turn, set) = (a.begin("a.test"), lab.set(&["a.test"]));
    a.handle.faults(|faults| faults.answers_lost = true);
    turn.publish(&set).unwrap_err();
    a.handle.faults(|faults| faults.answers_lost = false);
    a.replicator.step();
    lab.clock.advance(SECOND * 2);
    a.replicator.step();
    assert_eq!(a.node.state().view.set("a.test").unwrap().value.generation, 1);
    turn.publish(&set).unwrap();
    turn.publish(&lab.set(&["a.test"])).unwrap_err();
}

#[test]
fn an_engine_that_is_away_is_told_and_joined_again_with_what_was_renewed_alone() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    a.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    lab.engine.faults(|faults| faults.is_away = true);
    lab.pass(SECOND * 70, &mut [&mut a, &mut b]);
    for node in [&a, &b] {
        assert!(node.member.begin("a.test", &NEED).is_err(), "not yet");
        let report = node.file("fleet/status.json").unwrap();
        assert!(report.contains("\"connected\": false") && report.contains("cannot be reached"), "{report}");
    }
    // Its turn is the first or the second of each twenty minutes.
    let in_turn = (0..26).find_map(|_| {
        lab.pass(SECOND * 100, &mut [&mut a, &mut b]);
        b.member.begin("a.test", &NEED).ok()
    });
    let (turn, set) = (in_turn.unwrap(), lab.set(&["a.test"]));
    assert!(turn.is_solo());
    turn.may_ask().unwrap();
    turn.publish(&set).unwrap();
    drop(turn);
    lab.engine.faults(|faults| faults.is_away = false);
    lab.pass(SECOND * 30, &mut [&mut a, &mut b]);
    assert_eq!(a.staged("a.test"), fingerprint(&set), "its generation is higher");
    assert_eq!(a.node.state().view.set("a.test").unwrap().value.generation, 2);
    assert!(a.file("fleet/status.json").unwrap().contains("\"connected\": true"));
}

#[test]
fn a_history_with_a_gap_is_read_as_a_whole() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    b.handle.faults(|faults| faults.is_away = true);
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    let set = lab.set(&["a.test"]);
    a.begin("a.test").publish(&set).unwrap();
    lab.engine.compact();
    b.handle.faults(|faults| faults.is_away = false);
    lab.pass(SECOND * 10, &mut [&mut a, &mut b]);
    assert_eq!(b.staged("a.test"), fingerprint(&set));
}

#[test]
fn of_a_store_that_was_copied_one_is_a_new_node_and_both_go_on() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND * 2, &mut [&mut a]);
    let id = a.node.state().me.clone();
    let copy = a.dir.path().join("copy");
    std::process::Command::new("cp").arg("-a").arg(&a.path).arg(&copy).status().unwrap();
    let store = mod_md::store::StartStore::open_existing(&copy).unwrap().worker();
    let mut b = lab.process("b", &["a.test"], copy, store, a.dir.clone());
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    let ids = [a.node.state().me.clone(), b.node.state().me.clone()];
    assert!(ids[0] == id && ids[1] != id, "{id} {ids:?}");
    assert_eq!(a.node.state().view.nodes().count(), 2);
    let turn = a.begin("a.test");
    assert_eq!(b.member.begin("a.test", &NEED).err().unwrap().node.as_deref(), Some("a"));
    turn.publish(&lab.set(&["a.test"])).unwrap();
}

#[test]
fn two_processes_with_one_id_do_not_keep_it() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND * 2, &mut [&mut a]);
    // A snapshot of the machine: even the place of the store is the same.
    let mds: Vec<&str> = a.mds.iter().map(String::as_str).collect();
    let twin = lab.process("twin", &mds, a.path.clone(), a.store.clone(), a.dir.clone());
    a.node.setup.local.release();
    let mut twin = twin;
    twin.step();
    // Both have the lock of what is one machine's no more.
    std::fs::remove_file(a.path.join("fleet/lock")).unwrap();
    lab.pass(SECOND * 5, &mut [&mut a]);
    std::fs::remove_file(a.path.join("fleet/lock")).unwrap();
    lab.pass(SECOND * 5, &mut [&mut twin]);
    assert_ne!(a.node.state().me, twin.node.state().me);
}

#[test]
fn a_second_process_on_a_store_renews_nothing_and_takes_over_when_the_first_ends() {
    let lab = Lab::new();
    let mut a = lab.node("a", &["a.test"]);
    lab.pass(SECOND, &mut [&mut a]);
    let mut second = lab.process("a", &["a.test"], a.path.clone(), a.store.clone(), a.dir.clone());
    lab.pass(SECOND * 2, &mut [&mut a, &mut second]);
    assert!(!second.member.is_ready());
    let waits = second.member.begin("a.test", &NEED).err().unwrap();
    assert!(waits.reason.contains("replicates this store"), "{waits:?}");
    lab.pass(SECOND * 60, &mut [&mut a, &mut second]);
    assert!(second.member.is_ready(), "it has waited long enough to know");
    a.replicator.stop(false);
    lab.pass(SECOND * 3, &mut [&mut second]);
    assert_eq!(second.node.state().me, a.node.state().me);
    second.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
}

#[test]
fn the_last_process_of_an_httpd_ends_its_lease() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    a.replicator.stop(true);
    lab.pass(SECOND, &mut [&mut b]);
    assert_eq!(b.node.state().view.nodes().count(), 1);
}

#[test]
fn locks_whose_end_the_engine_does_not_tell_are_found_free() {
    let lab = Lab::new();
    lab.engine.leave_ends_untold();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let turn = a.begin("a.test");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert!(b.member.begin("a.test", &NEED).is_err());
    lab.pass(SECOND * 40, &mut [&mut b]);
    let _ = b.member.begin("a.test", &NEED);
    b.begin("a.test").publish(&lab.set(&["a.test"])).unwrap();
    assert!(turn.may_ask().is_err());
}

/// Whatever the clock says, the engine is not away because nobody asked it.
#[test]
fn after_hours_of_sleep_a_node_renews_nothing_alone_before_it_has_tried_the_engine_for_long() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let is_solo =
        |node: &crate::lab::TestNode| node.member.begin("a.test", &NEED).is_ok_and(|turn| turn.is_solo());
    lab.clock.advance(SECOND * 3600 * 3);
    assert!(!is_solo(&a));
    lab.pass(SECOND * 5, &mut [&mut a, &mut b]);
    assert!(!a.begin("a.test").is_solo());
    // It wakes up where it reaches nobody: the ten minutes begin there.
    a.handle.faults(|faults| faults.is_away = true);
    lab.clock.advance(SECOND * 3600 * 3);
    lab.pass(SECOND * 20, &mut [&mut a]);
    let report = a.file("fleet/status.json").unwrap();
    assert!(!is_solo(&a) && report.contains("\"connected\": false"), "{report}");
    lab.pass(SECOND * 560, &mut [&mut a]);
    assert!(!is_solo(&a));
    // Its turn is the first or the second of each twenty minutes.
    let is_in_turn = |a: &mut crate::lab::TestNode| {
        lab.pass(SECOND * 100, &mut [a]);
        is_solo(a)
    };
    assert!((0..13).any(|_| is_in_turn(&mut a)));
}

/// Both answer for the same order.
#[test]
fn a_node_that_wakes_up_leaves_the_answers_of_the_one_that_goes_on() {
    for attempt_ends_first in [false, true] {
        let lab = Lab::new();
        let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
        lab.pass(SECOND, &mut [&mut a, &mut b]);
        let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
        a.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
        let turn = a.begin("a.test");
        let answer = http_answer("a.test", &format!("token.{}", jws::thumbprint(&key).unwrap()));
        a.node.setup.local.put_answer(&answer, a.node.now()).unwrap();
        a.member.present(&answer).unwrap();
        lab.pass(SECOND, &mut [&mut a, &mut b]);
        lab.pass(SECOND * 40, &mut [&mut b]);
        let next = b.begin("a.test");
        b.member.present(&answer).unwrap();
        if attempt_ends_first {
            a.member.withdraw_answers("a.test");
        }
        lab.pass(SECOND * 3, &mut [&mut a, &mut b]);
        assert_eq!(b.node.state().view.challenges().count(), 1, "{attempt_ends_first}");
        assert_eq!(a.file("challenges/a.test/acme-http-01.txt"), Some(answer.answer.clone()));
        assert!(turn.check().is_err() && next.check().is_ok());
        b.member.withdraw_answers("a.test");
        lab.pass(SECOND, &mut [&mut a, &mut b]);
        assert_eq!(a.file("challenges/a.test/acme-http-01.txt"), None);
    }
}

#[test]
fn who_takes_an_answer_back_leaves_that_which_another_node_has_written_since() {
    let lab = Lab::new();
    let (mut a, mut b) = (lab.node("a", &["a.test"]), lab.node("b", &["a.test"]));
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    a.member.registering(CA, None).unwrap().publish(&account(&key)).unwrap();
    let answer = http_answer("a.test", &format!("token.{}", jws::thumbprint(&key).unwrap()));
    for node in [&a, &b] {
        node.member.present(&answer).unwrap();
    }
    a.member.withdraw_answers("a.test");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(a.node.state().view.challenges().count(), 1);
    b.member.withdraw_answers("a.test");
    lab.pass(SECOND, &mut [&mut a, &mut b]);
    assert_eq!(a.node.state().view.challenges().count(), 0);
}

/// It is no copy of itself.
#[test]
fn processes_that_die_at_any_step_of_their_begin_are_one_node() {
    for steps in 0..40 {
        let lab = Lab::new();
        let fuse = Fuse::after(usize::MAX);
        let mut a = lab.node_with("a", &["a.test"], fuse.clone());
        lab.pass(SECOND * 2, &mut [&mut a]);
        let id = a.node.state().me.clone();
        // The next one reaches its disk so often, and another one the engine not.
        let mut a = a.killed(&lab);
        fuse.blow_after(steps);
        a.step();
        fuse.mend();
        let mut a = a.killed(&lab);
        a.handle.faults(|faults| faults.is_full = true);
        lab.pass(SECOND, &mut [&mut a]);
        let mut a = a.killed(&lab);
        lab.pass(SECOND * 2, &mut [&mut a]);
        assert_eq!(a.node.state().me, id, "{steps} steps");
    }
}
