//! The section of server-status for people: one table, in which what needs somebody's eyes comes first.
//!
//! Class names and columns are those of the C module, for style sheets and scripts. Everything from the CA, the store
//! and the configuration is escaped by [`Html`].

use super::Monitor;
use super::markup::Html;
use super::snapshot::Domain;
use super::words::{self, Weight};
use crate::model::Job;
use crate::model::job::status;
use crate::renew::policy::Decision;
use crate::renew::state::KeyedCert;
use crate::time::Timestamp;

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
.md_status td:nth-child(2) { min-width: 10em; max-width: 24em; overflow-wrap: anywhere; }
.md_status td:nth-child(3) { min-width: 7em; max-width: 16em; overflow-wrap: break-word; }
.md_status td:nth-child(4), .md_status td:nth-child(7) { white-space: nowrap; }
.md_status td:nth-child(8) { min-width: 18em; max-width: 44em; overflow-wrap: anywhere; }
.md_status span[title] { white-space: nowrap; border-bottom: 1px dotted; cursor: help; }
.md_status summary { cursor: pointer; }
</style>
";

/// All managed domains. Nothing without any.
pub fn certificates(domains: &[Domain<'_>], monitor: &Monitor, now: Timestamp) -> String {
    if domains.is_empty() {
        return String::new();
    }
    let mut rows: Vec<(Weight, String, &Domain<'_>)> = domains
        .iter()
        .map(|domain| {
            let (text, weight) = words::status(domain, now);
            (weight, text, domain)
        })
        .collect();
    // Stable: within one weight the order of the names stays.
    rows.sort_by_key(|(weight, ..)| *weight);
    let mut out = Html::default();
    out.raw("<hr>\n<h3>Managed Certificates</h3>\n").raw(STYLE);
    summary(&rows, &mut out);
    out.raw("<div class='md_scroll'><table class='md_status'><thead><tr>\n");
    out.raw("<th class='Domain'>Domain</th><th class='Names'>Names</th><th class='Status'>Status</th>");
    out.raw("<th class='Valid'>Valid</th><th class='CA'>CA</th><th class='Stapling'>Stapling</th>");
    out.raw("<th class='CheckAt'>CheckAt</th><th class='Activity'>Activity</th></tr>\n</thead><tbody>\n");
    for (index, (weight, status, domain)) in rows.iter().enumerate() {
        out.raw(match (index % 2, weight) {
            (0, Weight::Error) => "<tr class='even md_error'>",
            (0, Weight::Warning) => "<tr class='even md_warning'>",
            (0, Weight::Good) => "<tr class='even'>",
            (_, Weight::Error) => "<tr class='odd md_error'>",
            (_, Weight::Warning) => "<tr class='odd md_warning'>",
            (_, Weight::Good) => "<tr class='odd'>",
        });
        row(domain, status, monitor, now, &mut out);
        out.raw("</tr>\n");
    }
    out.raw("</tbody></table></div>\n");
    out.finish()
}

/// How it stands with all of them, in one line.
fn summary(rows: &[(Weight, String, &Domain<'_>)], out: &mut Html) {
    let count = |test: &dyn Fn(Weight, &Domain<'_>) -> bool| {
        rows.iter().filter(|(weight, _, domain)| test(*weight, domain)).count().to_string()
    };
    out.raw("<p class='md_summary'>").text(&rows.len().to_string()).raw(" managed domains: ");
    out.text(&count(&|weight, _| weight == Weight::Good)).raw(" good, ");
    out.text(&count(&|weight, _| weight == Weight::Warning)).raw(" to look at, ");
    out.text(&count(&|weight, _| weight == Weight::Error)).raw(" with errors; ");
    out.text(&count(&|_, domain| domain.renewal.is_some() && domain.ready().is_none())).raw(" in renewal, ");
    out.text(&count(&|_, domain| domain.ready().is_some())).raw(" renewed and waiting</p>\n");
}

fn row(domain: &Domain<'_>, status: &str, monitor: &Monitor, now: Timestamp, out: &mut Html) {
    let md = &domain.managed.md;
    out.raw("<td>").text(&md.name).raw("</td><td>");
    names(&md.domains, out);
    out.raw("</td><td>").text(status).raw("</td><td>");
    validity(domain.certs(), now, out);
    out.raw("</td><td>");
    if let Some((name, url)) = words::authority(domain) {
        out.link(&url, &name);
    }
    out.raw("</td><td>").raw(if md.stapling { "on" } else { "" }).raw("</td><td>");
    checks(domain, domain.certs(), monitor, out);
    out.raw("</td><td>");
    activity(domain, monitor, now, out);
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
fn validity(certs: &[KeyedCert], now: Timestamp, out: &mut Html) {
    let certs = || certs.iter().filter_map(|(_, cert)| cert.as_ref());
    let from = certs().map(|cert| cert.not_before).max();
    let Some((from, until)) = from.zip(certs().map(|cert| cert.not_after).min()) else { return };
    let (word, shown) = if from > now { ("from ", from) } else { ("until ", until) };
    let title = format!("{} - {}", from.to_http_date(), until.to_http_date());
    out.raw(word)
        .raw("<span")
        .attribute("title", &title)
        .raw(">")
        .text(&words::near(shown, now))
        .raw("</span>");
}

fn moment(time: Timestamp, now: Timestamp, out: &mut Html) {
    out.raw("<span")
        .attribute("title", &time.to_http_date())
        .raw(">")
        .text(&words::near(time, now))
        .raw("</span>");
}

fn checks(domain: &Domain<'_>, certs: &[KeyedCert], monitor: &Monitor, out: &mut Html) {
    for (label, cert) in domain.labeled(certs) {
        let url = format!("{}{}", monitor.url, cert.fingerprint);
        out.link(&url, &format!("{}[{label}]", monitor.name)).raw("<br>");
    }
}

fn activity(domain: &Domain<'_>, monitor: &Monitor, now: Timestamp, out: &mut Html) {
    if let Some(set) = &domain.live {
        out.raw("Live since ");
        moment(set.since, now, out);
        out.raw(", without a restart. ");
    }
    if let Some(renewal) = &domain.renewal {
        failure(&renewal.job, out);
    }
    match (domain.next(), &domain.renewal) {
        (Some(next), Some(renewal)) if domain.ready().is_some() => {
            out.raw("<b>Renewed</b>, next: ").text(next.action);
            if let Some(at) = next.at {
                out.raw(" ");
                moment(at, now, out);
            }
            out.raw("; ");
            validity(&renewal.staged, now, out);
            out.raw(" ");
            checks(domain, &renewal.staged, monitor, out);
        }
        (Some(next), Some(renewal)) => match next.at {
            Some(at) => {
                out.raw("Next run ");
                moment(at, now, out);
            }
            None => {
                let doing = renewal.job.last.activity.as_deref().unwrap_or("under way");
                out.raw("Renewing: ").text(doing);
            }
        },
        _ => match &domain.need {
            Decision::Now(reason) => {
                out.raw("Renew now: ").text(reason);
            }
            Decision::At(at, _) => {
                out.raw("Renew ");
                moment(*at, now, out);
            }
            Decision::Never(reason) => {
                out.text(reason);
            }
        },
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

/// The last error, as long as there was no success.
fn failure(job: &Job, out: &mut Html) {
    if job.errors == 0 {
        return;
    }
    let last = &job.last;
    let what = last.problem.clone().unwrap_or_else(|| status::description(last.status));
    if last.status != status::OK || last.problem.is_some() {
        out.raw("<b>Error[").text(&what).raw("]</b>: ");
        folded(last.detail.as_deref().unwrap_or_default(), out);
    }
    out.raw(" <i>(").text(&job.errors.to_string()).raw(if job.errors == 1 {
        " error"
    } else {
        " errors in a row"
    });
    out.raw(")</i><br>");
}
