// SPDX-License-Identifier: Apache-2.0
//! The section of server-status for people: one table row for each managed domain, the most serious first.
//!
//! Class names and columns are those of the C module, because style sheets and scripts name them. `maud`
//! writes and escapes every value from the CA, the store or the configuration; only constants of this file go
//! to the page as they are.

use super::Monitor;
use super::domain::Domain;
use super::labels::{self, PENDING};
use super::markup::{ascii, link, titled};
use super::printed::{Progress, Row, Shown};
use super::remedy::{self, Weight};
use super::snapshot::Snapshots;
use super::standing::{self, Action, Next, Standing};
use crate::crypto::CertInfo;
use crate::managed::certificates::KeyedCert;
use crate::model::Job;
use crate::model::job::status;
use crate::model::outcome::{quoted, split_advice};
use crate::model::retry_state::Scope;
use crate::renew::decide::due::{self, Decision};
use crate::time::{DAY, Timestamp};
use maud::{Markup, html};
use std::sync::Arc;
use std::time::Duration;

/// A row shows this many names of its domain and folds the others.
const NAMES_OPEN: usize = 4;

const STYLE: &str = "<style>
:root { color-scheme: light dark; }
.md_scroll { overflow-x: auto; max-width: 100%; }
.md_status { border-collapse: collapse; width: 100%; font-family: system-ui, sans-serif; font-size: 90%; line-height: 1.4; background: Canvas; color: CanvasText; }
.md_status th, .md_status td { padding: .35em .6em; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
.md_status th { border-bottom: 2px solid #888; overflow-wrap: normal; }
.md_status .odd { background: #8881; }
.md_status .md_error { background: #e5393526; box-shadow: inset 4px 0 #e53935; }
.md_status .md_warning { background: #f9a82526; box-shadow: inset 4px 0 #f9a825; }
.md_status .md_error td:nth-child(3), .md_status .md_warning td:nth-child(3) { font-weight: bold; }
.md_status td:first-child { font-weight: bold; min-width: 12em; }
.md_status td:nth-child(2) { min-width: 13em; max-width: 18em; }
.md_status td:nth-child(3) { min-width: 9em; max-width: 12em; }
.md_status td:nth-child(4), .md_status td:nth-child(7) { min-width: 6em; }
.md_status td:nth-child(5) { min-width: 7em; }
.md_status td:nth-child(8) { min-width: 20em; width: 34%; }
.md_status .md_todo { margin: .2em 0; }
.md_status .md_said { margin: .2em 0 .2em 1em; unicode-bidi: isolate; }
.md_status span[title] { border-bottom: 1px dotted; cursor: help; }
.md_status summary { cursor: pointer; }
</style>
";

const HEAD: &str = "<div class='md_scroll'><table class='md_status'><thead><tr>
<th class='Domain'>Domain</th><th class='Names'>Names</th><th class='Status'>Status</th>\
<th class='Valid'>Valid</th><th class='CA'>CA</th><th class='Stapling'>Stapling</th>\
<th class='CheckAt'>CheckAt</th><th class='Activity'>Activity</th></tr>
</thead><tbody>
";

/// Where those are, the configuration alone says.
const PAGES_FOR_PEOPLE: &str = "<p class='md_dashboard'><code>SetHandler md-dashboard</code> shows the same as pages of their own, \
with search, timelines, and one page for each domain.</p>\n";

/// The section with all managed domains; empty without any.
pub fn certificates(snapshots: &Snapshots, monitor: &Monitor, now: Timestamp) -> String {
    let mut rows: Vec<Arc<Shown>> = Vec::new();
    snapshots.each_printed(now, |domain, kept| {
        let row = match kept.row.take() {
            Some(row) if row.during.contains(&now) && row.monitor == *monitor => row,
            _ => print(domain, monitor, now),
        };
        rows.push(row.shown.clone());
        kept.row = Some(row);
    });
    if rows.is_empty() {
        return String::new();
    }
    // The sort is stable: rows of one weight stay in the order of their names.
    rows.sort_by_key(|row| row.weight);
    let length: usize = rows.iter().map(|row| row.cells.len() + 40).sum();
    let mut out = String::with_capacity(length + STYLE.len() + HEAD.len() + 500);
    out.push_str("<hr>\n<section id='managed-certificates'>\n<h3>Managed Certificates</h3>\n");
    out.push_str(STYLE);
    out.push_str(&ascii(summary(&rows)));
    out.push('\n');
    out.push_str(HEAD);
    for (index, row) in rows.iter().enumerate() {
        out.push_str(match (index % 2, row.weight) {
            (0, Weight::Error) => "<tr class='even md_error'>",
            (0, Weight::Warning) => "<tr class='even md_warning'>",
            (0, Weight::Good) => "<tr class='even'>",
            (_, Weight::Error) => "<tr class='odd md_error'>",
            (_, Weight::Warning) => "<tr class='odd md_warning'>",
            (_, Weight::Good) => "<tr class='odd'>",
        });
        out.push_str(&row.cells);
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out.push_str(PAGES_FOR_PEOPLE);
    out.push_str("</section>\n");
    out
}

fn print(domain: &Domain<'_>, monitor: &Monitor, now: Timestamp) -> Row {
    let (status, weight) = (labels::status(domain, now), remedy::weight(domain, now));
    let mut dates = Dates { now, until: now.plus(DAY) };
    let cells = ascii(cells(domain, &status, monitor, &mut dates)).into();
    let progress = match &domain.renewal {
        None => Progress::None,
        Some(_) if domain.ready().is_some() => Progress::Ready,
        // Its certificates are in use.
        Some(_) if domain.next().is_none() => Progress::None,
        Some(_) => Progress::Running,
    };
    let shown = Shown { cells, weight, standing: domain.standing(now), progress };
    Row { shown: Arc::new(shown), monitor: monitor.clone(), during: now..dates.until }
}

/// Writes dates as of now, and knows until when all of them read so.
struct Dates {
    now: Timestamp,
    until: Timestamp,
}

impl Dates {
    fn near(&mut self, time: Timestamp) -> String {
        if let Some(until) = labels::near_until(time, self.now) {
            self.until = self.until.min(until);
        }
        labels::near(time, self.now)
    }

    /// A time, near ones as a span, with the full date under the pointer.
    fn moment(&mut self, time: Timestamp) -> Markup {
        titled(&time.to_http_date(), &self.near(time))
    }

    /// At `time` the row says something else.
    fn changes_at(&mut self, time: Timestamp) {
        if time > self.now {
            self.until = self.until.min(time);
        }
    }
}

/// The standing of all domains, in one line.
fn summary(rows: &[Arc<Shown>]) -> Markup {
    let at = |progress| rows.iter().filter(|row| row.progress == progress).count();
    let counted = Standing::all()
        .map(|standing| (rows.iter().filter(|row| row.standing == standing).count(), standing.words()));
    let counted = counted.filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
    html! {
        p.md_summary {
            (rows.len()) @if rows.len() == 1 { " managed domain: " } @else { " managed domains: " }
            (counted.collect::<Vec<_>>().join(", ")) "; "
            (at(Progress::Running)) " in renewal, " (at(Progress::Ready)) " renewed and waiting"
        }
    }
}

fn cells(domain: &Domain<'_>, status: &str, monitor: &Monitor, dates: &mut Dates) -> Markup {
    let md = &domain.managed.md;
    html! {
        td { (md.name) }
        td { (names(&md.domains)) }
        td { (status) }
        td { (validity(&domain.all_certs(), dates)) }
        td { @if let Some((name, url)) = labels::authority(domain) { (link(&url, &name)) } }
        td { @if md.stapling { "on" } }
        td { (checks(domain.labeled(), monitor)) }
        td { (activity(domain, monitor, dates)) }
    }
}

fn names(names: &[String]) -> Markup {
    let (open, folded) = names.split_at(names.len().min(NAMES_OPEN));
    html! {
        (open.join(" "))
        @if !folded.is_empty() {
            details { summary { "and " (folded.len()) " more" } (folded.join(" ")) }
        }
    }
}

/// The period common to all certificates.
fn validity(certs: &[KeyedCert], dates: &mut Dates) -> Markup {
    let certs = || certs.iter().filter_map(|(_, cert)| cert.as_ref());
    let period = certs().map(|cert| cert.not_before).max().zip(certs().map(|cert| cert.not_after).min());
    html! {
        @if let Some((from, until)) = period {
            @let title = format!("{} - {}", from.to_http_date(), until.to_http_date());
            @if from > dates.now { "from " (titled(&title, &dates.near(from))) " " }
            "until " (titled(&title, &dates.near(until)))
        }
    }
}

fn checks<'c>(certs: impl Iterator<Item = (String, &'c CertInfo)>, monitor: &Monitor) -> Markup {
    html! {
        @for (label, cert) in certs {
            (link(&format!("{}{}", monitor.url, cert.fingerprint), &format!("{}[{label}]", monitor.name)))
            br;
        }
    }
}

fn activity(domain: &Domain<'_>, monitor: &Monitor, dates: &mut Dates) -> Markup {
    html! {
        b.md_word {
            (word(domain, dates))
            @if let Some(remark) = labels::remark(domain, dates.now) { ": " (remark) }
        }
        br;
        @if let Some(todo) = remedy::of(domain, dates.now) {
            div.md_todo { b { "What to do:" } " " (todo) }
        }
        @if let Some(set) = &domain.live { "Went live " (dates.moment(set.since)) ", without a restart. " }
        @if let Some(served) = labels::served(domain) { (served) br; }
        @if let Some(renewal) = &domain.renewal { (failure(&renewal.job)) }
        @if let Some(loss) = domain.save_error {
            b { "Not saved[" (status::description(loss.status)) "]" } ": " (labels::UNSAVED)
            (errors(loss.errors)) br;
        }
        @if let Some(renewing) = &domain.renewing {
            "Renewed by the node " b { (renewing.node) }
            @if renewing.is_solo { ", on its own" }
            @if let Some(since) = renewing.since { ", since " (dates.moment(since)) }
            "." br;
        }
        (waiting(domain, dates))
        (wait(domain, dates))
        (next(domain, monitor, dates))
        (advice(domain, dates))
    }
}

/// The word for its standing, which is another one as time passes where it has the time that is left.
fn word(domain: &Domain<'_>, dates: &mut Dates) -> Markup {
    if let Some(certs) = domain.need.certs.filter(|_| domain.standing(dates.now) == Standing::ExpiresSoon) {
        let until = standing::length_until(certs.until, dates.now);
        // The words are those before that only up to it.
        dates.until = dates.until.min(until.max(dates.now.plus(Duration::from_millis(1))));
    }
    html! { (domain.said(dates.now)) }
}

/// The next step.
fn next(domain: &Domain<'_>, monitor: &Monitor, dates: &mut Dates) -> Markup {
    let what = match (domain.next(), &domain.renewal) {
        (Some(next), Some(renewal)) if domain.ready().is_some() => html! {
            b { "Renewed" } ", next: " (next.action.words())
            @if let Some(at) = next.at { " " (dates.moment(at)) }
            "; " (validity(&renewal.staged, dates)) " " (checks(renewal.labeled(), monitor))
        },
        // `waiting` has said it.
        (Some(Next { action: Action::WaitForCa | Action::WaitForRecord, .. }), _) => html! {},
        (Some(next), Some(renewal)) => match next.at {
            Some(at) => html! { "Next run " (dates.moment(at)) },
            None => html! { "Renewing: " (renewal.job.last.activity.as_deref().unwrap_or("under way")) },
        },
        _ => match &domain.need.decision {
            Decision::Now(reason) => html! { (PENDING) ": " (reason) },
            Decision::At(at, _) => html! { "Renew " (dates.moment(*at)) },
            Decision::Never(reason) => html! { (reason) },
        },
    };
    let managed = domain.managed;
    let is_left_to_others = domain.renewal.is_none() && !matches!(domain.need.decision, Decision::Never(_));
    html! {
        (what)
        @if is_left_to_others
            && let Decision::Never(reason) =
                due::decide(&managed.md, domain.certs(), managed.in_use, None, dates.now)
        {
            "; not by this module: " (reason)
        }
    }
}

/// The step that the CA is at work on, or the records that the admin has to set.
fn waiting(domain: &Domain<'_>, dates: &mut Dates) -> Markup {
    let waiting = domain.renewal.as_ref().and_then(|renewal| renewal.job.waiting.as_ref());
    html! {
        @if let Some(waiting) = waiting.filter(|waiting| !waiting.records.is_empty()) {
            "Waits for " (waiting.what) ". Set in the DNS:"
            @for line in &waiting.records { br; code { (line) } }
            br; "It began " (dates.moment(waiting.since))
            @if let Some(at) = domain.next().and_then(|next| next.at) {
                ", and looks again " (dates.moment(at))
            }
            "." br;
        } @else if let Some(waiting) = waiting {
            "The CA is " (waiting.what) "; it began " (dates.moment(waiting.since))
            @if let Some(at) = domain.next().and_then(|next| next.at) {
                ", and is asked again " (dates.moment(at))
            }
            "." br;
        }
    }
}

/// A wait that a CA demanded (`Retry-After`).
fn wait(domain: &Domain<'_>, dates: &mut Dates) -> Markup {
    let rate_limit = domain.renewal.as_ref().and_then(|renewal| renewal.job.retry_state.rate_limit.as_ref());
    let Some(rate_limit) = rate_limit.filter(|limit| limit.is_in_force(dates.now)) else {
        return html! {};
    };
    dates.changes_at(rate_limit.until);
    html! {
        (labels::ca_name(&rate_limit.ca)) " asked to wait"
        @if let Scope::Name(name) = &rate_limit.scope { " with " (name) }
        ", and is asked again " (dates.moment(rate_limit.until)) "." br;
    }
}

/// When the CA advises to renew the certificate (RFC 9773).
fn advice(domain: &Domain<'_>, dates: &mut Dates) -> Markup {
    let Some(advice) = &domain.need.advice else { return html! {} };
    let window = format!("between {} and {}", advice.start.to_http_date(), advice.end.to_http_date());
    html! {
        br;
        (titled(&window, "The CA advises")) " to renew " (dates.moment(advice.renew_at))
        @if let Some(url) = &advice.explanation { ", " (link(url, "why")) }
    }
}

/// What the CA, or whoever failed, has said, folded and apart from our words: [`remedy`] goes before it.
fn said(detail: Option<&str>) -> Markup {
    let said = detail.map(|detail| split_advice(detail).0).filter(|said| !said.is_empty());
    html! {
        @if let Some(said) = said { details { summary { "what was said" } div.md_said { bdi { (said) } } } }
    }
}

/// The last error until a success follows, or why the renewal waits.
fn failure(job: &Job) -> Markup {
    let last = &job.last;
    let detail = || said(last.detail.as_deref());
    // The CA's words, which do not pass for ours.
    let what = last.problem.as_deref().map(quoted);
    let what = what.or_else(|| status::has_reason(last.status).then(|| status::description(last.status)));
    html! {
        @if let Some(held) = &job.held_back {
            b { "Held back" } " until " (held.until.to_http_date()) ": " (held.reason) "." br;
        }
        @if job.errors > 0 {
            @if last.status != status::OK || last.problem.is_some() {
                b { "Error" @if let Some(what) = what { "[" (what) "]" } }
            }
            (errors(job.errors)) br;
            (detail())
        } @else if job.is_vetoed() {
            "Postponed by a command." br;
            (detail())
        } @else if job.has_failed_to_warn() {
            b { "Error" } " of a command." br;
            (detail())
        }
    }
}

fn errors(count: u32) -> Markup {
    html! {
        @match count {
            0 => {}
            1 => { " " i { "(1 error)" } }
            _ => { " " i { "(" (count) " errors in a row)" } }
        }
    }
}
