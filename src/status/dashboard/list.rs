// SPDX-License-Identifier: Apache-2.0
//! The page of all managed domains: how many need attention, these with what to do, then all of them, a
//! page at a time, then what is ahead, OCSP, CAs, fleet.

use super::ahead::{Renewal, ahead};
use super::card::{card, what_to_do};
use super::entry::{Entry, bar, chosen, next};
use super::parts::{day, exactly, names, span, word};
use super::query::{ATTENTION, PAGE, Query, SORTS, Show, Sort};
use super::shell::{Place, page};
use super::tables;
use super::timeline::{self, Bar, Scale, timeline};
use super::tone::Tone;
use crate::stapling::snapshot::Stapled;
use crate::status::labels;
use crate::status::snapshot::Snapshots;
use crate::status::standing::Standing;
use crate::time::{DAY, Timestamp};
use maud::{Markup, html};

/// More domains that need attention are in the list alone.
const CARDS: usize = 20;
/// A row shows this many names beside the first.
const NAMES_OPEN: usize = 3;
/// Bytes of further names to search in, of each row: what is longer, the form finds.
const NAMES_MAX: usize = 1000;
/// So far ahead are renewals shown.
const AHEAD: u32 = 90;

/// `asked`: what the address has after its `?`; `server`: the name of the server that is asked.
pub fn list(
    snapshots: &Snapshots,
    staplings: &[Stapled],
    asked: &str,
    server: &str,
    place: &Place,
    now: Timestamp,
) -> String {
    let query = Query::parse(asked);
    let entries: Vec<Entry<'_>> =
        snapshots.all(now).into_iter().map(|domain| Entry::new(domain, now)).collect();
    let fleet = snapshots.fleet(now);
    let main = html! {
        @if query.is_plain() { (attention(&entries, place, now)) }
        (domains(&entries, &query, place, now))
        @if query.is_plain() {
            @if let Some(fleet) = &fleet { (tables::fleet(fleet, now)) }
            (tables::activation(&entries, place, now))
            section #ahead {
                h2 { "Renewals of the next " (AHEAD) " days" }
                (ahead(&renewals(&entries, now), now))
            }
            (tables::authorities(&entries, now))
            (tables::responses(staplings, place, now))
        }
    };
    page("Certificates", header(&entries, staplings, &query, server, now), main)
}

fn header(
    entries: &[Entry<'_>],
    staplings: &[Stapled],
    query: &Query,
    server: &str,
    now: Timestamp,
) -> Markup {
    let (summary, tone) = summary(entries, staplings, now);
    html! {
        h1 { "Certificates" }
        p.facts { (server) ", as of " (exactly(now)) }
        p.summary.(tone.class()) { (summary) }
        ul.counts {
            @let all = entries.len();
            (count(all, if all == 1 { "domain" } else { "domains" }, Tone::Idle, Show::All, query))
            @let needed = entries.iter().filter(|entry| entry.is_needed).count();
            @if needed > 0 { (count(needed, "to look at", Tone::Warn, Show::Attention, query)) }
            @for standing in Standing::all() {
                @let of = || entries.iter().filter(|entry| entry.standing == standing);
                @if let Some(worst) = of().map(Entry::tone).min_by_key(|tone| seriousness(*tone)) {
                    (count(of().count(), standing.words(), worst, Show::Of(standing), query))
                }
            }
        }
    }
}

fn seriousness(tone: Tone) -> u8 {
    match tone {
        Tone::Bad => 0,
        Tone::Warn => 1,
        Tone::Busy => 2,
        Tone::Idle => 3,
        Tone::Good => 4,
    }
}

fn count(number: usize, words: &str, tone: Tone, show: Show, query: &Query) -> Markup {
    let address = Query { show, page: 1, ..Query::default() }.address();
    let is_current = query.show == show;
    html! {
        li.(tone.class()) {
            a href=(address) aria-current=[is_current.then_some("true")] { b { (number) } " " (words) }
        }
    }
}

/// `2 need attention`.
fn summary(entries: &[Entry<'_>], staplings: &[Stapled], now: Timestamp) -> (String, Tone) {
    let needed = entries.iter().filter(|entry| entry.is_needed).count();
    let revoked = staplings.iter().filter(|stapled| stapled.status == "revoked").count();
    let lost = staplings.iter().filter(|stapled| stapled.errors > 0 && !stapled.is_current(now)).count();
    let of_ocsp = match (revoked, lost) {
        (0, 0) => String::new(),
        (0, lost) => format!("; {lost} without OCSP response"),
        (revoked, _) => format!("; {revoked} revoked"),
    };
    let text = match needed {
        0 if entries.is_empty() => "No managed domains".to_string(),
        0 => "Nothing needs attention".to_string(),
        1 => "1 needs attention".to_string(),
        needed => format!("{needed} need attention"),
    };
    let is_bad = revoked > 0 || entries.iter().any(|entry| entry.standing.is_grave());
    let tone = match (is_bad, needed + lost) {
        (true, _) => Tone::Bad,
        (false, 0) if entries.is_empty() => Tone::Idle,
        (false, 0) => Tone::Good,
        (false, _) => Tone::Warn,
    };
    (text + &of_ocsp, tone)
}

fn attention(entries: &[Entry<'_>], place: &Place, now: Timestamp) -> Markup {
    let query = Query { show: Show::Attention, page: 1, ..Query::default() };
    let needed = chosen(entries, &query);
    html! {
        @if !needed.is_empty() {
            section.attention #attention {
                h2 { "Needs attention" }
                @for entry in needed.iter().take(CARDS) { (card(entry, place, now)) }
                @if needed.len() > CARDS {
                    p { a href=(query.address()) { "All " (needed.len()) " that need attention" } }
                }
            }
        }
    }
}

fn domains(entries: &[Entry<'_>], query: &Query, place: &Place, now: Timestamp) -> Markup {
    let chosen = chosen(entries, query);
    let pages = chosen.len().div_ceil(PAGE).max(1);
    let number = query.page.min(pages);
    let shown: Vec<(&Entry<'_>, Option<Bar>)> =
        chosen.iter().skip((number - 1) * PAGE).take(PAGE).map(|entry| (*entry, bar(entry))).collect();
    let scale = Scale::of(shown.iter().filter_map(|(_, bar)| bar.as_ref()), now);
    html! {
        section #domains {
            h2 { "Domains" }
            (form(query))
            p.hits #hits role="status" { (hits(chosen.len(), entries.len(), number, pages)) }
            @if shown.is_empty() {
                p.empty {
                    @if entries.is_empty() { "None is configured: " code { "MDomain" } " does." }
                    @else { "None is found. " a href="?" { "All domains" } }
                }
            } @else {
                p.legend { (timeline::legend()) }
                div.scroll tabindex="0" role="region" aria-label="Domains" {
                    table.domains #list data-total=(entries.len()) {
                        thead {
                            tr {
                                (column("Domain", Sort::Name, query)) (column("Status", Sort::Status, query))
                                (column("Valid until", Sort::Until, query))
                                th.line scope="col" { span.sr { "Lifetime" } (timeline::axis(&scale, now)) }
                                (column("Next", Sort::Next, query)) th scope="col" { "CA" }
                            }
                        }
                        tbody { @for (index, (entry, bar)) in shown.iter().enumerate() {
                                // What to do stands on its card already.
                                @let has_card = query.is_plain() && entry.is_needed && index < CARDS;
                                (row(entry, bar.as_ref(), &scale, has_card, place, now))
                            } }
                    }
                }
                (pager(query, number, pages))
            }
        }
    }
}

fn form(query: &Query) -> Markup {
    let status = query.status();
    let sort = format!("{}{}", if query.is_reverse { "-" } else { "" }, query.sort.word());
    html! {
        form.search method="get" role="search" {
            label { "Name or CA " input type="search" name="q" value=(query.text) autocomplete="off"; }
            label {
                "Status "
                select name="status" {
                    option value="" selected[status.is_empty()] { "all" }
                    option value=(ATTENTION) selected[status == ATTENTION] { "needs attention" }
                    @for standing in Standing::all() {
                        @let token = standing.token();
                        option value=(token) selected[status == token] { (standing.words()) }
                    }
                }
            }
            label {
                "Order "
                select name="sort" {
                    @for (_, word, words) in SORTS { option value=(word) selected[sort == word] { (words) } }
                    @if query.is_reverse { option value=(sort) selected { "the reverse" } }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

fn hits(found: usize, all: usize, number: usize, pages: usize) -> String {
    let mut text = match found == all {
        true => crate::log::counted(all, "domain"),
        false => format!("{found} of {}", crate::log::counted(all, "domain")),
    };
    if pages > 1 {
        text.push_str(&format!(", page {number} of {pages}"));
    }
    text
}

fn column(words: &str, sort: Sort, query: &Query) -> Markup {
    let order = (query.sort == sort).then_some(if query.is_reverse { "descending" } else { "ascending" });
    html! {
        th scope="col" data-sort=(sort.word()) aria-sort=[order] {
            a href=(query.sorted_by(sort).address()) { (words) }
        }
    }
}

fn row(
    entry: &Entry<'_>,
    bar: Option<&Bar>,
    scale: &Scale,
    has_card: bool,
    place: &Place,
    now: Timestamp,
) -> Markup {
    let domain = &entry.domain;
    let others = || domain.managed.md.domains.iter().map(String::as_str).filter(|name| *name != entry.name());
    let folded = || {
        let mut out = String::new();
        others()
            .skip(NAMES_OPEN)
            .take_while(|name| {
                out.push_str(name);
                out.push(' ');
                out.len() < NAMES_MAX
            })
            .for_each(drop);
        out
    };
    let (step, at) = next(domain, now);
    let key = |time: Option<Timestamp>| time.map(Timestamp::unix);
    html! {
        tr.(entry.tone().class()) data-status=(entry.standing.token())
            data-names=[Some(folded()).filter(|names| !names.is_empty())] {
            th.name scope="row" {
                a href=(place.of(entry.name())) { (entry.name()) }
                @if others().next().is_some() { div.names { (names(others(), NAMES_OPEN)) } }
            }
            td.status {
                (word(&domain.said(now), entry.tone()))
                @if !has_card && (entry.is_needed || entry.standing == Standing::Unused) {
                    div.remedy { (what_to_do(domain, now)) }
                }
            }
            td.until data-key=[key(entry.until)] {
                @if let Some(until) = entry.until { (day(until, now)) } @else { span.muted { "none" } }
            }
            td.line {
                @if let Some(bar) = bar { (timeline(bar, scale, now)) }
                @else { span.muted { "no certificate" } }
            }
            td.next data-key=[key(at)] {
                (step) @if let Some(at) = at.filter(|at| *at > now) { " " span.muted { (span(at, now)) } }
            }
            td.ca { @if let Some((name, _)) = labels::authority(domain) { (name) } }
        }
    }
}

/// Links to pages: the first, the last, and those near this one.
fn pager(query: &Query, number: usize, pages: usize) -> Markup {
    let near = |page: &usize| *page == 1 || *page == pages || page.abs_diff(number) <= 2;
    let address = |page: usize| Query { page, ..query.clone() }.address();
    html! {
        @if pages > 1 {
            nav.pages aria-label="Pages of the list" {
                @if number > 1 { a href=(address(number - 1)) rel="prev" { "Previous" } " " }
                @for page in (1..=pages).filter(near) {
                    @if page == number { span aria-current="page" { (page) } }
                    @else { a href=(address(page)) { (page) } }
                    " "
                }
                @if number < pages { a href=(address(number + 1)) rel="next" { "Next" } }
            }
        }
    }
}

/// The renewals to come, of the domains that this module renews.
fn renewals(entries: &[Entry<'_>], now: Timestamp) -> Vec<Renewal> {
    let last = now.plus(DAY * AHEAD);
    let renewal = |entry: &Entry<'_>| {
        let md = &entry.domain.managed.md;
        let is_ours = md.not_renewed(entry.domain.managed.in_use).is_none();
        let at = entry.next.filter(|at| is_ours && *at < last)?.max(now);
        let ca = labels::authority(&entry.domain).map(|(name, _)| name).unwrap_or_default();
        Some(Renewal { at, ca, names: md.domains.len() })
    };
    entries.iter().filter_map(renewal).collect()
}
