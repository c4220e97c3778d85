// SPDX-License-Identifier: Apache-2.0
//! The domains of the list as plain values, which are searched, filtered and sorted before any markup is
//! made.

use super::query::{Query, Show, Sort};
use super::timeline::Bar;
use super::tone::Tone;
use crate::renew::decide::due::Decision;
use crate::status::Domain;
use crate::status::standing::Standing;
use crate::status::{labels, remedy};
use crate::time::Timestamp;
use std::cmp::Ordering;

pub(super) struct Entry<'d> {
    pub(super) domain: Domain<'d>,
    pub(super) standing: Standing,
    /// Somebody should look.
    pub(super) is_needed: bool,
    /// When the first of its certificates expires.
    pub(super) until: Option<Timestamp>,
    /// The next step of its renewal.
    pub(super) next: Option<Timestamp>,
}

impl<'d> Entry<'d> {
    pub(super) fn new(domain: Domain<'d>, now: Timestamp) -> Self {
        Entry {
            standing: domain.standing(now),
            is_needed: remedy::is_needed(&domain, now),
            until: domain.need.certs.map(|certs| certs.until),
            next: next(&domain, now).1,
            domain,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.domain.managed.md.name
    }

    pub(super) fn tone(&self) -> Tone {
        tone(self.standing, self.is_needed)
    }

    fn is_shown(&self, query: &Query) -> bool {
        let is_of = match query.show {
            Show::All => true,
            Show::Attention => self.is_needed,
            Show::Of(standing) => self.standing == standing,
        };
        is_of && (query.text.is_empty() || self.contains(&query.text))
    }

    fn contains(&self, text: &str) -> bool {
        let md = &self.domain.managed.md;
        let is_of_ca = || {
            labels::authority(&self.domain).is_some_and(|(name, _)| name.to_ascii_lowercase().contains(text))
        };
        md.name.contains(text) || md.domains.iter().any(|name| name.contains(text)) || is_of_ca()
    }
}

/// The colour of a word: of its standing alone, so that it never contradicts the word; what waits for a
/// person stands out of what does not.
pub(super) fn tone(standing: Standing, is_needed: bool) -> Tone {
    match standing {
        standing if standing.is_grave() => Tone::Bad,
        standing if standing.is_serious() => Tone::Warn,
        Standing::Unused => Tone::Idle,
        Standing::NotRenewed | Standing::Renewing if is_needed => Tone::Warn,
        Standing::NotRenewed => Tone::Idle,
        Standing::Renewing => Tone::Busy,
        _ => Tone::Good,
    }
}

/// Those that are asked for, in the order that is asked for. `all` are in the order of their names.
pub(super) fn chosen<'e, 'd>(all: &'e [Entry<'d>], query: &Query) -> Vec<&'e Entry<'d>> {
    let mut chosen: Vec<&Entry<'d>> = all.iter().filter(|entry| entry.is_shown(query)).collect();
    // What has no such time comes last, in both directions.
    let by_time = |one: Option<Timestamp>, other: Option<Timestamp>| match (one, other) {
        (Some(one), Some(other)) if query.is_reverse => other.cmp(&one),
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    };
    let turned = |order: Ordering| if query.is_reverse { order.reverse() } else { order };
    // Both sorts are stable.
    match query.sort {
        Sort::Name if query.is_reverse => chosen.reverse(),
        Sort::Name => {}
        Sort::Status => chosen.sort_by(|one, other| turned(rank(one).cmp(&rank(other)))),
        Sort::Until => chosen.sort_by(|one, other| by_time(one.until, other.until)),
        Sort::Next => chosen.sort_by(|one, other| by_time(one.next, other.next)),
    }
    chosen
}

/// The most serious first: a domain that nobody uses harms nobody.
fn rank(entry: &Entry<'_>) -> (bool, u8) {
    let rank = match entry.standing {
        Standing::NoCertificate => 0,
        Standing::Expired => 1,
        Standing::ExpiresSoon => 2,
        Standing::RenewalFailing => 3,
        Standing::NotRenewed => 5,
        Standing::Renewing => 4,
        Standing::Unused => 6,
        Standing::Ok => 7,
    };
    (!entry.is_needed, rank)
}

/// What comes next, and when.
pub(super) fn next(domain: &Domain<'_>, now: Timestamp) -> (String, Option<Timestamp>) {
    if let Some(next) = domain.next() {
        return (next.action.words().to_string(), next.at);
    }
    let is_ours = domain.managed.md.not_renewed(domain.managed.in_use).is_none();
    match &domain.need.decision {
        Decision::At(at, _) if is_ours => ("renew".into(), Some(*at)),
        Decision::At(at, _) if domain.managed.md.left_alone().is_some() => {
            ("renewal by hand is due".into(), Some(*at))
        }
        Decision::At(..) => ("nothing, as no host uses it".into(), None),
        Decision::Now(_) if is_ours => ("renew with the next check".into(), Some(now)),
        Decision::Now(_) if domain.managed.md.left_alone().is_some() => {
            ("renewal by hand is due".into(), None)
        }
        Decision::Now(_) => ("nothing, as no host uses it".into(), None),
        Decision::Never(reason) => (format!("nothing: {reason}"), None),
    }
}

/// The picture of the domain's certificates; `None` without any.
pub(super) fn bar(entry: &Entry<'_>) -> Option<Bar> {
    let (certs, need) = (entry.domain.need.certs?, &entry.domain.need);
    let is_renewed = entry.domain.managed.md.left_alone().is_none();
    let advice = need.advice.as_ref().filter(|_| is_renewed);
    Some(Bar {
        from: certs.from,
        until: certs.until,
        warn_at: Some(certs.warn),
        renew_from: advice.map(|advice| advice.start).or(need.renew_at.filter(|_| is_renewed)),
        renew_until: advice.map(|advice| advice.end),
        drawn: advice.map(|advice| advice.renew_at),
        tone: entry.tone(),
    })
}
