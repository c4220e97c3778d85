// SPDX-License-Identifier: Apache-2.0
//! Decides the next action for one managed domain. The renewing child performs the [`Action`], and so does
//! the simulation of 400 days; neither decides anything itself. An action that only gathers knowledge or
//! tidies the job is followed by another call, until one says when to look again.

use super::activation;
use super::ari;
use super::brake::{Request, brake};
use super::due::{self, Decision};
use super::failover::{CaChoice, choose_within_demands};
use super::rate_limits::RateLimits;
use super::request::apply as apply_request;
use super::retry::{Retry, validation_pause, waits_for};
use super::urgency::{patience, pressure};
use crate::backoff;
use crate::crypto::CertInfo;
use crate::managed::certificates::KeyedCert;
use crate::managed::live_set::LiveSet;
use crate::model::ledger::{Cause, Ledger};
use crate::model::{HeldBack, Job, Md, Renew, Requested};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// All that counts for the decision.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// With the CA that issued the certificates in use.
    pub md: &'a Md,
    /// Those in use, one entry for each key.
    pub certs: &'a [KeyedCert],
    /// Some host has this MD.
    pub in_use: bool,
    /// Whether OCSP reports a certificate as revoked.
    pub is_revoked: &'a dyn Fn(&CertInfo) -> bool,
    /// The set that went live since the start.
    pub live: Option<&'a LiveSet>,
    /// The CAs' advice (RFC 9773).
    pub advice: &'a [ari::Entry],
    /// The CA was asked for its advice already.
    pub has_asked: bool,
    pub job: &'a Job,
    /// The demands of CAs that all jobs know of.
    pub rate_limits: &'a RateLimits,
    /// `None`: not looked up yet.
    pub issuance: Option<&'a Issuance>,
    pub retry: Retry,
    pub check_interval: Duration,
    /// In 0..1, for jitter.
    pub random: f64,
}

/// Recent issuances, and the orders that other domains are about to place.
#[derive(Clone, Debug, Default)]
pub struct Issuance {
    pub ledger: Ledger,
    /// Where others order first at this CA: why and until when, and since when this renewal has waited.
    pub queued: Option<(HeldBack, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask this CA when it wants its certificates to be renewed; then decide again.
    AskAri(String),
    /// A renewal is due: look up recent issuances, and take a place among those that order at this CA; then
    /// decide again.
    LookUpIssuance(Attempt),
    /// Clear the reason that held the job back, which no longer applies; then decide again.
    Release,
    /// Nothing to do until the configuration changes.
    Never,
    /// No renewal is due: look again then.
    NotDue(Timestamp),
    /// It is due, but the set that it would replace has just gone live.
    Rest(Timestamp),
    /// It is due, but too much was issued lately, or other domains order first. `ari`: the CA to ask for its
    /// advice, which may change meanwhile.
    HeldBack { held: HeldBack, is_queued: bool, cause: Cause, ari: Option<String>, look_at: Timestamp },
    /// It is due, but its CA wants no requests before `until`.
    SpareCa { ca: String, until: Timestamp, look_at: Timestamp },
    /// It is due, but its last try has failed or was put off. `is_long`: the wait is longer than after any
    /// error of its own.
    Retry { ca: Option<String>, until: Timestamp, is_long: bool, look_at: Timestamp },
    /// Renew. From `late_at` on, another CA may be asked sooner.
    Renew { attempt: Attempt, late_at: Option<Timestamp> },
    /// It is due, and no CA is configured.
    NoCa,
}

/// A renewal at a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Directory URL.
    pub ca: String,
    pub cause: Cause,
}

/// The next action.
pub fn next(inputs: &Inputs<'_>, now: Timestamp) -> Action {
    let at = match inputs.need(now) {
        Decision::Now(reason) => return inputs.due(reason.cause(), now),
        Decision::At(at, _) => Some(at),
        Decision::Never(_) => None,
    };
    if let Some(ca) = inputs.ari_to_ask(now).filter(|_| at.is_some()) {
        return Action::AskAri(ca);
    }
    if inputs.job.held_back.is_some() {
        return Action::Release;
    }
    let Some(at) = at else { return Action::Never };
    // Advice that is due, from a CA that wants no requests for a while, waits for the next look.
    let asks = inputs.advice.iter().map(|entry| entry.next_check).filter(|at| *at > now).min();
    Action::NotDue(at.min(inputs.check(now)).min(asks.unwrap_or(at)))
}

impl<'a> Inputs<'a> {
    /// Whether a renewal is due, and why.
    pub fn need(&self, now: Timestamp) -> Decision {
        let decision = due::decide(self.md, self.certs, self.in_use, self.advice_in_use(), now);
        apply_request(due::apply_revocation(decision, self.certs, self.is_revoked), self.requested())
    }

    /// The renewal that an operator has asked for.
    pub(super) fn requested(&self) -> Option<&'a Renew> {
        self.job.request.as_ref().and_then(Requested::renewal)
    }

    /// The CA's advice, if it is used.
    pub fn advice_in_use(&self) -> Option<&'a ari::Advice> {
        ari::earliest(self.advice, self.certs)
    }

    /// The next regular look.
    fn check(&self, now: Timestamp) -> Timestamp {
        now.plus(backoff::spread(self.check_interval, self.random))
    }

    /// The CA to ask for its advice.
    fn ari_to_ask(&self, now: Timestamp) -> Option<String> {
        if self.has_asked || !self.md.ari_renewals {
            return None;
        }
        let mut ids = self.certs.iter().filter_map(|(_, cert)| cert.as_ref()?.ari_cert_id.as_deref());
        let known_of = |id: &str| self.advice.iter().find(|entry| entry.cert_id == id);
        // Only the CA that issued a certificate knows about it; where that is not noted, it is the first one.
        let ca = self.md.ca.url.as_ref().or(self.md.ca.urls.first())?;
        let is_limited = self.rate_limits.until(ca, &self.md.domains, now).is_some();
        (ids.any(|id| ari::is_due(known_of(id), now)) && !is_limited).then(|| ca.clone())
    }

    fn due(&self, cause: Cause, now: Timestamp) -> Action {
        let rests = self.live.map(|set| activation::rests_until(self.md, set, self.retry.delay));
        if let Some(at) = rests.filter(|at| now < *at && self.requested().is_none()) {
            return Action::Rest(at);
        }
        // The CA that is asked first: certificates issued by another one count all the same.
        let ca = self.job.retry_state.ca.as_ref().or(self.md.ca.urls.first()).cloned().unwrap_or_default();
        let Some(issuance) = self.issuance else {
            return Action::LookUpIssuance(Attempt { ca, cause });
        };
        if let Some((held, is_queued)) = self.held_back(&ca, cause, issuance, now) {
            let (ari, look_at) = (self.ari_to_ask(now), held.until.min(self.check(now)));
            return Action::HeldBack { held, is_queued, cause, ari, look_at };
        }
        // What other nodes hold back they release.
        if self.job.held_back.as_ref().is_some_and(|held| !held.is_by_fleet()) {
            return Action::Release;
        }
        self.choose_ca(cause, now)
    }

    /// Why and until when a renewal that is due does not begin, and whether that is because others order
    /// first.
    fn held_back(
        &self,
        ca: &str,
        cause: Cause,
        issuance: &Issuance,
        now: Timestamp,
    ) -> Option<(HeldBack, bool)> {
        // A renewal that has begun is finished, unless something has been issued since: in vain, then.
        let issued = issuance.ledger.entries().iter().map(|issued| issued.at);
        let latest = issued.filter(|at| *at <= now).max();
        let begun = self.job.last_run.filter(|_| !self.job.finished);
        let is_begun = begun.is_some_and(|begun| latest.is_none_or(|latest| latest.unix() < begun.unix()));
        let request = request(self.md, self.certs, ca, cause);
        let braked = brake(&issuance.ledger, &request, now).filter(|_| !is_begun);
        // Any process of httpd's user can write a ledger.
        let end = pressure(self.md, self.certs, now).end;
        let braked = braked.zip(latest).map(|(held, latest)| {
            let until = held.until.min(latest.plus(patience(end, latest).max(DAY)));
            HeldBack { until, ..held }
        });
        // A certificate that would expire meanwhile does not wait for others.
        let queued = issuance.queued.clone().map(|(held, since)| {
            let longest = end.map(|end| since.plus(patience(Some(end), since)));
            HeldBack { until: longest.map_or(held.until, |longest| held.until.min(longest)), ..held }
        });
        let queued = queued.filter(|held| held.until > now);
        let is_queued = match (&queued, &braked) {
            (Some(queued), Some(braked)) => braked.until < queued.until,
            (queued, _) => queued.is_some(),
        };
        let held = if is_queued { queued } else { braked };
        held.filter(|held| held.until > now).map(|held| (held, is_queued))
    }

    /// Until when the job waits before it asks `ca`. An operator's request ends waits of our own, but none for
    /// a CA that is at work, nor for the CA's limit of failed validations.
    fn waits(&self, ca: &str, end: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let wait = waits_for(self.job, ca, end, now)?;
        let is_at_work = self.job.waiting.is_some() && !self.job.waits_for_records();
        if self.requested().is_none() || is_at_work {
            return Some(wait);
        }
        validation_pause(&self.job.retry_state, now).filter(|at| *at > now).map(|at| at.min(wait))
    }

    fn choose_ca(&self, cause: Cause, now: Timestamp) -> Action {
        let (md, job) = (self.md, self.job);
        let pressure = pressure(md, self.certs, now);
        let end = pressure.end;
        // With less of the window left, another CA may come sooner.
        let late_at = pressure.late_at.filter(|at| *at > now && md.ca.urls.len() > 1);
        let look_at = |until: Timestamp| late_at.map_or(until, |late| until.min(late));
        let own = job.retry_state.rate_limit.as_ref().filter(|limit| limit.is_in_force(now));
        let demands = |ca: &str| {
            let known = self.rate_limits.concerning(ca, &md.domains, now);
            let own = own.filter(|limit| limit.ca == ca);
            known.chain(own).map(|rate_limit| (rate_limit.since, rate_limit.until)).collect::<Vec<_>>()
        };
        let choice = choose_within_demands(
            &md.ca.urls,
            &job.retry_state,
            self.retry.failover,
            (pressure.urgency, end),
            demands,
            now,
        );
        match choice {
            CaChoice::Ask(ca) => match self.waits(ca, end, now) {
                Some(until) => {
                    let is_long = until.since(now) > pressure.longest * 2;
                    Action::Retry { ca: Some(ca.into()), until, is_long, look_at: look_at(until) }
                }
                None => Action::Renew { attempt: Attempt { ca: ca.into(), cause }, late_at },
            },
            CaChoice::Wait(ca, until) => {
                let until = until.max(self.waits(ca, end, now).unwrap_or(until));
                Action::SpareCa { ca: ca.into(), until, look_at: look_at(until) }
            }
            CaChoice::Unconfigured => match self.waits("", end, now) {
                Some(until) => Action::Retry { ca: None, until, is_long: false, look_at: until },
                None => Action::NoCa,
            },
        }
    }
}

/// A renewal as limits count it. `md`: with the CA that issued the certificates in use.
pub fn request<'a>(md: &'a Md, certs: &[KeyedCert], ca: &'a str, cause: Cause) -> Request<'a> {
    let is_known = certs.iter().any(|(_, cert)| cert.as_ref().is_some_and(|c| c.ari_cert_id.is_some()));
    let is_of_this_ca = md.ca.url.as_deref() == Some(ca);
    Request { md, ca, cause, is_replacement: md.ari_renewals && is_known && is_of_this_ca }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identities;
    use crate::model::{KeySpec, RateLimit, RenewMode, RetryState, Scope};
    use crate::renew::decide::brake::issued;
    use crate::time::TimeSlice;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const CAS: [&str; 2] = ["https://first.test/dir", "https://second.test/dir"];
    const ID: &str = "QUtJ.U0VSSUFM";

    /// The inputs for a domain with a certificate of 90 days that is renewed 30 days before its end.
    struct Known {
        md: Md,
        certs: Vec<KeyedCert>,
        advice: Vec<ari::Entry>,
        has_asked: bool,
        is_revoked: bool,
        live: Option<LiveSet>,
        job: Job,
        rate_limits: RateLimits,
        issuance: Option<Issuance>,
    }

    impl Known {
        /// With this many days left, and all looked up. `cas`: of the first ones.
        fn new(left: u32, cas: usize) -> Self {
            let urls: Vec<String> = CAS.iter().take(cas).map(ToString::to_string).collect();
            let ca = crate::model::Ca { url: urls.first().cloned(), urls, ..Md::default().ca };
            let renew_window = TimeSlice::Length(DAY * 30);
            let (name, domains) = ("a.test".into(), vec!["a.test".into()]);
            let cert = CertInfo {
                dns_names: vec!["a.test".into()],
                not_before: NOW.plus(DAY * left).minus(DAY * 90),
                not_after: NOW.plus(DAY * left),
                ari_cert_id: Some(ID.into()),
                ..CertInfo::default()
            };
            let next_check = NOW.plus(HOUR * 20);
            Known {
                md: Md { name, domains, ca, renew_window, ..Md::default() },
                certs: vec![(KeySpec::default(), Some(cert))],
                advice: vec![ari::Entry { cert_id: ID.into(), advice: None, next_check }],
                has_asked: false,
                is_revoked: false,
                live: None,
                job: Job::new("a.test"),
                rate_limits: RateLimits::default(),
                issuance: Some(Issuance::default()),
            }
        }

        fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }

        fn next(&self) -> Action {
            let inputs = Inputs {
                md: &self.md,
                certs: &self.certs,
                in_use: true,
                is_revoked: &|_| self.is_revoked,
                live: self.live.as_ref(),
                advice: &self.advice,
                has_asked: self.has_asked,
                job: &self.job,
                rate_limits: &self.rate_limits,
                issuance: self.issuance.as_ref(),
                retry: Retry { delay: Duration::from_secs(30), failover: 13 },
                check_interval: HOUR * 12,
                random: 0.5,
            };
            next(&inputs, NOW)
        }

        /// A set was issued an hour ago, for its window.
        fn issued(mut self) -> Self {
            let request = request(&self.md, &self.certs, CAS[0], Cause::Window);
            let mut ledger = Ledger::default();
            ledger.add(issued(&request, DAY * 90, 1, NOW.minus(HOUR)));
            self.issuance = Some(Issuance { ledger, queued: None });
            self
        }

        fn limited(mut self, hours: u32) -> Self {
            let (ca, scope, until) = (CAS[0].into(), Scope::Ca, NOW.plus(HOUR * hours));
            self.rate_limits.add(&RateLimit { ca, scope, since: NOW, until }, NOW);
            self
        }
    }

    fn ask_again(known: &mut Known) {
        known.advice[0].next_check = NOW;
    }

    fn attempt(ca: usize, cause: Cause) -> Attempt {
        Attempt { ca: CAS[ca].into(), cause }
    }

    fn renewing(ca: usize, cause: Cause) -> Action {
        Action::Renew { attempt: attempt(ca, cause), late_at: None }
    }

    fn at(hours: u32) -> Timestamp {
        NOW.plus(HOUR * hours)
    }

    #[test]
    fn what_is_not_due_waits_for_the_next_look_or_the_next_advice() {
        let not_due = |hours| Action::NotDue(at(hours));
        for (known, expected) in [
            (Known::new(60, 1), not_due(12)),
            (Known::new(60, 1).with(|k| k.advice[0].next_check = at(7)), not_due(7)),
            (Known::new(60, 1).with(ask_again), Action::AskAri(CAS[0].into())),
            (Known::new(60, 1).with(ask_again).with(|k| k.has_asked = true), not_due(12)),
            (Known::new(60, 1).with(ask_again).with(|k| k.md.ari_renewals = false), not_due(12)),
            (Known::new(60, 1).with(ask_again).limited(1), not_due(12)),
            (Known::new(5, 1).with(|k| k.md.renew_mode = RenewMode::Manual), Action::Never),
            (Known::new(60, 1).with(|k| k.job.held_back = Some(held(1))), Action::Release),
        ] {
            assert_eq!(known.next(), expected);
        }
    }

    fn held(hours: u32) -> HeldBack {
        HeldBack::new("others order first", at(hours))
    }

    #[test]
    fn what_is_due_is_renewed_unless_limits_hold_it_back() {
        let due = || Known::new(29, 1);
        let queued = |hours| {
            move |k: &mut Known| {
                k.issuance = Some(Issuance { queued: Some((held(hours), NOW)), ..Issuance::default() })
            }
        };
        let look_up = Action::LookUpIssuance(attempt(0, Cause::Window));
        for (known, expected) in [
            (due(), renewing(0, Cause::Window)),
            (due().with(|k| k.certs[0].1 = None), renewing(0, Cause::Missing)),
            (Known::new(60, 1).with(|k| k.is_revoked = true), renewing(0, Cause::Revoked)),
            (due().with(|k| k.issuance = None), look_up),
            // A renewal that has begun since is finished.
            (due().issued().with(|k| k.job.last_run = Some(NOW)), renewing(0, Cause::Window)),
            (due().with(|k| k.job.held_back = Some(held(1))), Action::Release),
            (due().with(|k| k.md.ca.urls.clear()), Action::NoCa),
        ] {
            assert_eq!(known.next(), expected);
        }
        let Action::HeldBack { held, is_queued: false, look_at, ari: None, .. } = due().issued().next()
        else {
            panic!("the brake holds it back")
        };
        assert_eq!((held.until, look_at), (at(23), at(12)));
        for (hours, look_at) in [(3, at(3)), (40, at(12))] {
            let known = due().with(queued(hours)).with(ask_again);
            let Action::HeldBack { held, is_queued: true, ari: Some(_), look_at: found, .. } = known.next()
            else {
                panic!("it is not in the queue")
            };
            assert_eq!((held.until, found), (at(hours), look_at));
        }
        // A certificate that would expire meanwhile does not wait for others for longer than half of its
        // time.
        let Action::HeldBack { held, .. } = Known::new(1, 1).with(queued(20)).next() else { panic!() };
        assert_eq!(held.until, at(12));
    }

    #[test]
    fn a_set_that_has_just_gone_live_is_not_replaced() {
        let live =
            LiveSet { since: NOW, ca_url: None, certs: Vec::new().into(), identities: Identities::default() };
        let known = Known::new(29, 1).with(|k| k.live = Some(live));
        assert_eq!(known.next(), Action::Rest(NOW.plus(Duration::from_secs(30))));
    }

    #[test]
    fn a_ca_that_wants_no_requests_is_spared_unless_another_may_be_asked() {
        let spare = |hours| Action::SpareCa { ca: CAS[0].into(), until: at(hours), look_at: at(hours) };
        let (usual, late) = (Cause::Window, Known::new(19, 2));
        for (known, expected) in [
            (Known::new(29, 1).limited(5), spare(5)),
            // With one CA, no demand takes more than half of the time left.
            (Known::new(1, 1).limited(20), spare(12)),
            (late.limited(5), renewing(1, usual)),
        ] {
            assert_eq!(known.next(), expected);
        }
        let Action::SpareCa { until, look_at, .. } = Known::new(21, 2).limited(48).next() else {
            panic!("it is not late yet")
        };
        assert_eq!((until, look_at), (at(48), at(24)), "another look when it is late");
    }

    #[test]
    fn a_failed_renewal_waits_for_its_next_try_and_then_asks_the_next_ca() {
        let failing = |errors, hours| {
            move |k: &mut Known| {
                k.job.retry_state =
                    RetryState { ca: Some(CAS[0].into()), ca_errors: errors, ..RetryState::default() };
                (k.job.errors, k.job.last_run, k.job.next_run) =
                    (errors, Some(NOW.minus(HOUR)), Some(at(hours)));
            }
        };
        let retry = |hours, is_long| Action::Retry {
            ca: Some(CAS[0].into()),
            until: at(hours),
            is_long,
            look_at: at(hours),
        };
        for (known, expected) in [
            (Known::new(29, 1).with(failing(2, 3)), retry(3, false)),
            (Known::new(3, 1).with(failing(2, 20)), retry(20, true)),
            (Known::new(29, 1).with(failing(13, 0)), renewing(0, Cause::Window)),
            (Known::new(15, 2).with(failing(13, 0)), renewing(1, Cause::Window)),
        ] {
            assert_eq!(known.next(), expected);
        }
        let Action::Renew { attempt, late_at } = Known::new(21, 2).with(failing(1, 0)).next() else {
            panic!()
        };
        assert_eq!((attempt.ca.as_str(), late_at), (CAS[0], Some(at(24))));
    }
}
