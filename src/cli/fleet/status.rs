// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet status`: the engine, the nodes and who renews what, as the process that replicates has told the
//! store, or a server its md-status. The exit code says whether something is wrong.

use super::{findings, member};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::terminal::{Style, Terminal};
use crate::cli::doctor::finding::{self, Finding, Verdict};
use crate::cli::overview::{Source, fetch};
use crate::model::{FleetReport, Renewing, ReportedNode};
use crate::status::fleet::{self, Fleet};
use crate::status::labels::near;
use crate::time::Timestamp;
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

/// Renewals that are listed for people.
const LISTED: usize = 20;

pub fn define() -> Command {
    Command::new("status")
        .about("Show the engine, the nodes, who renews what, and what is wrong")
        .arg(Arg::new("from").long("from").value_name("URL").help("Ask the md-status of a server"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let now = call.clock.now();
    let source = Source::of(call, matches.get_one("from"))?;
    let found = match &source {
        Source::Store(site) => {
            member::check(site)?;
            fleet::read(&site.store.worker())
        }
        Source::Server(url) => of_server(call, url).map(Ok)?,
    };
    let fleet = Fleet::of(&found, now);
    let findings = finding::sorted(findings::of_report(&fleet.report));
    if call.options.json {
        let mut document = source.head();
        document.insert("fleet".into(), fleet.to_json());
        if let Value::Object(found) = finding::document(&findings) {
            document.extend(found.into_iter().filter(|(key, _)| key != "schema"));
        }
        call.print_document(&Value::Object(document))?;
    } else {
        let text = shown(&call.terminal, &fleet.report, &findings, now);
        call.write_as_it_is(text.as_bytes())?;
    }
    Ok(u8::from(finding::count(&findings, Verdict::Fails) > 0))
}

fn of_server(call: &Call, url: &str) -> Result<Option<FleetReport>, Failure> {
    let document = fetch::document(call, url)?;
    let fleet = document.get("fleet").ok_or_else(|| {
        Failure::new(format!("{url} tells of no fleet"))
            .advice("Give the URL of the whole md-status, of an httpd that has MDFleet.")
    })?;
    let report = FleetReport::from_json(fleet);
    report.map(Some).ok_or_else(|| Failure::new(format!("{url}: what it tells of its fleet makes no sense")))
}

/// Lines for people, with everything escaped.
fn shown(terminal: &Terminal, report: &FleetReport, findings: &[Finding], now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        let text = terminal.paint(&text.replace('\n', " "), Style::Plain);
        out.push_str(&format!("{label:12}{text}\n"));
    };
    let since = report.since.map(|since| format!(" since {}", near(since, now))).unwrap_or_default();
    let state = if report.connected { "connected" } else { "not connected" };
    line("engine", &format!("{}, {state}{since}", named(&report.engine)));
    line("this node", &format!("{} ({})", named(&report.name), named(&report.id)));
    line("told", &near(report.at, now));
    if !report.nodes.is_empty() {
        let rows: Vec<_> = report.nodes.iter().map(|node| cells(report, node, now)).collect();
        out.push('\n');
        out.push_str(&terminal.table(&["node", "id", "version", "seen", "behind"], &rows));
    }
    if !report.renewing.is_empty() {
        let rows: Vec<_> =
            report.renewing.iter().take(LISTED).map(|renewing| renewal(renewing, now)).collect();
        out.push('\n');
        out.push_str(&terminal.table(&["renewing", "node", "since"], &rows));
        let more = report.renewing.len().saturating_sub(LISTED);
        if more > 0 {
            out.push_str(&format!("and {more} more (-j lists them)\n"));
        }
    }
    out.push('\n');
    out.push_str(&finding::text(findings, terminal, false));
    out
}

fn named(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn cells(report: &FleetReport, node: &ReportedNode, now: Timestamp) -> Vec<(String, Style)> {
    let is_shared = report.shared_names().contains(&node.name.as_str());
    let own = if node.id == report.id { " *" } else { "" };
    vec![
        (format!("{}{own}", node.name), if is_shared { Style::Bad } else { Style::Bold }),
        (node.id.clone(), Style::Plain),
        (node.version.clone(), Style::Plain),
        (node.seen.map(|seen| near(seen, now)).unwrap_or_default(), Style::Plain),
        (report.lag_of(node).to_string(), Style::Plain),
    ]
}

fn renewal(renewing: &Renewing, now: Timestamp) -> Vec<(String, Style)> {
    let solo = if renewing.is_solo { ", on its own" } else { "" };
    vec![
        (renewing.name.clone(), Style::Bold),
        (format!("{}{solo}", renewing.node), Style::Plain),
        (renewing.since.map(|since| near(since, now)).unwrap_or_default(), Style::Plain),
    ]
}
