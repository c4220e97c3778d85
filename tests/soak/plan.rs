// SPDX-License-Identifier: Apache-2.0
//! The schedule of faults.

use crate::run::plan::*;
use std::time::Duration;

const PACE: Pace = Pace {
    outage: Duration::from_secs(20),
    quiet: Duration::from_secs(40),
    between_restarts: Duration::from_secs(3),
};

#[test]
fn each_round_has_every_fault_in_an_order_of_its_own() {
    let two = length(&ROUND, &PACE) * 2 - PACE.quiet;
    let turns = schedule(7, &ROUND, &PACE, two);
    assert_eq!(turns.len(), 2 * ROUND.len());
    let faults = |turns: &[Turn]| turns.iter().map(|turn| turn.fault).collect::<Vec<_>>();
    let (first, second) = (faults(&turns[..ROUND.len()]), faults(&turns[ROUND.len()..]));
    assert_ne!(first, second);
    for order in [first, second] {
        let (mut order, mut all) = (order, ROUND.to_vec());
        order.sort_unstable();
        all.sort_unstable();
        assert_eq!(order, all);
    }
    assert!(ROUND.iter().all(|fault| EACH.contains(fault)));
    let calm: Vec<_> = EACH.into_iter().filter(|fault| !fault.ends_children()).collect();
    assert_eq!(calm, CALM);
}

#[test]
fn a_seed_is_a_schedule() {
    let of = |seed| schedule(seed, &ROUND, &PACE, Duration::from_secs(3600));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_quiet_phase_is_before_and_after_each_fault() {
    let total = Duration::from_secs(1000);
    let turns = schedule(3, &ROUND, &PACE, total);
    assert_eq!(turns[0].at, PACE.quiet);
    for pair in turns.windows(2) {
        assert_eq!(pair[0].at + pair[0].lasts + PACE.quiet, pair[1].at);
    }
    let last = turns.last().unwrap();
    assert!(last.at + last.lasts + PACE.quiet <= total);
    assert!(schedule(3, &ROUND, &PACE, PACE.quiet).is_empty());
    assert!(schedule(3, &[], &PACE, total).is_empty());
}
