// SPDX-License-Identifier: Apache-2.0
//! The table at the end.

use crate::run::blame::Windows;
use crate::run::log::Told;
use crate::run::plan::Fault;
use crate::run::samples::{MEASURES, Sample};
use crate::run::seen::Flaw;
use crate::run::seen::Seen;
use crate::run::table::*;
use std::time::Duration;

#[test]
fn each_fault_has_a_row_and_the_verdict_is_last() {
    let head = Head { lines: vec![("machine", "two | three".to_string())] };
    let mut windows = Windows::new(Duration::from_secs(5));
    windows.begin(Fault::KilledChild, Duration::ZERO);
    let mut seen = Seen::default();
    seen.good(None, true, Duration::from_millis(7));
    seen.flawed(Some(Fault::KilledChild), Flaw::Reset, "d1.test");
    seen.renewed(None, 3);
    let mut told = Told::default();
    told.hear("[T] [md:error] [pid 1:tid 2] AH10056: d1.test: a | b");
    let samples = [Sample { at: Duration::ZERO, values: [1.0; MEASURES.len()] }];
    let parts = [Part { name: "site", samples: &samples, told: &told }];
    let text = table(&head, &windows, &seen, &parts, &["a tmpfs".to_string()]);
    assert!(text.contains("| machine | two \\| three |\n"), "{text}");
    assert!(text.contains("| quiet |  | 1 | 1 | 7 | 0 | 0 | 0 | 3 |\n"), "{text}");
    assert!(text.contains("| child killed | 1 | 1 | 0 | 0 | 1 | 0 | 0 | 0 |\n"), "{text}");
    assert!(text.contains("| disk full | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n"), "{text}");
    assert!(text.contains("| **all** | | 2 | 1 | 7 | 1 | 0 | 0 | 3 |\n"), "{text}");
    assert!(text.contains("| site | children | 1 | 1 | 1 | 1 | +0 |\n"), "{text}");
    assert!(text.contains("| AH10056: NAME a \\| b | error | 1 | AH10056: d1.test: a \\| b |\n"), "{text}");
    assert!(text.contains("Left out: a tmpfs.\n") && text.ends_with("\nkept\n"), "{text}");
    seen.flawed(None, Flaw::Expired, "d1.test");
    let text = table(&head, &windows, &seen, &parts, &[]);
    assert!(text.contains("| quiet |  | 2 | 1 | 7 | 0 | 1 expired certificate | 0 | 3 |\n"), "{text}");
    assert!(text.ends_with("\nbroken: 1\n- expired certificate (quiet): d1.test\n"), "{text}");
}
