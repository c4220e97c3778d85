// SPDX-License-Identifier: Apache-2.0
//! Levels, sentences and performance data by what is known of domains.

use crate::cli::overview::check::*;
use crate::time::DAY;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const LIMITS: Limits = Limits { warning: TimeSlice::Percent(20), critical: TimeSlice::Percent(10) };

/// A domain with a certificate of `hours`, of which `left` remain.
fn row(standing: Standing, hours: u32, left: i64) -> Row {
    let until = Timestamp::from_unix(NOW.unix() + left * 3600);
    let from = until.minus(Duration::from_secs(3600) * hours);
    Row {
        name: "a.test".into(),
        standing: Some(standing),
        status: standing.words().into(),
        valid: Some((from, until)),
        ..Row::default()
    }
}

#[test]
fn limits_are_parts_of_the_lifetime_unless_they_are_times() {
    let days = |days: u32| TimeSlice::Length(DAY * days);
    let own = Limits { warning: days(30), critical: days(7) };
    use Standing::{
        Expired, ExpiresSoon, NoCertificate, NotRenewed, Ok as Good, RenewalFailing, Renewing, Unused,
    };
    for (standing, hours, left, limits, level) in [
        (Good, 2160, 2000, LIMITS, Level::Ok),
        (Good, 2160, 431, LIMITS, Level::Warning),
        (Good, 2160, 215, LIMITS, Level::Critical),
        // Six days.
        (Good, 160, 33, LIMITS, Level::Ok),
        (Good, 160, 31, LIMITS, Level::Warning),
        (Good, 160, 15, LIMITS, Level::Critical),
        (Good, 160, 100, own, Level::Critical),
        (Good, 2160, 700, own, Level::Warning),
        (Renewing, 2160, 700, LIMITS, Level::Ok),
        (NotRenewed, 2160, 700, LIMITS, Level::Ok),
        (NotRenewed, 2160, 300, LIMITS, Level::Warning),
        (RenewalFailing, 2160, 700, LIMITS, Level::Warning),
        (RenewalFailing, 2160, 100, LIMITS, Level::Critical),
        (ExpiresSoon, 2160, 700, LIMITS, Level::Warning),
        (Expired, 2160, -1, LIMITS, Level::Critical),
        // The word of a server whose clock is behind.
        (Good, 2160, 0, LIMITS, Level::Critical),
        (NoCertificate, 2160, 700, LIMITS, Level::Critical),
        (Unused, 2160, -700, LIMITS, Level::Ok),
    ] {
        let row = row(standing, hours, left);
        assert_eq!(judge(&row, limits, NOW).level, level, "{standing:?} {hours} {left}");
    }
    let revoked = Row { stapling: Stapling::Revoked, ..row(Good, 2160, 2000) };
    assert_eq!(judge(&revoked, LIMITS, NOW).level, Level::Critical);
    let later = Row { standing: None, status: "dancing".into(), ..row(Good, 2160, 2000) };
    assert_eq!(judge(&later, LIMITS, NOW).level, Level::Unknown);
}

#[test]
fn what_is_known_to_be_bad_counts_more_than_what_is_not_known() {
    let rows = [row(Standing::Ok, 2160, 2000), Row { standing: None, ..row(Standing::Ok, 2160, 2000) }];
    let of = |rows: &[Row]| worst(&rows.iter().map(|row| judge(row, LIMITS, NOW)).collect::<Vec<_>>());
    assert_eq!((of(&rows[..1]), of(&rows)), (Level::Ok, Level::Unknown));
    let with = |standing, left| of(&[&rows[..], &[row(standing, 2160, left)]].concat());
    assert_eq!(with(Standing::RenewalFailing, 700), Level::Warning);
    assert_eq!(with(Standing::Expired, -1), Level::Critical);
    assert_eq!(of(&[]), Level::Unknown);
}

#[test]
fn many_domains_give_a_short_line() {
    let rows: Vec<Row> = (0..10_000)
        .map(|n| Row { name: format!("d{n}.test'|=\n;"), ..row(Standing::Ok, 2160, 10 + n) })
        .collect();
    let found: Vec<Found<'_>> = rows.iter().map(|row| judge(row, LIMITS, NOW)).collect();
    let (text, data) = (sentence(&found, NOW), perfdata(&found, LIMITS));
    assert!(text.starts_with("d0.test'/= ;: expires in 10 hours, d1.test") && text.len() < 500, "{text}");
    assert!(text.ends_with(", and 417 more") && !text.contains(['|', '\n']), "{text}");
    let begin = "domains=10000 ok=9578 warning=216 critical=206 unknown=0 soonest=36000s;1555200:;777600:;;7776000 \
                 'd0.test_____'=36000s;";
    assert!(data.starts_with(begin) && data.len() < 600, "{data}");
    assert_eq!(data.matches('\'').count(), 2 * MEASURED, "{data}");
    let well = [judge(&rows[5000], LIMITS, NOW)];
    assert_eq!(sentence(&well, NOW), "1 domain well, the first to expire is d5000.test'/= ; in 208 days");
}
