// SPDX-License-Identifier: Apache-2.0
//! Whether a request of an operator is acted upon: each once, none that is old, and no domain more than once
//! a minute, unless an operator has revoked its certificate. What CAs demand is not looked at here: [`next`](super::next) knows that. Pure.

use super::due::Decision;
use super::reason::Reason;
use crate::crypto::CertInfo;
use crate::managed::certificates::KeyedCert;
use crate::model::{Md, Op, Renew, Request, RequestState, Requested};
use crate::time::Timestamp;
use std::time::Duration;

/// Between two renewals of a domain by request.
const PAUSE: Duration = Duration::from_secs(60);

/// The domain that a request is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub md: &'a Md,
    /// Those in use.
    pub certs: &'a [KeyedCert],
    /// Some host has it.
    pub in_use: bool,
    /// The renewing child looks after it.
    pub watched: bool,
    /// An operator has revoked a certificate in use.
    pub is_revoked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was acted upon, or nobody waits for it any more.
    Ignore,
    /// For this reason.
    Refuse(String),
    Accept,
    /// What it asks for is under way.
    Join,
}

/// `subject`: `None` where no managed domain has the name. `before`: the latest request for it, and the
/// answers.
pub fn judge(
    request: &Request,
    subject: Option<Subject<'_>>,
    before: Option<&Requested>,
    now: Timestamp,
) -> Verdict {
    if !request.is_fresh(now) || before.is_some_and(|before| before.answer_to(&request.id).is_some()) {
        return Verdict::Ignore;
    }
    let unknown = || Verdict::Refuse("httpd has no managed domain of this name".into());
    match (&request.op, subject) {
        (Op::Present { .. }, _) => Verdict::Accept,
        (_, None) => unknown(),
        (Op::Look, Some(subject)) => idle(subject).map_or(Verdict::Accept, Verdict::Refuse),
        (Op::Renew(renew), Some(subject)) => {
            let refused = idle(subject).or_else(|| unconcerned(renew, subject.certs));
            refused.map_or_else(|| in_time(before, subject.is_revoked, now), Verdict::Refuse)
        }
    }
}

/// What is revoked waits for no minute to pass, and a request that came to nothing is not counted.
fn in_time(before: Option<&Requested>, is_revoked: bool, now: Timestamp) -> Verdict {
    if before.is_some_and(|before| before.renewal().is_some()) {
        return Verdict::Join;
    }
    // One from the future was noted by a clock that was wrong.
    let accepted = before.and_then(|before| before.accepted).filter(|at| *at <= now);
    match accepted.filter(|at| now.since(*at) < PAUSE && !is_revoked && !came_to_nothing(before, *at)) {
        Some(at) => Verdict::Refuse(format!(
            "a renewal was asked for at {}, and there is one a minute at most",
            at.to_http_date()
        )),
        None => Verdict::Accept,
    }
}

/// Whether what was accepted at this time was not due.
fn came_to_nothing(before: Option<&Requested>, accepted: Timestamp) -> bool {
    let answers = before.map(Requested::answers).unwrap_or_default();
    let is_not_due = |detail: &String| detail.starts_with(NOT_DUE);
    answers.iter().any(|answer| {
        let is_done = answer.state == RequestState::Done && answer.when >= accepted;
        is_done && answer.detail.as_ref().is_some_and(is_not_due)
    })
}

/// Why httpd does not look after it.
fn idle(subject: Subject<'_>) -> Option<String> {
    let reason = subject.md.not_renewed(subject.in_use).map(|reason| reason.to_string());
    let unwatched = || (!subject.watched).then(|| "httpd does not renew it".to_string());
    reason.map(|reason| format!("it is not renewed: {reason}")).or_else(unwatched)
}

/// Why the conditions do not concern the certificates in use.
fn unconcerned(renew: &Renew, certs: &[KeyedCert]) -> Option<String> {
    let Renew { issued_before, issuer, .. } = renew;
    let is_older = |cert: &CertInfo| issued_before.is_none_or(|time| cert.not_before < time);
    let is_by = |cert: &CertInfo| {
        let has = |wanted: &String| cert.issuer_name.to_lowercase().contains(&wanted.to_lowercase());
        issuer.as_ref().is_none_or(has)
    };
    let is_any = certs.iter().filter_map(|(_, cert)| cert.as_ref()).any(|cert| is_older(cert) && is_by(cert));
    if is_any || (issued_before.is_none() && issuer.is_none()) {
        return None;
    }
    let issued = |cert: &CertInfo| format!("{} by {}", cert.not_before.to_http_date(), cert.issuer_name);
    let known: Vec<String> = certs.iter().filter_map(|(_, cert)| cert.as_ref()).map(issued).collect();
    Some(match known.is_empty() {
        true => format!("{NOT_CONCERNED}: it has no certificate"),
        false => format!("{NOT_CONCERNED}: its certificate was issued {}", known.join(", ")),
    })
}

/// How the detail of an answer begins where the conditions of a request do not hold.
pub const NOT_CONCERNED: &str = "not concerned";
/// The same where a renewal is not due.
pub const NOT_DUE: &str = "not due";

/// With a request for a renewal, one that is not due is made now all the same.
pub fn apply(decision: Decision, renewal: Option<&Renew>) -> Decision {
    match decision {
        Decision::At(..) if renewal.is_some_and(Renew::is_forced) => Decision::Now(Reason::Requested),
        decision => decision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeySpec, RenewMode};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn request(op: Op) -> Request {
        Request { id: "a".into(), op, time: NOW, by: "root".into() }
    }

    fn renew() -> Request {
        request(Op::Renew(Renew::default()))
    }

    fn certs() -> Vec<KeyedCert> {
        let cert = CertInfo { issuer_name: "CN=Fake R3".into(), not_before: NOW, ..CertInfo::default() };
        vec![(KeySpec::default(), Some(cert))]
    }

    fn md(renew_mode: RenewMode) -> Md {
        Md { name: "a.test".into(), domains: vec!["a.test".into()], renew_mode, ..Md::default() }
    }

    fn judged(request: &Request, before: Option<&Requested>, now: Timestamp) -> Verdict {
        let (md, certs) = (md(RenewMode::Auto), certs());
        let subject = Subject { md: &md, certs: &certs, in_use: true, watched: true, is_revoked: false };
        judge(request, Some(subject), before, now)
    }

    fn is_refused(verdict: &Verdict, about: &str) -> bool {
        matches!(verdict, Verdict::Refuse(reason) if reason.contains(about))
    }

    #[test]
    fn each_request_is_acted_upon_once_and_none_that_is_old() {
        let seconds = Duration::from_secs;
        assert_eq!(judged(&renew(), None, NOW), Verdict::Accept);
        assert_eq!(judged(&renew(), None, NOW.plus(seconds(299))), Verdict::Accept);
        assert_eq!(judged(&renew(), None, NOW.plus(seconds(300))), Verdict::Ignore);
        for state in [RequestState::Accepted, RequestState::Done, RequestState::Refused] {
            let before = Requested::begin(None, "a", state, None, NOW);
            assert_eq!(judged(&renew(), Some(&before), NOW), Verdict::Ignore, "{state:?}");
        }
    }

    #[test]
    fn there_is_one_renewal_a_minute_and_who_asks_meanwhile_joins_it() {
        let mut before = Requested::begin(None, "b", RequestState::Accepted, None, NOW);
        (before.accepted, before.renew) = (Some(NOW), Some(Renew::default()));
        assert_eq!(judged(&renew(), Some(&before), NOW), Verdict::Join);
        before.answer(RequestState::Failed, None, NOW);
        assert!(is_refused(&judged(&renew(), Some(&before), NOW.plus(PAUSE / 2)), "one a minute"));
        assert_eq!(judged(&renew(), Some(&before), NOW.plus(PAUSE)), Verdict::Accept);
        before.accepted = Some(NOW.plus(PAUSE));
        assert_eq!(judged(&renew(), Some(&before), NOW), Verdict::Accept, "a clock that was ahead");
        // Other requests are no renewals.
        before.accepted = Some(NOW);
        assert_eq!(judged(&request(Op::Look), Some(&before), NOW), Verdict::Accept);
        let mut fruitless = Requested::begin(None, "c", RequestState::Accepted, None, NOW);
        fruitless.accepted = Some(NOW);
        fruitless.answer(RequestState::Done, Some(format!("{NOT_DUE} before tomorrow")), NOW);
        assert_eq!(judged(&renew(), Some(&fruitless), NOW), Verdict::Accept, "nothing was ordered");
        let (md, certs) = (md(RenewMode::Auto), certs());
        let revoked = Subject { md: &md, certs: &certs, in_use: true, watched: true, is_revoked: true };
        assert_eq!(judge(&renew(), Some(revoked), Some(&before), NOW), Verdict::Accept, "it is revoked");
    }

    #[test]
    fn what_is_unknown_or_left_to_the_admin_is_refused() {
        let certs = certs();
        for op in [Op::Look, Op::Renew(Renew::default())] {
            let request = request(op);
            assert!(is_refused(&judge(&request, None, None, NOW), "no managed domain"));
            let manual = md(RenewMode::Manual);
            let subject =
                Subject { md: &manual, certs: &certs, in_use: true, watched: false, is_revoked: false };
            assert!(is_refused(&judge(&request, Some(subject), None, NOW), "it is not renewed: "));
            let auto = md(RenewMode::Auto);
            let subject =
                Subject { md: &auto, certs: &certs, in_use: true, watched: false, is_revoked: false };
            assert!(is_refused(&judge(&request, Some(subject), None, NOW), "does not renew it"));
        }
        let present = request(Op::Present { token: "t".into(), text: "x".into() });
        assert_eq!(judge(&present, None, None, NOW), Verdict::Accept, "for any host");
    }

    #[test]
    fn conditions_choose_the_certificates_they_concern() {
        let later = NOW.plus(PAUSE);
        for (issued_before, issuer, is_concerned) in [
            (Some(later), None, true),
            (Some(NOW), None, false),
            (None, Some("fake r3"), true),
            (None, Some("R4"), false),
            (Some(later), Some("R3"), true),
            (Some(NOW), Some("R3"), false),
        ] {
            let renew = Renew { issued_before, issuer: issuer.map(String::from), ..Renew::default() };
            let verdict = judged(&request(Op::Renew(renew)), None, NOW);
            assert_eq!(verdict == Verdict::Accept, is_concerned, "{issued_before:?} {issuer:?}: {verdict:?}");
            assert!(is_concerned || is_refused(&verdict, NOT_CONCERNED));
        }
    }
}
