// SPDX-License-Identifier: Apache-2.0
//! `a2md status`: what the status page shows, on the terminal. A table of many domains, the most serious first,
//! and all about the one that is named.

use super::{Overview, Row, Source, Stapling};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::terminal::{Style, Terminal, escaped, wrapped};
use crate::status::fleet::Fleet;
use crate::status::labels::near;
use crate::status::standing::Standing;
use crate::time::{DAY, Timestamp};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// Columns of the names in a block about one domain.
const LABEL: usize = 14;
/// Leftovers that are named.
const NAMED: usize = 5;

pub fn define() -> Command {
    Command::new("status")
        .about("Show managed domains, their certificates and what happens next")
        .arg(
            Arg::new("names")
                .value_name("NAME")
                .num_args(0..)
                .help("Managed domains, by their names or by any name they cover [default: all]"),
        )
        .arg(
            Arg::new("watch")
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Look again every two seconds, until Ctrl-C"),
        )
        .arg(Arg::new("from").long("from").value_name("URL").help("Ask the md-status of a server"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let names: Vec<&String> = matches.get_many("names").into_iter().flatten().collect();
    let source = Source::of(call, matches.get_one("from"))?;
    if matches.get_flag("watch") {
        return watch(call, &source, &names);
    }
    let overview = source.look(call, &names)?;
    if call.options.json {
        let mut document = source.head();
        document.insert("managed-domains".into(), Value::Array(overview.entries));
        document.insert("not-configured".into(), json!(overview.leftovers));
        if let Some(fleet) = overview.fleet {
            document.insert("fleet".into(), fleet.to_json());
        }
        call.print_document(&Value::Object(document))?;
        return Ok(0);
    }
    call.write_as_it_is(shown(&call.terminal, &overview, !names.is_empty()).as_bytes())?;
    Ok(0)
}

/// Looks again and again: a terminal shows the whole each time, else changes are printed.
fn watch(call: &mut Call, source: &Source, names: &[&String]) -> Outcome {
    if call.options.json {
        return Err(Failure::new("--watch prints no JSON")
            .code(2)
            .advice("Call 'a2md status -j' again and again."));
    }
    let mut before: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut has_looked = false;
    loop {
        let looked = source.look(call, names);
        match looked {
            Ok(overview) if call.terminal.width.is_some() => {
                // Home, and what is below goes (ECMA-48 §8.3.21, §8.3.39).
                let text =
                    format!("\u{1b}[H\u{1b}[2J{}", shown(&call.terminal, &overview, !names.is_empty()));
                call.write_as_it_is(text.as_bytes())?;
            }
            Ok(overview) => {
                let now: BTreeMap<_, _> =
                    overview.rows().iter().map(|row| (row.name.clone(), moments(row))).collect();
                for (name, facts) in now.iter().filter(|(name, facts)| before.get(*name) != Some(facts)) {
                    call.say(&format!("{} {name}: {}", overview.now.to_rfc3339(), facts.join("; ")));
                }
                for name in before.keys().filter(|name| !now.contains_key(*name)) {
                    call.say(&format!("{} {name}: gone", overview.now.to_rfc3339()));
                }
                before = now;
            }
            // A call that was mistaken; what worked once will work again.
            Err(failure) if !has_looked => return Err(failure),
            Err(failure) => call.complain(&format!("a2md: {}", failure.text)),
        }
        has_looked = true;
        if call.clock.sleep(PAUSE).is_err() {
            return Ok(0);
        }
    }
}

/// What is said of a domain that does not change by itself with time.
fn moments(row: &Row) -> Vec<String> {
    let mut out = vec![row.status.clone()];
    out.extend(row.valid.map(|(_, until)| format!("valid until {}", until.to_rfc3339())));
    out.extend(row.next.as_ref().map(|(action, _)| action.clone()));
    out.extend(row.last_error.clone());
    out.extend(workers(row));
    out
}

/// Lines for people, with everything escaped.
fn shown(terminal: &Terminal, overview: &Overview, is_named: bool) -> String {
    let (rows, now) = (overview.rows(), overview.now);
    let mut out = String::new();
    match rows.as_slice() {
        [] => out.push_str("No managed domains.\n"),
        rows if is_named => {
            let blocks: Vec<String> = rows.iter().map(|row| block(terminal, row, now)).collect();
            out.push_str(&blocks.join("\n"));
        }
        rows => {
            let cells: Vec<_> = rows.iter().map(|row| cells(row, now)).collect();
            out.push_str(&terminal.table(&["domain", "status", "valid until", "CA", "next"], &cells));
            out.push_str(&counts(rows));
        }
    }
    out.push_str(&leftovers(&overview.leftovers));
    out.push_str(&overview.fleet.as_ref().map(|fleet| in_a_line(fleet)).unwrap_or_default());
    out
}

fn in_a_line(Fleet { report, .. }: &Fleet) -> String {
    let state = if report.connected { "connected" } else { "NOT connected" };
    let nodes = crate::log::counted(report.nodes.len(), "node");
    let renewing = match report.renewing.len() {
        0 => String::new(),
        count => format!(", {count} in renewal"),
    };
    format!("Fleet: {state}, {nodes}{renewing} ('a2md fleet status').\n")
}

/// `3 domains: 1 expired, 2 ok.`
fn counts(rows: &[Row]) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry((row.rank(), row.status.as_str())).or_insert(0) += 1);
    let counts: Vec<String> =
        counts.iter().map(|((_, words), count)| format!("{count} {}", escaped(words))).collect();
    format!("\n{}: {}.\n", crate::log::counted(rows.len(), "domain"), counts.join(", "))
}

fn leftovers(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let named: Vec<String> = names.iter().take(NAMED).map(|name| escaped(name)).collect();
    let more = names.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("In the store, and in no configuration any more: {}{rest} ('a2md gc').\n", named.join(", "))
}

fn style(row: &Row) -> Style {
    match row.standing {
        _ if row.stapling == Stapling::Revoked => Style::Bad,
        Some(Standing::NoCertificate | Standing::Expired | Standing::ExpiresSoon) => Style::Bad,
        Some(Standing::RenewalFailing | Standing::NotRenewed) | None => Style::Warning,
        Some(Standing::Unused) => Style::Dim,
        Some(Standing::Renewing) => Style::Plain,
        Some(Standing::Ok) => Style::Good,
    }
}

/// A row of the table.
fn cells(row: &Row, now: Timestamp) -> Vec<(String, Style)> {
    let until = row.valid.map(|(_, until)| relative(until, now)).unwrap_or_else(|| "-".into());
    let status = match row.stapling {
        Stapling::Revoked => format!("{}, revoked", row.said(now)),
        _ => row.said(now).into_owned(),
    };
    let mut next = next(row, now).unwrap_or_default();
    // What to do about it is long: it is shown for a domain that is named.
    if let Some(error) = row.error_alone() {
        next = [next, error.to_string()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
    }
    vec![
        (row.name.clone(), Style::Bold),
        (status, style(row)),
        (until, Style::Plain),
        (row.ca.as_ref().map(|(name, _)| name.clone()).unwrap_or_else(|| "-".into()), Style::Plain),
        (next, Style::Plain),
    ]
}

/// `2027-01-18 (in 53 days)`.
fn relative(time: Timestamp, now: Timestamp) -> String {
    let day = time.to_rfc3339().split('T').next().unwrap_or_default().to_string();
    format!("{day} ({})", span(time, now))
}

/// `in 53 days`, `~3 hours ago`.
fn span(time: Timestamp, now: Timestamp) -> String {
    let days = |span: Duration| span.as_secs() / DAY.as_secs();
    match (days(time.since(now)), days(now.since(time))) {
        (ahead @ 2.., _) => format!("in {ahead} days"),
        (_, past @ 2..) => format!("{past} days ago"),
        _ => near(time, now),
    }
}

/// What happens next, and when.
fn next(row: &Row, now: Timestamp) -> Option<String> {
    let at = |at: Option<Timestamp>| at.filter(|at| *at > now).map(|at| format!(" {}", span(at, now)));
    if let Some((action, when)) = &row.next {
        return Some(format!("{action}{}", at(*when).unwrap_or_default()));
    }
    let renew_at = row.renew_at.filter(|_| row.standing != Some(Standing::NotRenewed))?;
    Some(at(Some(renew_at)).map_or_else(|| "renewal is due".to_string(), |at| format!("renew{at}")))
}

fn workers(row: &Row) -> Option<String> {
    let (mode, count) = row.activation.as_ref()?;
    Some(match (mode.as_str(), count) {
        // What no process has told is not known.
        ("live", 0) => "live".to_string(),
        ("live", count) => format!("by {}", counted_children(*count)),
        (mode, _) => format!("the new set is not in use yet ({mode})"),
    })
}

fn counted_children(count: u64) -> String {
    if count == 1 { "1 child".to_string() } else { format!("{count} children") }
}

/// All about one domain.
fn block(terminal: &Terminal, row: &Row, now: Timestamp) -> String {
    let mut out = format!(
        "{}: {}\n",
        terminal.paint(&row.name, Style::Bold),
        terminal.paint(&row.said(now), style(row))
    );
    let mut line = |label: &str, text: &str| out.push_str(&labeled(terminal, label, text));
    line("names", &row.domains.join(" "));
    let moment = |time: Timestamp| format!("{} ({})", time.to_rfc3339(), span(time, now));
    row.valid.iter().for_each(|(_, until)| line("valid until", &moment(*until)));
    for cert in &row.certificates {
        line("certificate", &format!("{}, serial {}, issued by {}", cert.key, cert.serial, cert.issuer));
    }
    row.ca.iter().for_each(|(name, url)| line("CA", &format!("{name} ({url})")));
    row.renew_at.iter().for_each(|at| line("renewal", &format!("due {}", moment(*at))));
    if let Some((action, at)) = &row.next {
        let at = at.map(|at| format!(", {}", moment(at))).unwrap_or_default();
        line("next", &format!("{action}{at}"));
    }
    row.node.iter().for_each(|node| line("renewed by", &format!("the node {node} of the fleet")));
    row.waiting.iter().for_each(|waiting| line("waiting", waiting));
    if let Some(error) = &row.last_error {
        line("last error", error);
        line("errors", &format!("{} in a row", row.errors));
    }
    let stapling = match row.stapling {
        Stapling::Off => None,
        Stapling::Good(until) => Some(format!("good, until {}", moment(until))),
        Stapling::None => Some("on, and there is no response".into()),
        Stapling::Revoked => Some("REVOKED".into()),
    };
    stapling.iter().for_each(|text| line("stapling", text));
    workers(row).iter().for_each(|text| line("served", text));
    let hosts: Vec<String> = row
        .hosts
        .iter()
        .map(|(name, served)| if served == "md" { name.clone() } else { format!("{name} ({served})") })
        .collect();
    if !hosts.is_empty() {
        line("hosts", &hosts.join(" "));
    }
    out
}

/// A line of a block, wrapped to the terminal; nothing where there is nothing to say.
fn labeled(terminal: &Terminal, label: &str, text: &str) -> String {
    let room = terminal.width.map_or(usize::MAX, |width| width.saturating_sub(LABEL + 2).max(20));
    if text.is_empty() {
        return String::new();
    }
    let text = escaped(text).replace('\n', " ");
    let pieces = wrapped(&text, room);
    let lines = pieces.iter().zip(std::iter::once(label).chain(std::iter::repeat("")));
    lines.map(|(piece, label)| format!("  {label:LABEL$}{piece}\n")).collect()
}

#[cfg(test)]
mod tests;
