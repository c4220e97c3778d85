// SPDX-License-Identifier: Apache-2.0
//! Records that only the admin can set: how often they are looked up while a renewal waits for them, when the
//! log repeats the wait, and since when their end is near. Pure; imports `challenge::dns_persist01`.

use crate::challenge::dns_persist01;
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

/// The record of these names that ends first, and since when to warn of that. `window`: `MDWarnWindow`.
pub fn first_to_end<'r>(
    records: &'r [RecordEnd],
    names: &[String],
    window: Duration,
) -> Option<(&'r RecordEnd, Timestamp)> {
    let of_names =
        records.iter().filter(|record| domain_of(record).is_some_and(|domain| is_for(domain, names)));
    let first = of_names.min_by_key(|record| record.until)?;
    Some((first, first.until.minus(window)))
}

/// What a record stands for.
pub fn domain_of(record: &RecordEnd) -> Option<&str> {
    record.name.strip_prefix(&dns_persist01::record_name(""))
}

/// Whether a record of `domain` can be for one of these names.
fn is_for(domain: &str, names: &[String]) -> bool {
    names.iter().any(|name| {
        name.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// Whether a record of `domain` has to hold for names below it.
pub fn is_for_names_below(domain: &str, names: &[String]) -> bool {
    names.iter().any(|name| name.strip_prefix("*.") == Some(domain))
        || !names.iter().any(|name| name == domain)
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
        let record = |domain: &str, days: u32| RecordEnd {
            name: dns_persist01::record_name(domain),
            until: NOW.plus(DAY * days),
            issuers: Vec::new(),
            account: String::new(),
        };
        let records = [record("a.test", 20), record("b.test", 10), record("c.test", 30), record("test.x", 1)];
        let first = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let found = first_to_end(&records, &names, DAY * 9)?;
            Some((domain_of(found.0)?.to_string(), found.1.since(NOW).as_secs() / DAY.as_secs()))
        };
        assert_eq!(first(&["b.test", "a.test", "c.test"]), Some(("b.test".into(), 1)));
        assert_eq!(first(&["a.test", "*.c.test"]), Some(("a.test".into(), 11)));
        assert_eq!(first(&["www.a.test"]), Some(("a.test".into(), 11)), "it may hold for names below");
        assert_eq!(first(&["xa.test", "test"]), None);
    }

    #[test]
    fn a_record_holds_for_names_below_where_it_has_to() {
        let is_below = |names: &[&str]| {
            is_for_names_below("a.test", &names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert!(is_below(&["a.test", "*.a.test"]) && is_below(&["*.a.test"]) && is_below(&["www.a.test"]));
        assert!(!is_below(&["a.test", "www.a.test"]));
    }
}
