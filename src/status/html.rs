// SPDX-License-Identifier: Apache-2.0
//! The section of server-status for people: one table, in which what needs somebody's eyes comes first.
//!
//! Class names and columns are those of the C module, for style sheets and scripts. Everything from the CA,
//! the store and the configuration is escaped by [`Html`].

use super::Monitor;
use super::labels::{self, PENDING, Weight};
use super::markup::Html;
use super::snapshot::{Domain, Seen, Snapshots};
use super::standing::{Action, Next, Standing};
use crate::crypto::CertInfo;
use crate::managed::certificates::KeyedCert;
use crate::model::Job;
use crate::model::job::status;
use crate::model::pace::Scope;
use crate::renew::decide::due;
use crate::renew::decide::due::Decision;
use crate::time::{DAY, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// So many names of one domain are shown at once.
const NAMES_OPEN: usize = 4;

/// So many bytes of a text are shown at once, where its first sentence is no longer than that.
const TEXT_OPEN: usize = 200;

const STYLE: &str = "<style>
:root { color-scheme: light dark; }
.md_scroll { overflow-x: auto; max-width: 100%; }
.md_status { border-collapse: collapse; font-family: system-ui, sans-serif; font-size: 90%; line-height: 1.4; }
.md_status th, .md_status td { padding: .35em .7em; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
.md_status th { white-space: nowrap; border-bottom: 2px solid #888; }
.md_status .odd { background: #8881; }
.md_status .md_error { background: #e5393526; box-shadow: inset 4px 0 #e53935; }
.md_status .md_warning { background: #f9a82526; box-shadow: inset 4px 0 #f9a825; }
.md_status .md_error td:nth-child(3), .md_status .md_warning td:nth-child(3) { font-weight: bold; }
.md_status td:first-child { font-weight: bold; white-space: nowrap; }
.md_status td:nth-child(2) { min-width: 14em; max-width: 24em; overflow-wrap: anywhere; }
.md_status td:nth-child(3) { min-width: 7em; max-width: 16em; overflow-wrap: break-word; }
.md_status td:nth-child(4), .md_status td:nth-child(7) { white-space: nowrap; }
.md_status td:nth-child(8) { min-width: 24em; max-width: 44em; overflow-wrap: anywhere; }
.md_status span[title] { white-space: nowrap; border-bottom: 1px dotted; cursor: help; }
.md_status summary { cursor: pointer; }
</style>
";

/// All managed domains. Nothing without any.
pub fn certificates(snapshots: &Snapshots, monitor: &Monitor, now: Timestamp) -> String {
    let mut rows: Vec<Shown> = Vec::new();
    snapshots.each_printed(now, |domain, kept| {
        let row = match kept.row.take() {
            Some(row) if row.is_of(domain, monitor, now) => row,
            _ => Row::new(domain, monitor, now),
        };
        rows.push((row.weight, row.standing, row.progress, row.cells.clone()));
        kept.row = Some(row);
    });
    if rows.is_empty() {
        return String::new();
    }
    // Stable: within one weight the order of the names stays.
    rows.sort_by_key(|(weight, ..)| *weight);
    let mut out = Html::default();
    out.raw("<hr>\n<h3>Managed Certificates</h3>\n").raw(STYLE);
    summary(&rows, &mut out);
    out.raw("<div class='md_scroll'><table class='md_status'><thead><tr>\n");
    out.raw("<th class='Domain'>Domain</th><th class='Names'>Names</th><th class='Status'>Status</th>");
    out.raw("<th class='Valid'>Valid</th><th class='CA'>CA</th><th class='Stapling'>Stapling</th>");
    out.raw("<th class='CheckAt'>CheckAt</th><th class='Activity'>Activity</th></tr>\n</thead><tbody>\n");
    let mut out = out.finish();
    out.reserve(rows.iter().map(|(.., cells)| cells.len() + 40).sum());
    for (index, (weight, .., cells)) in rows.iter().enumerate() {
        out.push_str(match (index % 2, weight) {
            (0, Weight::Error) => "<tr class='even md_error'>",
            (0, Weight::Warning) => "<tr class='even md_warning'>",
            (0, Weight::Good) => "<tr class='even'>",
            (_, Weight::Error) => "<tr class='odd md_error'>",
            (_, Weight::Warning) => "<tr class='odd md_warning'>",
            (_, Weight::Good) => "<tr class='odd'>",
        });
        out.push_str(cells);
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// How far a renewal has come.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    None,
    Running,
    Ready,
}

/// A row in the making of the page.
type Shown = (Weight, Standing, Progress, Arc<str>);

/// The cells of one domain, as long as they would be the same.
pub(super) struct Row {
    cells: Arc<str>,
    weight: Weight,
    standing: Standing,
    progress: Progress,
    seen: Seen,
    monitor: Monitor,
    /// While they say the same.
    during: Range<Timestamp>,
}

impl Row {
    fn new(domain: &Domain<'_>, monitor: &Monitor, now: Timestamp) -> Self {
        let (status, weight) = labels::status(domain, now);
        let mut dates = Dates { now, until: now.plus(DAY) };
        let mut out = Html::default();
        row(domain, &status, monitor, &mut dates, &mut out);
        let progress = match &domain.renewal {
            None => Progress::None,
            Some(_) if domain.ready().is_some() => Progress::Ready,
            // What it got is in use.
            Some(_) if domain.next().is_none() => Progress::None,
            Some(_) => Progress::Running,
        };
        Row {
            cells: out.finish().into(),
            weight,
            standing: domain.standing(now),
            progress,
            seen: Seen::of(domain),
            monitor: monitor.clone(),
            during: now..dates.until,
        }
    }

    fn is_of(&self, domain: &Domain<'_>, monitor: &Monitor, now: Timestamp) -> bool {
        self.during.contains(&now) && self.seen.is_of(domain) && self.monitor == *monitor
    }
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

    /// At `time` something else is to be said.
    fn heed(&mut self, time: Timestamp) {
        if time > self.now {
            self.until = self.until.min(time);
        }
    }
}

/// How it stands with all of them, in one line.
fn summary(rows: &[Shown], out: &mut Html) {
    let at = |progress| rows.iter().filter(|(.., of_row, _)| *of_row == progress).count().to_string();
    out.raw("<p class='md_summary'>").text(&rows.len().to_string()).raw(if rows.len() == 1 {
        " managed domain: "
    } else {
        " managed domains: "
    });
    let counted = Standing::all().map(|standing| {
        (rows.iter().filter(|(_, of_row, ..)| *of_row == standing).count(), standing.words())
    });
    let counted = counted.filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
    out.text(&counted.collect::<Vec<_>>().join(", ")).raw("; ");
    out.text(&at(Progress::Running)).raw(" in renewal, ");
    out.text(&at(Progress::Ready)).raw(" renewed and waiting</p>\n");
}

fn row(domain: &Domain<'_>, status: &str, monitor: &Monitor, dates: &mut Dates, out: &mut Html) {
    let md = &domain.managed.md;
    out.raw("<td>").text(&md.name).raw("</td><td>");
    names(&md.domains, out);
    out.raw("</td><td>").text(status).raw("</td><td>");
    validity(&domain.all_certs(), dates, out);
    out.raw("</td><td>");
    if let Some((name, url)) = labels::authority(domain) {
        out.link(&url, &name);
    }
    out.raw("</td><td>").raw(if md.stapling { "on" } else { "" }).raw("</td><td>");
    checks(domain.labeled(), monitor, out);
    out.raw("</td><td>");
    activity(domain, monitor, dates, out);
    out.raw("</td>");
}

fn names(names: &[String], out: &mut Html) {
    let (open, folded) = names.split_at(names.len().min(NAMES_OPEN));
    out.text(&open.join(" "));
    if !folded.is_empty() {
        out.raw("<details><summary>and ").text(&folded.len().to_string()).raw(" more</summary>");
        out.text(&folded.join(" ")).raw("</details>");
    }
}

/// The period common to all certificates.
fn validity(certs: &[KeyedCert], dates: &mut Dates, out: &mut Html) {
    let certs = || certs.iter().filter_map(|(_, cert)| cert.as_ref());
    let from = certs().map(|cert| cert.not_before).max();
    let Some((from, until)) = from.zip(certs().map(|cert| cert.not_after).min()) else { return };
    let (is_early, title) = (from > dates.now, format!("{} - {}", from.to_http_date(), until.to_http_date()));
    let mut show = |word: &'static str, time: Timestamp| {
        out.raw(word).raw("<span").attribute("title", &title).raw(">").text(&dates.near(time)).raw("</span>");
    };
    if is_early {
        show("from ", from);
        show(" until ", until);
    } else {
        show("until ", until);
    }
}

fn moment(time: Timestamp, dates: &mut Dates, out: &mut Html) {
    out.raw("<span").attribute("title", &time.to_http_date()).raw(">").text(&dates.near(time)).raw("</span>");
}

fn checks<'c>(certs: impl Iterator<Item = (String, &'c CertInfo)>, monitor: &Monitor, out: &mut Html) {
    for (label, cert) in certs {
        let url = format!("{}{}", monitor.url, cert.fingerprint);
        out.link(&url, &format!("{}[{label}]", monitor.name)).raw("<br>");
    }
}

fn activity(domain: &Domain<'_>, monitor: &Monitor, dates: &mut Dates, out: &mut Html) {
    out.raw("<b class='md_word'>").text(domain.standing(dates.now).words());
    if let Some(remark) = labels::remark(domain, dates.now) {
        out.raw(": ").text(remark);
    }
    out.raw("</b><br>");
    if let Some(set) = &domain.live {
        out.raw("Went live ");
        moment(set.since, dates, out);
        out.raw(", without a restart. ");
    }
    if let Some(served) = labels::served(domain) {
        out.text(&served).raw("<br>");
    }
    if let Some(renewal) = &domain.renewal {
        failure(&renewal.job, out);
    }
    if let Some(loss) = domain.unsaved {
        out.raw("<b>Not saved[").text(&status::description(loss.status)).raw("]</b>: ").text(labels::UNSAVED);
        errors(loss.errors, out);
        out.raw("<br>");
    }
    waiting(domain, dates, out);
    wait(domain, dates, out);
    next(domain, monitor, dates, out);
    advice(domain, dates, out);
}

/// What happens next.
fn next(domain: &Domain<'_>, monitor: &Monitor, dates: &mut Dates, out: &mut Html) {
    match (domain.next(), &domain.renewal) {
        (Some(next), Some(renewal)) if domain.ready().is_some() => {
            out.raw("<b>Renewed</b>, next: ").text(next.action.words());
            if let Some(at) = next.at {
                out.raw(" ");
                moment(at, dates, out);
            }
            out.raw("; ");
            validity(&renewal.staged, dates, out);
            out.raw(" ");
            checks(renewal.labeled(), monitor, out);
        }
        // That is told already.
        (Some(Next { action: Action::WaitForCa, .. }), _) => {}
        (Some(next), Some(renewal)) => match next.at {
            Some(at) => {
                out.raw("Next run ");
                moment(at, dates, out);
            }
            None => {
                let doing = renewal.job.last.activity.as_deref().unwrap_or("under way");
                out.raw("Renewing: ").text(doing);
            }
        },
        _ => match &domain.need.decision {
            Decision::Now(reason) => {
                out.raw(PENDING).raw(": ").text(reason);
            }
            Decision::At(at, _) => {
                out.raw("Renew ");
                moment(*at, dates, out);
            }
            Decision::Never(reason) => {
                out.text(reason);
            }
        },
    }
    let managed = domain.managed;
    if domain.renewal.is_none()
        && !matches!(domain.need.decision, Decision::Never(_))
        && let Decision::Never(reason) =
            due::decide(&managed.md, domain.certs(), managed.in_use, None, dates.now)
    {
        out.raw("; not by this module: ").text(&reason);
    }
}

/// What the CA is at work on.
fn waiting(domain: &Domain<'_>, dates: &mut Dates, out: &mut Html) {
    let Some(waiting) = domain.renewal.as_ref().and_then(|renewal| renewal.job.waiting.as_ref()) else {
        return;
    };
    out.raw("The CA is ").text(&waiting.what).raw("; it began ");
    moment(waiting.since, dates, out);
    if let Some(at) = domain.next().and_then(|next| next.at) {
        out.raw(", and is asked again ");
        moment(at, dates, out);
    }
    out.raw(".<br>");
}

/// A wait that a CA demanded (`Retry-After`).
fn wait(domain: &Domain<'_>, dates: &mut Dates, out: &mut Html) {
    let hold = domain.renewal.as_ref().and_then(|renewal| renewal.job.pace.hold.as_ref());
    let Some(hold) = hold.filter(|hold| hold.is_in_force(dates.now)) else { return };
    dates.heed(hold.until);
    out.text(&labels::ca_name(&hold.ca)).raw(" asked to wait");
    if let Scope::Name(name) = &hold.scope {
        out.raw(" with ").text(name);
    }
    out.raw(", and is asked again ");
    moment(hold.until, dates, out);
    out.raw(".<br>");
}

/// When the CA wants the certificate to be renewed (RFC 9773).
fn advice(domain: &Domain<'_>, dates: &mut Dates, out: &mut Html) {
    let Some(advice) = &domain.need.advice else { return };
    let window = format!("between {} and {}", advice.start.to_http_date(), advice.end.to_http_date());
    out.raw("<br><span").attribute("title", &window).raw(">The CA advises</span> to renew ");
    moment(advice.renew_at, dates, out);
    if let Some(url) = &advice.explanation {
        out.raw(", ").link(url, "why");
    }
}

/// A long text shows its first sentence, and the rest when asked.
fn folded(text: &str, out: &mut Html) {
    let sentence = text.find(". ").map_or(text.len(), |at| at + 1);
    if text.len() <= TEXT_OPEN || sentence > TEXT_OPEN {
        out.text(text);
        return;
    }
    let (first, rest) = text.split_at(sentence);
    out.text(first).raw("<details><summary>more</summary>").text(rest).raw("</details>");
}

/// The last error, as long as there was no success, or why the renewal waits.
fn failure(job: &Job, out: &mut Html) {
    let last = &job.last;
    if let Some(held) = &job.held_back {
        out.raw("<b>Held back</b> until ")
            .text(&held.until.to_http_date())
            .raw(": ")
            .text(&held.reason)
            .raw(".<br>");
    }
    if job.errors == 0 {
        if job.is_vetoed() {
            out.raw("Postponed: ");
            folded(last.detail.as_deref().unwrap_or_default(), out);
            out.raw("<br>");
        } else if job.is_told_in_vain() {
            out.raw("<b>Error</b>: ");
            folded(last.detail.as_deref().unwrap_or_default(), out);
            out.raw("<br>");
        }
        return;
    }
    let what = last.problem.clone();
    let what = what.or_else(|| status::tells(last.status).then(|| status::description(last.status)));
    if last.status != status::OK || last.problem.is_some() {
        match what {
            Some(what) => out.raw("<b>Error[").text(&what).raw("]</b>: "),
            None => out.raw("<b>Error</b>: "),
        };
        folded(last.detail.as_deref().unwrap_or_default(), out);
    }
    errors(job.errors, out);
    out.raw("<br>");
}

fn errors(count: u32, out: &mut Html) {
    match count {
        0 => {}
        1 => drop(out.raw(" <i>(1 error)</i>")),
        _ => drop(out.raw(" <i>(").text(&count.to_string()).raw(" errors in a row)</i>")),
    }
}
