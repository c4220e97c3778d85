// SPDX-License-Identifier: Apache-2.0
//! When a node renews by itself while the engine is away (rule 6). Time is divided into turns of ten minutes,
//! which the nodes take one after the other by their rank. No node learns of the failures of others: each counts on
//! all of them to fail as it does, and waits so long that all together try about twice as often as one would at
//! most. Pure; imports nothing of the fleet.

use crate::backoff;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// Without the engine, one node after the other.
pub const APART: Duration = Duration::from_secs(600);
/// The wait of one node after its first failure, as `MDRetryDelay` has it where nothing is configured.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// This node among those that have an MD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// In the order in which they renew (`asks::place`).
    pub place: u32,
    /// How many they are, as far as is known, with this one.
    pub nodes: u32,
    /// Of this node by itself, in a row.
    pub failures: u32,
    /// When the last of these tries began. `None`: another one is under way.
    pub failed_at: Option<Timestamp>,
}

/// When the next try is due. `from`: when the first turn of the first node begins; `end`: that of the certificate
/// in use, where clients accept it.
pub fn due(alone: &Alone, from: Timestamp, end: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let (nodes, first) = (alone.nodes.max(1), from.plus(APART.saturating_mul(alone.place)));
    let earliest = match (alone.failures, alone.failed_at) {
        (0, _) => first,
        (_, None) => return now,
        (failures, Some(at)) => first.max(at.min(now).plus(pause(nodes, failures, end, now))),
    };
    if nodes == 1 {
        return earliest;
    }
    turn(earliest.max(now), first, APART.saturating_mul(nodes))
}

/// From this instant on, the begin of the next own turn, or the instant itself where it is in one.
fn turn(at: Timestamp, first: Timestamp, cycle: Duration) -> Timestamp {
    let Some(into) = at.since(first).as_secs().checked_rem(cycle.as_secs()) else { return at };
    match Duration::from_secs(into) < APART || at <= first {
        true => at.max(first),
        false => at.plus(cycle.saturating_sub(Duration::from_secs(into))),
    }
}

/// How long a node waits after that many failures: where the certificate in use is about to end, half of what is
/// left at most. For a single node its own retries decide.
fn pause(nodes: u32, failures: u32, end: Option<Timestamp>, now: Timestamp) -> Duration {
    if nodes == 1 {
        return Duration::ZERO;
    }
    // All have failed as often, which are twice the tries that one would have made by now.
    let of_one = failures.saturating_mul(nodes) / 2;
    let pause = backoff::delay(of_one.max(failures), FIRST_WAIT, DAY).saturating_mul(nodes.div_ceil(2));
    let left = end.map(|end| end.since(now)).filter(|left| !left.is_zero());
    left.map_or(pause, |left| pause.min(left / 2)).max(APART.saturating_mul(nodes - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// The tries of nodes that all fail, as each looks every minute and goes by its own failures alone as well.
    fn tries(nodes: u32, end: Option<Timestamp>, span: Duration) -> Vec<Timestamp> {
        let mut all = Vec::new();
        for place in 0..nodes {
            let mut alone = Alone { place, nodes, failures: 0, failed_at: None };
            let mut own: Option<Timestamp> = None;
            for minute in 0..span.as_secs() / 60 {
                let now = NOW.plus(Duration::from_secs(minute * 60));
                if own.is_none_or(|own| own <= now) && due(&alone, NOW, end, now) <= now {
                    all.push(now);
                    alone = Alone { failures: alone.failures + 1, failed_at: Some(now), ..alone };
                    own = Some(now.plus(backoff::delay(alone.failures, FIRST_WAIT, DAY)));
                }
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn nodes_that_all_fail_try_at_most_twice_as_often_as_one_and_ten_minutes_apart() {
        for nodes in [2, 3, 7, 20] {
            for end in [None, Some(NOW.plus(DAY * 30))] {
                let (one, all) = (tries(1, end, DAY * 14), tries(nodes, end, DAY * 14));
                let until =
                    |tries: &[Timestamp], span| tries.iter().filter(|at| at.since(NOW) < span).count();
                for span in [HOUR, HOUR * 3, DAY, DAY * 3, DAY * 7, DAY * 14] {
                    let (one, all) = (until(&one, span), until(&all, span));
                    let round = usize::try_from(nodes).unwrap();
                    let most = if span > HOUR * 3 { one * 2 + round } else { (one * 2).max(round) };
                    assert!(all <= most, "{nodes} nodes, {span:?}: {all}, one: {one}");
                }
                assert!(all.windows(2).all(|two| two[1].since(two[0]) >= APART), "{all:?}");
            }
        }
    }

    #[test]
    fn a_transient_failure_costs_a_node_one_round_and_a_certificate_that_ends_is_tried_for_to_the_end() {
        let failed = |failures| Alone { place: 2, nodes: 7, failures, failed_at: Some(NOW) };
        let waits = |failures, end| due(&failed(failures), NOW.minus(APART * 2), end, NOW).since(NOW);
        assert_eq!([waits(1, None), waits(2, None)], [APART * 7, APART * 14]);
        assert!(waits(3, None) < DAY && waits(9, None) <= DAY * 4 + APART * 7);
        assert!(waits(9, Some(NOW.plus(DAY))) <= DAY / 2 + APART * 7);
        assert_eq!(waits(9, Some(NOW.plus(HOUR))), APART * 7);
        let under_way = Alone { failed_at: None, ..failed(3) };
        assert_eq!(due(&under_way, NOW, None, NOW), NOW, "a try that has begun goes on");
        let lone = Alone { place: 0, nodes: 1, failures: 9, failed_at: Some(NOW) };
        assert_eq!(due(&lone, NOW, None, NOW), NOW, "its own retries decide");
        let wrong_clock = Alone { failed_at: Some(NOW.plus(DAY * 365)), ..failed(1) };
        assert_eq!(due(&wrong_clock, NOW.minus(APART * 2), None, NOW), NOW.plus(APART * 7));
    }

    #[test]
    fn a_need_that_comes_late_waits_for_the_turn_of_the_node() {
        let due = |place, now| {
            let alone = Alone { place, nodes: 3, failures: 0, failed_at: None };
            super::due(&alone, NOW, None, now)
        };
        // After a day without the engine certificates are revoked everywhere.
        let late = NOW.plus(DAY);
        let mut begun: Vec<Timestamp> = (0..3).map(|place| due(place, late)).collect();
        begun.sort_unstable();
        assert_eq!(begun, [late, late.plus(APART), late.plus(APART * 2)]);
        assert_eq!(due(1, NOW.minus(HOUR)), NOW.plus(APART));
        assert_eq!(due(0, NOW.plus(APART)), NOW.plus(APART * 3));
    }
}
