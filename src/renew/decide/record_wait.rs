// SPDX-License-Identifier: Apache-2.0
//! Records that only the admin can set: how often they are looked up while a renewal waits for them, when the
//! log repeats the wait, and since when their end is near. Pure.

use crate::model::ledger::RecordEnd;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

const SOONEST: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_secs(600);

/// The time until the next look-up, after a wait of `waited`: an admin who has just set a record is looking.
pub fn look_up_after(waited: Duration) -> Duration {
    (waited / 10).clamp(SOONEST, LATEST)
}

/// Whether a wait since `since` has lasted another day since the look-up before, which was at `before`.
pub fn is_another_day(since: Timestamp, before: Timestamp, now: Timestamp) -> bool {
    let days = |at: Timestamp| at.since(since).as_secs() / DAY.as_secs();
    days(now) > days(before)
}

/// The record that ends first, and since when to warn of that. `window`: `MDWarnWindow`.
pub fn first_to_end(records: &[RecordEnd], window: Duration) -> Option<(&RecordEnd, Timestamp)> {
    let first = records.iter().min_by_key(|record| record.until)?;
    Some((first, first.until.minus(window)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn records_are_looked_up_less_often_the_longer_they_are_missing() {
        let after = |waited: u64| look_up_after(Duration::from_secs(waited)).as_secs();
        assert_eq!([0, 60, 1000, 5000, 6000, 1_000_000].map(after), [10, 10, 100, 500, 600, 600]);
    }

    #[test]
    fn a_wait_is_repeated_in_the_log_once_a_day() {
        let at = |hours: u32| NOW.plus(Duration::from_secs(3600) * hours);
        for (before, now, expected) in
            [(0, 1, false), (23, 24, true), (24, 25, false), (30, 50, true), (24, 23, false), (47, 48, true)]
        {
            assert_eq!(is_another_day(NOW, at(before), at(now)), expected, "{before} {now}");
        }
    }

    #[test]
    fn the_record_that_ends_first_counts() {
        let record = |name: &str, days: u32| RecordEnd { name: name.into(), until: NOW.plus(DAY * days) };
        let records = [record("a", 20), record("b", 10), record("c", 30)];
        let found = first_to_end(&records, DAY * 9);
        assert_eq!(found.map(|(record, at)| (record.name.as_str(), at)), Some(("b", NOW.plus(DAY))));
        assert_eq!(first_to_end(&[], DAY), None);
    }
}
