// SPDX-License-Identifier: Apache-2.0
//! How far a node can trust that its lease is in force (rule 1), and whether the engine is away (rule 6). Time
//! counts by the boot-time clock, which goes on while the machine sleeps, and from when the last answered
//! call was sent. A clock that goes back proves nothing: then the lease is over. Pure; imports nothing.

use std::time::Duration;

/// A reading of the boot-time clock.
pub type Boot = Duration;

pub const TTL: Duration = Duration::from_secs(30);
/// The lease was confirmed so recently that a CA may be asked for something that it counts.
pub const FRESH: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// While the node renews: requests to a CA then rarely wait.
const KEEP_ALIVE_AT_WORK: Duration = Duration::from_secs(3);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// No write of the node's presence for as long: the engine is away.
pub const AWAY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Others may hold its locks.
    Over,
    /// It may still be in force: nothing is done under it, but it can be kept alive.
    Passive,
    /// The node does what is its own.
    Acting,
    /// And asks a CA for what that counts.
    Fresh,
}

/// `kept`: when the last answered grant or keepalive was sent.
pub fn phase(kept: Option<Boot>, now: Boot) -> Phase {
    match kept.and_then(|kept| now.checked_sub(kept)) {
        Some(age) if age < FRESH => Phase::Fresh,
        Some(age) if age < TTL / 2 => Phase::Acting,
        Some(age) if age < TTL => Phase::Passive,
        _ => Phase::Over,
    }
}

/// When to send the next keepalive. `tried`: when the last one was sent, answered or not.
pub fn next_keep_alive(kept: Option<Boot>, tried: Option<Boot>, is_at_work: bool) -> Boot {
    let every = if is_at_work { KEEP_ALIVE_AT_WORK } else { KEEP_ALIVE };
    let due = kept.map_or(Boot::ZERO, |kept| kept.saturating_add(every));
    match tried {
        Some(tried) if kept.is_none_or(|kept| kept < tried) => due.max(tried.saturating_add(AGAIN)),
        _ => due,
    }
}

/// Whether the engine is away: since when. `written`: the last write of the node's own presence that
/// succeeded, or when the process began. `failing`: the first failure after it. A process that was stopped, or a
/// machine that slept, has written nothing for as long, and proves nothing until it has tried for a while.
pub fn away_since(written: Boot, failing: Option<Boot>, now: Boot) -> Option<Boot> {
    let since = written.saturating_add(AWAY).max(failing?.saturating_add(AWAY / 2));
    (now >= since).then_some(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    const fn seconds(seconds: u64) -> Boot {
        Boot::from_secs(seconds)
    }

    #[test]
    fn trust_in_a_lease_goes_with_the_age_of_its_last_answered_keepalive() {
        let at = |now| phase(Some(seconds(100)), Boot::from_millis(now));
        let table = [
            (100_000, Phase::Fresh),
            (104_999, Phase::Fresh),
            (105_000, Phase::Acting),
            (114_999, Phase::Acting),
            (115_000, Phase::Passive),
            (129_999, Phase::Passive),
            (130_000, Phase::Over),
            (160_000, Phase::Over),
        ];
        for (now, expected) in table {
            assert_eq!(at(now), expected, "{now}");
        }
        assert_eq!(phase(None, seconds(1)), Phase::Over);
        assert!(
            Phase::Over < Phase::Passive && Phase::Passive < Phase::Acting && Phase::Acting < Phase::Fresh
        );
    }

    #[test]
    fn a_clock_that_jumps_ends_a_lease_in_both_directions() {
        assert_eq!(phase(Some(seconds(100)), seconds(99)), Phase::Over, "back");
        assert_eq!(phase(Some(seconds(100)), seconds(86_500)), Phase::Over, "ahead");
    }

    #[test]
    fn keepalives_come_often_enough_to_act_on_and_after_failures_every_second() {
        let next = |kept, tried, at_work| next_keep_alive(Some(seconds(kept)), Some(seconds(tried)), at_work);
        assert_eq!(next(100, 100, false), seconds(110));
        assert!(phase(Some(seconds(100)), next(100, 100, false)) >= Phase::Acting);
        assert!(phase(Some(seconds(100)), next(100, 100, true)) == Phase::Fresh);
        assert_eq!(next(100, 110, false), seconds(111), "the one at 110 was not answered");
        assert_eq!(next(100, 104, false), seconds(110));
        assert_eq!(next_keep_alive(None, None, false), seconds(0));
        assert_eq!(next_keep_alive(None, Some(seconds(7)), false), seconds(8));
    }

    #[test]
    fn an_engine_that_takes_no_writes_for_a_minute_is_away() {
        let away_since = |now| away_since(seconds(100), Some(seconds(120)), seconds(now));
        assert_eq!(away_since(159), None);
        assert_eq!(away_since(160), Some(seconds(160)));
        assert_eq!(away_since(900), Some(seconds(160)));
        assert_eq!(away_since(9), None, "the clock has gone back");
    }

    #[test]
    fn after_a_sleep_the_engine_is_away_only_once_it_was_tried_for_half_a_minute() {
        let away_since =
            |failing: Option<u64>, now| super::away_since(seconds(100), failing.map(seconds), seconds(now));
        assert_eq!(away_since(None, 3700), None);
        assert_eq!(away_since(Some(3700), 3729), None);
        assert_eq!(
            away_since(Some(3700), 3730),
            Some(seconds(3730)),
            "what waits ten minutes more begins then"
        );
    }
}
