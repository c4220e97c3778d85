// SPDX-License-Identifier: Apache-2.0
//! What may be and what breaks.

use crate::run::plan::Fault;
use crate::run::seen::*;
use std::time::Duration;

#[test]
fn only_a_killed_child_may_lose_connections() {
    let mut seen = Seen::default();
    seen.good(None, true, Duration::ZERO);
    seen.flawed(Some(Fault::KilledChild), Flaw::Reset, "d1.test");
    assert!(seen.broken.is_empty());
    seen.flawed(Some(Fault::Restart), Flaw::Reset, "d2.test");
    seen.flawed(None, Flaw::Reset, "d3.test");
    seen.flawed(Some(Fault::KilledChild), Flaw::Expired, "d4.test");
    seen.flawed(Some(Fault::KilledChild), Flaw::Refused, "d5.test");
    assert_eq!(seen.broken.len(), 4);
    assert_eq!(seen.broken[2], "expired certificate (child killed): d4.test");
    assert_eq!(seen.flaws(), [1, 4]);
    assert_eq!(seen.handshakes(), 6);
}

#[test]
fn a_certificate_is_overdue_once() {
    let mut seen = Seen::default();
    let overdue = |name: &str, not_before| Overdue { name: name.to_string(), not_before };
    for _ in 0..3 {
        seen.overdue(Some(Fault::CaHangs), overdue("d1.test", 7), true, "d1.test");
    }
    seen.overdue(Some(Fault::CaHangs), overdue("d1.test", 9), true, "d1.test");
    assert_eq!(seen.rows[&Some(Fault::CaHangs)].late, 2);
    assert!(seen.broken.is_empty());
    seen.overdue(None, overdue("d2.test", 7), false, "d2.test");
    assert_eq!(seen.broken, ["not renewed in time (quiet): d2.test"]);
}

#[test]
fn many_failures_are_counted_and_few_are_told() {
    let mut seen = Seen::default();
    (0..1000).for_each(|_| seen.flawed(None, Flaw::Expired, "d1.test"));
    assert_eq!((seen.broken.len(), seen.broken_count), (MOST_WORDS, 1000));
}
