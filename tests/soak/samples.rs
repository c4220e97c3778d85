// SPDX-License-Identifier: Apache-2.0
//! Whether what httpds hold grows.

use crate::run::samples::*;
use std::time::Duration;

fn points(count: u64, value: impl Fn(u64) -> f64) -> Vec<(Duration, f64)> {
    (0..count).map(|n| (Duration::from_secs(n * 36), value(n))).collect()
}

#[test]
fn a_trend_is_the_medians_of_the_quarters_and_the_slope() {
    let rising = trend(&points(100, |n| 1000.0 + n as f64)).unwrap();
    assert_eq!(rising.quarters, [1012.0, 1037.0, 1062.0, 1087.0]);
    assert!((rising.slope - 100.0).abs() < 1e-6, "{rising:?}");
    let outlier = trend(&points(100, |n| if n == 3 { 9999.0 } else { 7.0 })).unwrap();
    assert_eq!(outlier.quarters, [7.0; 4]);
    assert_eq!(trend(&[]), None);
    assert_eq!(trend(&points(1, |_| 3.0)), Some(Trend { quarters: [3.0; 4], slope: 0.0 }));
}

#[test]
fn growth_is_a_leak_where_it_is_a_share_and_an_amount() {
    let leaks = |at: usize, quarters, are_replaced| {
        MEASURES[at].leak(&Trend { quarters, slope: 0.0 }, are_replaced).is_some()
    };
    let of_ends = |at, first, last| leaks(at, [first, first, first, last], false);
    assert!(of_ends(2, 100.0, 150.0) && !of_ends(2, 100.0, 130.0));
    assert!(!of_ends(1, 6_000.0, 9_000.0), "it is little");
    assert!(!of_ends(1, 40_000.0, 49_000.0), "it is no quarter");
    assert!(!of_ends(7, 100.0, 100_000.0), "the archive is to grow");
    // Memory of children: as they grow up, and as they leak.
    let (settles, leak) =
        ([100_000.0, 140_000.0, 150_000.0, 155_000.0], [100_000.0, 120_000.0, 140_000.0, 160_000.0]);
    assert!(!leaks(0, settles, false) && leaks(0, leak, false) && !leaks(0, leak, true));
    assert!(leaks(1, leak, true), "the parent is as old as the run");
}
