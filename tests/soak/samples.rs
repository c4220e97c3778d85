// SPDX-License-Identifier: Apache-2.0
//! Whether what httpds hold grows.

use crate::run::samples::*;
use std::time::Duration;

fn points(count: u64, value: impl Fn(u64) -> f64) -> Vec<(Duration, f64)> {
    (0..count).map(|n| (Duration::from_secs(n * 36), value(n))).collect()
}

#[test]
fn a_trend_is_the_medians_of_both_ends_and_the_slope() {
    let rising = trend(&points(100, |n| 1000.0 + n as f64)).unwrap();
    assert_eq!((rising.first, rising.last), (1012.0, 1087.0));
    assert!((rising.slope - 100.0).abs() < 1e-6, "{rising:?}");
    let outlier = trend(&points(100, |n| if n == 3 { 9999.0 } else { 7.0 })).unwrap();
    assert_eq!((outlier.first, outlier.last), (7.0, 7.0));
    assert_eq!(trend(&[]), None);
    assert_eq!(trend(&points(1, |_| 3.0)), Some(Trend { first: 3.0, last: 3.0, slope: 0.0 }));
}

#[test]
fn growth_is_a_leak_where_it_is_a_share_and_an_amount() {
    let leaks = |at: usize, first, last| MEASURES[at].is_leak(&Trend { first, last, slope: 0.0 }, false);
    assert!(leaks(0, 40_000.0, 60_000.0));
    assert!(!leaks(0, 40_000.0, 49_000.0));
    assert!(!leaks(0, 10_000.0, 18_000.0));
    assert!(leaks(2, 100.0, 150.0) && !leaks(2, 100.0, 130.0));
    assert!(!leaks(7, 100.0, 100_000.0));
    let where_replaced =
        |at: usize| MEASURES[at].is_leak(&Trend { first: 40_000.0, last: 60_000.0, slope: 0.0 }, true);
    assert!(!where_replaced(0) && where_replaced(1), "only the parent is as old as the run");
}
