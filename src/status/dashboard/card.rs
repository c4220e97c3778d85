// SPDX-License-Identifier: Apache-2.0
//! A domain that needs attention: what to do about it first, in words of ours, then what is wrong. The words
//! of a CA are folded, apart, and named as such: whatever they say, they are not read as ours.

use super::entry::Entry;
use super::parts::{moment, word};
use super::shell::Place;
use crate::model::outcome::quoted;
use crate::status::{Domain, remedy};
use crate::time::Timestamp;
use maud::{Markup, html};

pub(super) fn card(entry: &Entry<'_>, place: &Place, now: Timestamp) -> Markup {
    let domain = &entry.domain;
    html! {
        article.card.(entry.tone().class()) {
            h3 {
                a href=(place.of(entry.name())) { (entry.name()) } " "
                (word(&domain.said(now), entry.tone()))
            }
            (body(domain, now))
        }
    }
}

/// All of it but the name.
pub(super) fn body(domain: &Domain<'_>, now: Timestamp) -> Markup {
    let next = domain.next().filter(|_| domain.errors() > 0).and_then(|next| next.at);
    html! {
        (what_to_do(domain, now))
        @if let Some(why) = remedy::why(domain, now) {
            p.why {
                (why)
                @if let Some(at) = next { " The next one is at " (moment(at, now)) "." }
            }
        }
        (said(domain))
    }
}

/// What to do, with the records to set.
pub(super) fn what_to_do(domain: &Domain<'_>, now: Timestamp) -> Markup {
    let waiting = domain.renewal.as_ref().and_then(|renewal| renewal.job.waiting.as_ref());
    let records = waiting.map_or(&[][..], |waiting| &waiting.records);
    html! {
        @if let Some(remedy) = remedy::of(domain, now) {
            p.remedy { b { "What to do:" } " " (remedy) }
            @for record in records { p.mono { (record) } }
        }
    }
}

/// What others have said, as theirs.
fn said(domain: &Domain<'_>) -> Markup {
    let problem = domain.renewal.as_ref().and_then(|renewal| renewal.job.last.problem.as_deref());
    html! {
        @if let Some(said) = remedy::said(domain) {
            details.said {
                summary { "What was said" }
                p { bdi { (quoted(said)) } }
                @if let Some(problem) = problem { p.mono { bdi { (quoted(problem)) } } }
            }
        }
    }
}
