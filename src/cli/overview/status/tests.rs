// SPDX-License-Identifier: Apache-2.0
//! Tables, blocks and spans of time as people see them.

use crate::cli::overview::status::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const TERMINAL: Terminal = Terminal { width: Some(60), has_colours: false, is_interactive: true };

#[test]
fn times_are_told_exactly_and_from_now() {
    let at = |seconds: i64| relative(Timestamp::from_unix(NOW.unix() + seconds), NOW);
    assert_eq!(at(3 * 86_400), "2027-01-18 (in 3 days)");
    assert_eq!(at(3 * 3600), "2027-01-15 (in ~3 hours)");
    assert_eq!(at(-90 * 86_400), "2026-10-17 (90 days ago)");
}

#[test]
fn a_block_is_as_wide_as_the_terminal_and_escapes_all() {
    let row = Row {
        name: "a.test".into(),
        status: "renewal failing".into(),
        standing: Some(Standing::RenewalFailing),
        last_error: Some("one two three four five six seven eight nine ten \u{1b}[2J\neleven".into()),
        errors: 3,
        activation: Some(("live".into(), 2)),
        ..Row::default()
    };
    let text = block(&TERMINAL, &row, NOW);
    let expected = [
        "a.test: renewal failing",
        "  last error    one two three four five six seven eight nine",
        "                ten \\u{1b}[2J eleven",
        "  errors        3 in a row",
        "  served        by 2 children",
        "",
    ];
    assert_eq!(text.split('\n').collect::<Vec<_>>(), expected);
}

#[test]
fn the_next_step_is_that_of_the_job_or_the_date_of_the_renewal() {
    let in_days = |days: u32| Some(NOW.plus(DAY * days));
    let waiting = Row { next: Some(("try again".into(), in_days(3))), ..Row::default() };
    assert_eq!(next(&waiting, NOW).as_deref(), Some("try again in 3 days"));
    let due = Row { renew_at: Some(NOW), ..Row::default() };
    assert_eq!(next(&due, NOW).as_deref(), Some("renewal is due"));
    assert_eq!(
        next(&Row { renew_at: in_days(9), ..Row::default() }, NOW).as_deref(),
        Some("renew in 9 days")
    );
    let manual = Row { standing: Some(Standing::NotRenewed), ..due };
    assert_eq!(next(&manual, NOW), None);
}

#[test]
fn many_leftovers_are_counted() {
    let names: Vec<String> = (0..7).map(|n| format!("{n}.test")).collect();
    let text = leftovers(&names);
    assert!(text.ends_with(": 0.test, 1.test, 2.test, 3.test, 4.test and 2 more ('a2md gc').\n"), "{text}");
    assert_eq!(leftovers(&[]), "");
}
