// SPDX-License-Identifier: Apache-2.0
//! A CA that stands still is noticed.

use crate::run::ca::Pulse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::{Pebble, RaisedAtEnd, SOON, open_lab, wait_for};

#[test]
fn a_ca_that_answers_nothing_is_told_from_one_that_does() {
    let Some(lab) = open_lab!() else { return };
    let pebble = Pebble::start(&lab);
    let (pulse, done) = (Pulse::new(), AtomicBool::new(false));
    let silent = |long| wait_for("the silence", SOON, || (pulse.silence() > long).then_some(()));
    let answers = || pulse.silence() < Duration::from_millis(900);
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&done);
        silent(Duration::from_secs(1));
        scope.spawn(|| pulse.feel(pebble.management(), &done));
        wait_for("an answer", SOON, || answers().then_some(()));
        pebble.hold();
        silent(Duration::from_secs(3));
        pebble.go_on();
        wait_for("another answer", SOON, || answers().then_some(()));
        assert!(!done.load(Ordering::Relaxed));
    });
}
