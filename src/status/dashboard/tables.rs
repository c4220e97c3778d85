// SPDX-License-Identifier: Apache-2.0
//! The tables below the list: new sets on their way into use, CAs and what they hold back, OCSP responses,
//! the fleet.

use super::entry::Entry;
use super::parts::{day, moment, table, word};
use super::shell::Place;
use super::tone::Tone;
use crate::model::outcome::quoted;
use crate::model::retry_state::Scope;
use crate::stapling::snapshot::Stapled;
use crate::status::fleet::Fleet;
use crate::status::labels;
use crate::status::markup::link;
use crate::time::Timestamp;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// More rows, or more holds of a CA, are counted.
const ROWS: usize = 20;

/// What is counted of a CA.
#[derive(Default)]
struct Authority {
    url: String,
    domains: usize,
    renewing: usize,
    failing: usize,
    held: usize,
    /// Whose requests it wants to wait, and until when.
    waits: BTreeMap<String, Timestamp>,
}

pub(super) fn authorities(entries: &[Entry<'_>], now: Timestamp) -> Markup {
    let mut all: BTreeMap<String, Authority> = BTreeMap::new();
    for entry in entries {
        if let Some((name, url)) = labels::authority(&entry.domain) {
            let authority = all.entry(name).or_default();
            authority.url = url;
            authority.domains += 1;
            if let Some(renewal) = &entry.domain.renewal {
                authority.failing += usize::from(renewal.job.errors > 0);
                authority.held += usize::from(renewal.job.held_back.is_some());
                authority.renewing += usize::from(!renewal.job.finished);
            }
        }
        let limit =
            entry.domain.renewal.as_ref().and_then(|renewal| renewal.job.retry_state.rate_limit.as_ref());
        if let Some(limit) = limit.filter(|limit| limit.is_in_force(now)) {
            let whose = match &limit.scope {
                Scope::Ca => "all renewals".to_string(),
                Scope::Name(name) => name.clone(),
                Scope::Job => entry.name().to_string(),
            };
            let until =
                all.entry(labels::ca_name(&limit.ca)).or_default().waits.entry(whose).or_insert(limit.until);
            *until = limit.until.max(*until);
        }
    }
    let rows = html! {
        @for (name, authority) in &all {
            tr.(if authority.waits.is_empty() { Tone::Good } else { Tone::Warn }.class()) {
                th scope="row" { (link(&authority.url, name)) }
                td.num { (authority.domains) } td.num { (authority.renewing) } td.num { (authority.failing) }
                td {
                    @if authority.held > 0 { (authority.held) " held back to keep to its limits. " }
                    @for (whose, until) in authority.waits.iter().take(ROWS) {
                        div { "Asked to wait with " bdi { (whose) } " until " (moment(*until, now)) }
                    }
                    @if authority.waits.len() > ROWS { div { "and " (authority.waits.len() - ROWS) " more" } }
                    @if authority.held == 0 && authority.waits.is_empty() { span.muted { "none" } }
                }
            }
        }
    };
    html! {
        @if !all.is_empty() {
            section #authorities {
                h2 { "CAs" }
                (table("CAs", &["CA", "Domains", "In renewal", "Failing", "Holds"], &[1, 2, 3], &rows))
            }
        }
    }
}

/// Sets that wait for their time or for a restart, and the latest that came into use without one.
pub(super) fn activation(entries: &[Entry<'_>], place: &Place, now: Timestamp) -> Markup {
    let mut all: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry, entry.domain.activation()?))).collect();
    all.sort_by_key(|(_, activation)| (activation.mode == "live", std::cmp::Reverse(activation.since)));
    let rows = html! {
        @for (entry, activation) in all.iter().take(ROWS) {
            tr.(if activation.mode == "restart" { Tone::Warn } else { Tone::Good }.class()) {
                th scope="row" { a href=(place.of(entry.name())) { (entry.name()) } }
                td { (mode(activation.mode)) }
                td { @if let Some(since) = activation.since { (moment(since, now)) } }
                td.num { (activation.workers) }
                td.mono { (activation.serial) }
            }
        }
    };
    html! {
        @if !all.is_empty() {
            section #activation {
                h2 { "New certificates" }
                (table("New certificates", &["Domain", "State", "Since", "Processes", "Serial"], &[3], &rows))
                @if all.len() > ROWS { p.muted { "and " (all.len() - ROWS) " more" } }
            }
        }
    }
}

pub(super) fn mode(mode: &str) -> &'static str {
    match mode {
        "live" => "in use, without a restart",
        "restart" => "complete, waits for a restart",
        _ => "complete, comes into use by itself",
    }
}

/// Those with problems first.
pub(super) fn responses(staplings: &[Stapled], place: &Place, now: Timestamp) -> Markup {
    let mut sorted: Vec<&Stapled> = staplings.iter().collect();
    sorted.sort_by_key(|stapled| seriousness(stapled, now));
    let good = staplings.iter().filter(|stapled| tone_of(stapled, now) == Tone::Good).count();
    html! {
        @if !staplings.is_empty() {
            section #responses {
                h2 { "OCSP responses" }
                p {
                    (crate::log::counted(staplings.len(), "certificate")) " stapled, "
                    (good) " with a good response."
                }
                (of_responses(&sorted, ROWS, |owner| {
                    html! {
                        @if owner == "other" { "of no managed domain" }
                        @else { a href=(place.of(owner)) { (owner) } }
                    }
                }, now))
                @if staplings.len() > ROWS {
                    p.muted { "and " (staplings.len() - ROWS) " more: each is on the page of its domain" }
                }
            }
        }
    }
}

pub(super) fn of_responses(
    staplings: &[&Stapled],
    count: usize,
    owner: impl Fn(&str) -> Markup,
    now: Timestamp,
) -> Markup {
    let rows = html! {
        @for stapled in staplings.iter().take(count) {
            tr.(tone_of(stapled, now).class()) {
                th scope="row" { (owner(&stapled.owner)) }
                td {
                    (word(words_of(stapled, now), tone_of(stapled, now)))
                    @if stapled.errors > 0 {
                        div { (crate::log::counted(stapled.errors as usize, "failure")) " in a row" }
                        @if let Some(detail) = &stapled.detail {
                            details.said { summary { "What was said" } p { bdi { (quoted(detail)) } } }
                        }
                    }
                }
                td { @if let Some((_, until)) = stapled.valid { (day(until, now)) } }
                td {
                    @let begin = stapled.renewal.map(|(begin, _)| begin);
                    @if let Some(at) = stapled.next_run.or(begin) { (day(at, now)) }
                }
                td { bdi { (link(&stapled.responder, &stapled.responder)) } }
                td.mono { (stapled.serial) }
            }
        }
    };
    let columns = ["Of", "Status", "Valid until", "Next request", "Responder", "Serial"];
    table("OCSP responses", &columns, &[], &rows)
}

fn tone_of(stapled: &Stapled, now: Timestamp) -> Tone {
    match (stapled.status, stapled.is_current(now)) {
        ("revoked", _) => Tone::Bad,
        ("good", true) if stapled.errors == 0 => Tone::Good,
        ("good", true) => Tone::Warn,
        _ if stapled.errors > 0 => Tone::Warn,
        _ => Tone::Busy,
    }
}

fn words_of(stapled: &Stapled, now: Timestamp) -> &'static str {
    match (stapled.status, stapled.is_current(now)) {
        ("good", false) => "too old",
        ("unknown", _) => "no response",
        (status, _) => status,
    }
}

fn seriousness(stapled: &Stapled, now: Timestamp) -> u8 {
    match tone_of(stapled, now) {
        Tone::Bad => 0,
        Tone::Warn => 1,
        Tone::Busy => 2,
        Tone::Idle | Tone::Good => 3,
    }
}

pub(super) fn fleet(fleet: &Fleet, now: Timestamp) -> Markup {
    let report = &fleet.report;
    let (words, tone) = match (report.connected, &report.problem) {
        (true, None) => ("connected", Tone::Good),
        (true, Some(_)) => ("connected", Tone::Warn),
        (false, _) => ("not connected", Tone::Warn),
    };
    let shared = report.shared_names();
    let rows = html! {
        @for node in &report.nodes {
            tr.(if shared.contains(&node.name.as_str()) { Tone::Warn } else { Tone::Good }.class()) {
                th scope="row" { (node.name) @if node.id == report.id { " (this one)" } }
                td { (node.version) }
                td { @if let Some(seen) = node.seen { (moment(seen, now)) } }
                td.num { (report.lag_of(node)) }
                td.mono { (node.id) }
            }
        }
    };
    html! {
        section #fleet {
            h2 { "Fleet" }
            p {
                (word(words, tone)) " "
                @if report.engine.is_empty() { "The engine" } @else { (report.engine) }
                @if let Some(since) = report.since { ", since " (moment(since, now)) }
                "; " (crate::log::counted(report.nodes.len(), "node"))
                @if !report.name.is_empty() { ", this one is " b { (report.name) } }
                @if report.lag() > 0 { ", " (report.lag()) " revisions behind" }
                "."
            }
            @if let Some(problem) = &report.problem { p.why { bdi { (problem) } } }
            @if !report.nodes.is_empty() {
                (table("Nodes", &["Node", "Version", "Seen", "Behind", "ID"], &[3], &rows))
            }
            @if !report.renewing.is_empty() {
                p { "Renewed now, by node: " }
                ul {
                    @for renewing in report.renewing.iter().take(ROWS) {
                        li { (renewing.name) " by " (renewing.node) @if renewing.is_solo { ", on its own" } }
                    }
                    @if report.renewing.len() > ROWS { li { "and " (report.renewing.len() - ROWS) " more" } }
                }
            }
            @if !report.refused.is_empty() {
                p { "Values of the engine that are not used:" }
                ul {
                    @for (name, reason) in report.refused.iter().take(ROWS) {
                        li { (name) ": " bdi { (reason) } }
                    }
                    @if report.refused.len() > ROWS { li { "and " (report.refused.len() - ROWS) " more" } }
                }
            }
        }
    }
}
