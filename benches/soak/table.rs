// SPDX-License-Identifier: Apache-2.0
//! The table at the end, in Markdown.

use super::blame::Windows;
use super::log::Told;
use super::plan::EACH;
use super::samples::{MEASURES, Sample, trend};
use super::seen::{Row, Seen, name_of};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::iter;

/// What was run, and on what, line by line.
pub struct Head {
    pub lines: Vec<(&'static str, String)>,
}

/// One httpd, by its name in the table.
pub struct Part<'a> {
    pub name: &'a str,
    pub samples: &'a [Sample],
    pub told: &'a Told,
}

pub fn table(head: &Head, windows: &Windows, seen: &Seen, parts: &[Part], left_out: &[String]) -> String {
    let mut text = String::from("### Soak\n\n| | |\n|---|---|\n");
    for (what, value) in &head.lines {
        let _ = writeln!(text, "| {what} | {} |", cell(value));
    }
    text += "\n| fault | times | handshakes | with a staple | slowest visit, ms | connections lost with the child | \
             failures | renewed late, excused | sets that came into use |\n|---|---|---|---|---|---|---|---|---|\n";
    let none = Row::default();
    for blamed in iter::once(None).chain(EACH.map(Some)) {
        let row = seen.rows.get(&blamed).unwrap_or(&none);
        let times = blamed.map_or(String::new(), |fault| windows.count(fault).to_string());
        let cost: u64 =
            row.flaws.iter().filter(|(flaw, _)| flaw.is_cost(blamed)).map(|(_, count)| count).sum();
        let failures = row.flaws.iter().filter(|(flaw, _)| !flaw.is_cost(blamed));
        let failures: Vec<String> =
            failures.map(|(flaw, count)| format!("{count} {}", flaw.name())).collect();
        let failures = if failures.is_empty() { "0".to_string() } else { failures.join(", ") };
        let _ = writeln!(
            text,
            "| {} | {times} | {} | {} | {} | {cost} | {failures} | {} | {} |",
            name_of(blamed),
            row.handshakes,
            row.stapled,
            row.slowest.as_millis(),
            row.late,
            row.renewals
        );
    }
    let [cost, failures] = seen.flaws();
    let sum = |of: &dyn Fn(&Row) -> u64| seen.rows.values().map(of).sum::<u64>();
    let slowest = seen.rows.values().map(|row| row.slowest).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "| **all** | | {} | {} | {} | {cost} | {failures} | {} | {} |\n",
        seen.handshakes(),
        sum(&|row| row.stapled),
        slowest.as_millis(),
        sum(&|row| row.late),
        seen.renewals()
    );
    left_out.iter().for_each(|what| {
        let _ = writeln!(text, "Left out: {what}.\n");
    });
    text += "| httpd | what, by quarters of the run | first | second | third | last | slope an hour |\n|---|---|---|---|---|---|---|\n";
    for part in parts {
        for (at, measure) in MEASURES.iter().enumerate() {
            let points: Vec<_> = part.samples.iter().map(|sample| (sample.at, sample.values[at])).collect();
            if let Some(trend) = trend(&points) {
                let quarters = trend.quarters.map(|median| format!("{median:.0}")).join(" | ");
                let _ =
                    writeln!(text, "| {} | {} | {quarters} | {:+.0} |", part.name, measure.name, trend.slope);
            }
        }
    }
    text += "\n| lines of the logs | level | count | first |\n|---|---|---|---|\n";
    let mut groups: BTreeMap<(&String, &String), (u64, &String)> = BTreeMap::new();
    for ((level, shape), (count, first)) in parts.iter().flat_map(|part| &part.told.groups) {
        groups.entry((level, shape)).or_insert((0, first)).0 += count;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for ((level, shape), (count, first)) in groups {
        let first: String = first.chars().take(160).collect();
        let _ = writeln!(text, "| {} | {level} | {count} | {} |", cell(shape), cell(&first));
    }
    text.push('\n');
    match seen.broken_count {
        0 => text += "kept\n",
        count => {
            let _ = writeln!(text, "broken: {count}");
            for what in &seen.broken {
                let _ = writeln!(text, "- {}", cell(what));
            }
        }
    }
    text
}

/// Without what ends a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\r', '\n'], " ")
}
