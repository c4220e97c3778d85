// SPDX-License-Identifier: Apache-2.0
//! The small parts of the pages: times, words, tables. A time is a text, and no title under the pointer hides
//! any of it.

use super::tone::Tone;
use crate::status::labels;
use crate::time::{DAY, Timestamp};
use maud::{Markup, html};

/// A word for how something stands.
pub(super) fn word(words: &str, tone: Tone) -> Markup {
    html! { span.word.(tone.class()) { (words) } }
}

/// `2027-01-23, in 9 days`.
pub(super) fn day(time: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(time.to_rfc3339()) { (labels::day(time)) } ", " span.muted { (span(time, now)) } }
}

/// `2027-01-23 07:51:00 UTC, in ~3 hours`.
pub(super) fn moment(time: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime=(time.to_rfc3339()) { (exactly(time)) } ", " span.muted { (span(time, now)) }
    }
}

/// `2027-01-23 07:51:00 UTC`.
pub(super) fn exactly(time: Timestamp) -> String {
    let text = time.to_rfc3339().replace('T', " ");
    let text = text.trim_end_matches('Z');
    // Without fractions of seconds.
    format!("{} UTC", text.split('.').next().unwrap_or_default())
}

/// `in 9 days`, `~3 hours ago`.
pub(super) fn span(time: Timestamp, now: Timestamp) -> String {
    let (ahead, past) = (time.since(now), now.since(time));
    let days = |span: std::time::Duration| span.as_secs() / DAY.as_secs();
    if ahead >= DAY * 2 {
        format!("in {} days", days(ahead))
    } else if past >= DAY * 2 {
        format!("{} days ago", days(past))
    } else {
        labels::near(time, now)
    }
}

/// A table that scrolls by itself where it does not fit. `numbers`: the places of columns of numbers.
pub(super) fn table(label: &str, columns: &[&str], numbers: &[usize], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table.list {
                thead { tr {
                    @for (place, column) in columns.iter().enumerate() {
                        th.num[numbers.contains(&place)] scope="col" { (column) }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// Names, the first of them in sight.
pub(super) fn names<'n>(names: impl Iterator<Item = &'n str>, open: usize) -> Markup {
    let names: Vec<&str> = names.collect();
    let (shown, folded) = names.split_at(names.len().min(open));
    html! {
        (shown.join(" "))
        @if !folded.is_empty() { " " span.muted { "and " (folded.len()) " more" } }
    }
}
