// SPDX-License-Identifier: Apache-2.0
//! The sections of server-status about the fleet, for people and for scripts: one line, and a row for each
//! node. Nothing here asks the engine: it shows the values of [`Fleet`].

use super::fleet::Fleet;
use super::labels;
use super::markup::{ascii, titled};
use crate::model::{FleetReport, Renewing, ReportedNode};
use crate::time::Timestamp;
use maud::{Markup, html};

/// More domains that are renewed, or refused, are folded.
const OPEN: usize = 5;

const HEAD: &str = "<div class='md_scroll'><table class='md_status md_fleet_nodes'><thead><tr>
<th class='Node'>Node</th><th class='ID'>ID</th><th class='Version'>Version</th>\
<th class='Seen'>Seen</th><th class='Behind'>Behind</th></tr>
</thead><tbody>
";

/// The section for people.
pub fn html(fleet: &Fleet, now: Timestamp) -> String {
    let report = &fleet.report;
    let mut out = String::from("<hr>\n<h3>Fleet</h3>\n");
    out.push_str(&ascii(line(report, now)));
    out.push('\n');
    if report.nodes.is_empty() {
        return out;
    }
    out.push_str(HEAD);
    let shared = report.shared_names();
    for (index, node) in report.nodes.iter().enumerate() {
        let parity = if index % 2 == 0 { "even" } else { "odd" };
        let warning = if shared.contains(&node.name.as_str()) { " md_warning" } else { "" };
        out.push_str(&format!("<tr class='{parity}{warning}'>"));
        out.push_str(&ascii(cells(report, node, now)));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn line(report: &FleetReport, now: Timestamp) -> Markup {
    let nodes = crate::log::counted(report.nodes.len(), "node");
    let renewing: Vec<String> = report.renewing.iter().map(renewed).collect();
    let refused: Vec<String> =
        report.refused.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
    html! {
        div.md_fleet {
            @if report.connected { "Connected to " } @else { b { "Not connected" } " to " }
            @if report.engine.is_empty() { "the engine" } @else { (report.engine) }
            @if let Some(since) = report.since {
                " since " (titled(&since.to_http_date(), &labels::near(since, now)))
            }
            @if let Some(problem) = &report.problem { ": " (problem) }
            "; " (nodes)
            @if !report.name.is_empty() { ", this one is " b { (report.name) } }
            @if report.lag() > 0 { ", " (report.lag()) " revisions behind" }
            "."
            @if !renewing.is_empty() { " Renewing: " (folded(&renewing)) "." }
            @if !refused.is_empty() { " " b { "Refused" } ": " (folded(&refused)) "." }
        }
    }
}

fn renewed(renewing: &Renewing) -> String {
    let solo = if renewing.is_solo { ", on its own" } else { "" };
    format!("{} by {}{solo}", renewing.name, renewing.node)
}

fn folded(all: &[String]) -> Markup {
    let (open, folded) = all.split_at(all.len().min(OPEN));
    html! {
        (open.join(", "))
        @if !folded.is_empty() {
            " " details { summary { "and " (folded.len()) " more" } (folded.join(", ")) }
        }
    }
}

fn cells(report: &FleetReport, node: &ReportedNode, now: Timestamp) -> Markup {
    html! {
        td { (node.name) @if node.id == report.id { " (this one)" } }
        td { (node.id) }
        td { (node.version) }
        td {
            @if let Some(seen) = node.seen { (titled(&seen.to_http_date(), &labels::near(seen, now))) }
        }
        td { (report.lag_of(node)) }
    }
}

/// The section for scripts: one line for each fact.
pub fn text(fleet: &Fleet) -> String {
    let report = &fleet.report;
    let mut out = String::new();
    let mut fact = |key: &str, value: &str| {
        // A line break in a value would begin a fact of its own.
        out.push_str(&format!("Fleet{key}: {}\n", value.replace(char::is_control, " ")));
    };
    fact("Engine", &report.engine);
    fact("Connected", if report.connected { "yes" } else { "no" });
    report.problem.iter().for_each(|problem| fact("Problem", problem));
    fact("Name", &report.name);
    fact("LagRevisions", &report.lag().to_string());
    fact("NodesTotal", &report.nodes.len().to_string());
    for (index, node) in report.nodes.iter().enumerate() {
        fact(&format!("Node[{index}]ID"), &node.id);
        fact(&format!("Node[{index}]Name"), &node.name);
        fact(&format!("Node[{index}]Version"), &node.version);
        node.seen.iter().for_each(|seen| fact(&format!("Node[{index}]Seen"), &seen.to_http_date()));
        fact(&format!("Node[{index}]LagRevisions"), &report.lag_of(node).to_string());
    }
    fact("RenewingTotal", &report.renewing.len().to_string());
    for (index, renewing) in report.renewing.iter().enumerate() {
        fact(&format!("Renewing[{index}]Domain"), &renewing.name);
        fact(&format!("Renewing[{index}]Node"), &renewing.node);
    }
    for (index, (name, reason)) in report.refused.iter().enumerate() {
        fact(&format!("Refused[{index}]Domain"), name);
        fact(&format!("Refused[{index}]Reason"), reason);
    }
    out
}
