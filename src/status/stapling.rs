// SPDX-License-Identifier: Apache-2.0
//! The sections of server-status about stapling, for people and for scripts. Columns, classes and keys are
//! those of the C module. Nothing here contacts a responder: it shows the values of [`Stapled`].

use super::labels;
use super::markup::{ascii, link, titled};
use crate::stapling::snapshot::Stapled;
use crate::time::Timestamp;
use maud::{Markup, html};

const HEAD: &str = "<hr>
<h3>Managed Staplings</h3>
<div class='md_scroll'><table class='md_status md_ocsp_status'><thead><tr>
<th class='Domain'>Domain</th><th class='CertificateID'>Certificate ID</th>\
<th class='OCSPStatus'>OCSP Status</th><th class='StaplingValid'>Stapling Valid</th>\
<th class='Responder'>Responder</th><th class='Activity'>Activity</th></tr>
</thead><tbody>
";

/// The section for people; empty where nothing is stapled.
pub fn html(all: &[Stapled], now: Timestamp) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut out = String::from(HEAD);
    for (index, stapled) in all.iter().enumerate() {
        out.push_str(match (index % 2, stapled.status == "revoked" || !stapled.is_current(now)) {
            (0, true) => "<tr class='even md_warning'>",
            (0, false) => "<tr class='even'>",
            (_, true) => "<tr class='odd md_warning'>",
            (_, false) => "<tr class='odd'>",
        });
        out.push_str(&ascii(cells(stapled, now)));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn cells(stapled: &Stapled, now: Timestamp) -> Markup {
    let title =
        |from: Timestamp, until: Timestamp| format!("{} - {}", from.to_http_date(), until.to_http_date());
    html! {
        td { (stapled.owner) }
        td { (stapled.id) }
        td { (stapled.status) }
        td {
            @if let Some((from, until)) = stapled.valid {
                "until " (titled(&title(from, until), &labels::near(until, now)))
            }
        }
        td { (link(&stapled.responder, &stapled.responder)) }
        td { (activity(stapled, now)) }
    }
}

fn activity(stapled: &Stapled, now: Timestamp) -> Markup {
    html! {
        @if stapled.errors > 0 {
            b { "Error" } ": " (stapled.detail.as_deref().unwrap_or_default())
            " " i { "(" (stapled.errors) " in a row)" } br;
        }
        @if let Some(at) = stapled.next_run.or(stapled.renewal.map(|(begin, _)| begin)) {
            "Refresh " (titled(&at.to_http_date(), &labels::near(at, now)))
        }
    }
}

/// The section for scripts: one line for each fact.
pub fn text(all: &[Stapled], now: Timestamp) -> String {
    let count = |test: &dyn Fn(&Stapled) -> bool| all.iter().filter(|stapled| test(stapled)).count();
    let is_due = |stapled: &Stapled| stapled.renewal.is_none_or(|(begin, _)| begin <= now);
    let mut out = format!(
        "ManagedStaplingsTotal: {}\nManagedStaplingsOK: {}\nManagedStaplingsRenew: {}\nManagedStaplingsErrored: {}\n",
        all.len(),
        count(&|stapled| stapled.status == "good" && stapled.is_current(now)),
        count(&is_due),
        count(&|stapled| stapled.errors > 0)
    );
    for (index, stapled) in all.iter().enumerate() {
        let mut fact = |key: &str, value: &str| {
            // A line break in a value would begin a fact of its own.
            let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            out.push_str(&format!("ManagedStapling[{index}]{key}: {value}\n"));
        };
        fact("Domain", &stapled.owner);
        fact("CertificateID", &stapled.id);
        fact("OCSPStatus", stapled.status);
        if let Some((_, until)) = stapled.valid {
            fact("StaplingValidUntil", &until.to_http_date());
        }
        fact("ResponderURL", &stapled.responder);
        stapled.detail.iter().for_each(|detail| fact("ActivityLastDetail", detail));
        stapled.next_run.iter().for_each(|at| fact("ActivityNextRun", &at.since(now).as_secs().to_string()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fixture::NOW;
    use crate::time::DAY;

    fn stapled(owner: &str) -> Stapled {
        Stapled {
            owner: owner.into(),
            id: "ab".repeat(20),
            serial: "01".into(),
            fingerprint: "cd".repeat(32),
            responder: "http://o.test/<x>".into(),
            status: "good",
            valid: Some((NOW.minus(DAY), NOW.plus(DAY))),
            renewal: Some((NOW.plus(DAY / 2), NOW.plus(DAY))),
            next_run: None,
            errors: 0,
            detail: None,
        }
    }

    #[test]
    fn each_certificate_has_a_row_and_what_is_from_outside_is_escaped() {
        assert_eq!(html(&[], NOW), "");
        let failing = Stapled { errors: 2, detail: Some("<b>\nno".into()), ..stapled("b.test") };
        let page = html(&[stapled("a.test"), failing], NOW);
        assert!(page.contains("<h3>Managed Staplings</h3>") && page.contains("md_ocsp_status"));
        assert!(page.contains("&lt;b&gt; no") && page.contains("(2 in a row)"), "{page}");
        assert!(!page.contains("<x>") && page.contains("a.test"));
    }

    #[test]
    fn scripts_get_counts_and_one_line_for_each_fact() {
        let none = Stapled { status: "unknown", valid: None, renewal: None, ..stapled("b.test") };
        let failing = Stapled { errors: 1, detail: Some("a\nb".into()), ..none };
        let lines = text(&[stapled("a.test"), failing], NOW);
        assert!(lines.starts_with(
            "ManagedStaplingsTotal: 2\nManagedStaplingsOK: 1\nManagedStaplingsRenew: 1\nManagedStaplingsErrored: 1\n"
        ));
        assert!(lines.contains("ManagedStapling[1]ActivityLastDetail: a b\n"), "{lines}");
        let expired = Stapled { valid: Some((NOW.minus(DAY), NOW)), ..stapled("a.test") };
        assert!(text(&[expired], NOW).contains("ManagedStaplingsOK: 0\n"));
    }
}
