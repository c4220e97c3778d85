// SPDX-License-Identifier: Apache-2.0
//! When to renew: pure functions of settings, certificates and `now`, which return the reason too
//! ([`reason`](super::reason)). Takes no store and no clock. Imports `managed`, `model` and its neighbours in
//! `decide`.

use super::ari::Advice;
use super::reason::{Never, Period, Reason};
use crate::crypto::CertInfo;
use crate::managed::certificates::{self, KeyedCert};
use crate::managed::fit;
use crate::model::{Md, State};
use crate::time::Timestamp;

/// The outcome of [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Now(Reason),
    /// Once this period has begun.
    At(Timestamp, Period),
    Never(Never),
}

/// Whether to renew `md`. `certs` are those in use, one entry for each key of the MD, `None` where there is
/// none; `in_use`: whether any host has this MD; `ari`: the CA's advice.
pub fn decide(md: &Md, certs: &[KeyedCert], in_use: bool, ari: Option<&Advice>, now: Timestamp) -> Decision {
    match md.not_renewed(in_use) {
        Some(reason) => Decision::Never(reason.into()),
        None => need(md, certs, ari, now),
    }
}

/// The same with OCSP status: where a certificate is revoked and would ever be renewed, it is renewed now,
/// because clients refuse a certificate with a revoked status stapled to it.
pub fn apply_revocation(
    decision: Decision,
    certs: &[KeyedCert],
    is_revoked: impl Fn(&CertInfo) -> bool,
) -> Decision {
    let revoked = |(_, cert): &&KeyedCert| cert.as_ref().is_some_and(&is_revoked);
    match (decision, certs.iter().find(revoked)) {
        (Decision::At(..), Some((key, _))) => Decision::Now(Reason::Revoked(key.clone())),
        (decision, _) => decision,
    }
}

/// Whether `md` needs new certificates, by this module or by the admin. Missing or wrong certificates come
/// first, then the CA's advice or the renew window, whichever is earlier. The certificate that expires first
/// decides, all are renewed together.
pub fn need(md: &Md, certs: &[KeyedCert], ari: Option<&Advice>, now: Timestamp) -> Decision {
    let unfit = |(key, cert): &KeyedCert| {
        fit::check(md, cert.as_ref(), now).err().map(|unfit| Reason::Unfit(key.clone(), unfit))
    };
    if let Some(reason) = certs.iter().find_map(unfit) {
        return Decision::Now(reason);
    }
    let Some((at, period)) = window(md, certs, ari) else {
        return Decision::Never(Never::NoKeys);
    };
    match former_ca(md) {
        Some(url) => Decision::Now(Reason::FormerCa(url.into())),
        None if at > now => Decision::At(at, period),
        None => Decision::Now(Reason::Begun(period)),
    }
}

/// Since when a renewal that is due has been due: since the begin of its time, however long ago, where there
/// is a complete set; else now.
pub fn due_since(md: &Md, certs: &[KeyedCert], ari: Option<&Advice>, now: Timestamp) -> Timestamp {
    let begin = window(md, certs, ari).filter(|_| certificates::assess(md, certs).0 == State::Complete);
    begin.map_or(now, |(at, _)| at.min(now))
}

/// With less than this part of its lifetime left, a certificate is renewed whatever the CA advises.
const EMERGENCY_PART: u32 = 20;

/// When the time to renew begins, and which it is: of those that begin together, the first.
fn window(md: &Md, certs: &[KeyedCert], ari: Option<&Advice>) -> Option<(Timestamp, Period)> {
    let ari = ari.filter(|_| md.ari_renewals);
    let advised = ari.map(|advice| (advice.renew_at, Period::Advice(advice.explanation.clone())));
    let certs = certs.iter().filter_map(|(key, cert)| Some((key, cert.as_ref()?)));
    let of_certs = certs.flat_map(|(key, cert)| {
        let lifetime = cert.not_after.since(cert.not_before);
        let window = md.renew_window;
        let begin = (cert.not_after.minus(window.of(lifetime)), Period::Window(key.clone(), window));
        let last = cert.not_after.minus(lifetime / EMERGENCY_PART);
        let last = ari.map(|_| (last, Period::LastTwentieth(key.clone())));
        std::iter::once(begin).chain(last)
    });
    advised.into_iter().chain(of_certs).min_by_key(|(at, _)| *at)
}

/// When the renew window of this certificate begins.
pub(super) fn window_of(md: &Md, cert: &CertInfo) -> Timestamp {
    cert.not_after.minus(md.renew_window.of(cert.not_after.since(cert.not_before)))
}

/// The CA that issued the certificates in use, where it is none of those configured.
fn former_ca(md: &Md) -> Option<&str> {
    let issuer = md.ca.url.as_deref().filter(|_| !md.has_static_files() && !md.ca.urls.is_empty())?;
    let same = |url: &String| url.trim_end_matches('/') == issuer.trim_end_matches('/');
    (!md.ca.urls.iter().any(same)).then_some(issuer)
}

/// When the warn window of the first certificate to expire begins; `None` without certificates.
pub fn warn_from(md: &Md, certs: &[KeyedCert]) -> Option<Timestamp> {
    let certs = certs.iter().filter_map(|(_, cert)| cert.as_ref());
    certs.map(|c| c.not_after.minus(md.warn_window.of(c.not_after.since(c.not_before)))).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::model::{KeySpec, RenewMode};
    use crate::time::{DAY, TimeSlice};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn cert(names: &[&str], age_days: u32, left_days: u32) -> CertInfo {
        CertInfo {
            dns_names: names.iter().map(|n| (*n).to_string()).collect(),
            not_before: NOW.minus(DAY * age_days),
            not_after: NOW.plus(DAY * left_days),
            ..CertInfo::default()
        }
    }

    fn md() -> Md {
        Md { name: "a.test".into(), domains: vec!["a.test".into(), "www.a.test".into()], ..Md::default() }
    }

    fn one(cert: Option<CertInfo>) -> Vec<KeyedCert> {
        vec![(KeySpec::default(), cert)]
    }

    fn is_now(decision: &Decision, about: &str) -> bool {
        matches!(decision, Decision::Now(reason) if reason.to_string().contains(about))
    }

    #[test]
    fn a_missing_expired_or_unfit_certificate_is_renewed_now() {
        let good = ["a.test", "www.a.test"];
        assert!(is_now(&decide(&md(), &one(None), true, None, NOW), "missing"));
        assert!(is_now(&decide(&md(), &one(Some(cert(&["a.test"], 1, 89))), true, None, NOW), "cover"));
        assert!(is_now(&decide(&md(), &one(Some(cert(&good, 91, 0))), true, None, NOW), "expired"));
        let stapled = CertInfo { must_staple: true, ..cert(&good, 1, 89) };
        assert!(is_now(&decide(&md(), &one(Some(stapled)), true, None, NOW), "must-staple"));
    }

    #[test]
    fn renewal_is_due_once_the_window_of_this_certificate_has_begun() {
        let good = ["*.a.test", "a.test"];
        // 33 % of 90 days are 29.7 days.
        let early = decide(&md(), &one(Some(cert(&good, 30, 60))), true, None, NOW);
        let at = NOW.plus(DAY * 60).minus(DAY * 90 * 33 / 100);
        assert!(matches!(&early, Decision::At(t, _) if *t == at), "{early:?}");
        assert!(is_now(&decide(&md(), &one(Some(cert(&good, 61, 29))), true, None, NOW), "window"));
    }

    #[test]
    fn a_revoked_certificate_is_renewed_now_where_it_is_renewed_at_all() {
        let certs = one(Some(cert(&["a.test", "www.a.test"], 1, 89)));
        let apply =
            |md: &Md, revoked| apply_revocation(decide(md, &certs, true, None, NOW), &certs, |_| revoked);
        assert!(is_now(&apply(&md(), true), "revoked"));
        assert!(matches!(apply(&md(), false), Decision::At(..)));
        let manual = Md { renew_mode: RenewMode::Manual, ..md() };
        assert!(matches!(apply(&manual, true), Decision::Never(_)));
    }

    #[test]
    fn of_several_keys_the_one_that_expires_first_decides() {
        let good = ["a.test", "www.a.test"];
        let certs = vec![
            (KeySpec::default(), Some(cert(&good, 1, 89))),
            (KeySpec::Ec("P-256".into()), Some(cert(&good, 70, 20))),
        ];
        assert!(is_now(&decide(&md(), &certs, true, None, NOW), "P-256"));
    }

    #[test]
    fn manual_static_and_unused_domains_are_left_alone() {
        let never = |md: &Md, used| matches!(decide(md, &one(None), used, None, NOW), Decision::Never(_));
        assert!(never(&Md { renew_mode: RenewMode::Manual, ..md() }, true));
        assert!(never(&Md { cert_files: vec!["x".into()], ..md() }, true));
        assert!(never(&md(), false));
        assert!(!never(&Md { renew_mode: RenewMode::Always, ..md() }, false));
        assert!(!never(&Md { renew_mode: RenewMode::Always, cert_files: vec!["x".into()], ..md() }, true));
    }

    #[test]
    fn a_renewal_is_due_since_its_window_began_or_now_if_a_set_is_incomplete() {
        let since = |md: &Md, certs: &[KeyedCert]| due_since(md, certs, None, NOW);
        let begin = |left: i64| Timestamp::from_unix(NOW.unix() + left * 86_400 - 90 * 86_400 * 33 / 100);
        assert_eq!(since(&md(), &one(Some(cert(&GOOD, 85, 5)))), begin(5));
        let mut expired = cert(&GOOD, 95, 0);
        expired.not_after = NOW.minus(DAY * 5);
        assert_eq!(since(&md(), &one(Some(expired))), begin(-5));
        assert_eq!(since(&md(), &one(None)), NOW);
        assert_eq!(since(&md(), &one(Some(cert(&["a.test"], 85, 5)))), NOW);
        assert_eq!(since(&Md { must_staple: true, ..md() }, &one(Some(cert(&GOOD, 85, 5)))), NOW);
        // Due for another reason before its time.
        assert_eq!(since(&md(), &one(Some(cert(&GOOD, 5, 85)))), NOW);
        let advised = due_since(&md(), &one(Some(cert(&GOOD, 5, 85))), Some(&advice(NOW.minus(DAY))), NOW);
        assert_eq!(advised, NOW.minus(DAY));
    }

    const GOOD: [&str; 2] = ["a.test", "www.a.test"];

    fn advice(renew_at: Timestamp) -> Advice {
        let explanation = Some("https://ca.test/why".to_string());
        Advice { start: renew_at, end: renew_at, renew_at, explanation, checked: NOW }
    }

    #[test]
    fn the_earlier_of_the_cas_advice_and_the_window_counts() {
        // 90 days with a window of 33 %: 29.7 days.
        let certs = one(Some(cert(&GOOD, 10, 80)));
        let window = NOW.plus(DAY * 80).minus((DAY * 90).mul_f64(0.33));
        let at = |at: Option<Timestamp>| match need(&md(), &certs, at.map(advice).as_ref(), NOW) {
            Decision::At(at, _) => at,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(None), window);
        assert_eq!(at(Some(NOW.plus(DAY * 20))), NOW.plus(DAY * 20));
        assert_eq!(at(Some(NOW.plus(DAY * 70))), window);
        let now = need(&md(), &certs, Some(&advice(NOW)), NOW);
        assert!(is_now(&now, "ARI") && is_now(&now, "https://ca.test/why"), "{now:?}");
        assert!(is_now(&need(&md(), &certs, Some(&advice(NOW.minus(DAY * 400))), NOW), "ARI"));
        let off = Md { ari_renewals: false, ..md() };
        assert_eq!(need(&off, &certs, Some(&advice(NOW)), NOW), need(&off, &certs, None, NOW));
    }

    #[test]
    fn the_last_twentieth_of_a_lifetime_overrides_a_later_advice() {
        let late = Md { renew_window: TimeSlice::Percent(1), ..md() };
        let later = advice(NOW.plus(DAY * 3));
        let certs = |left| one(Some(cert(&GOOD, 100 - left, left)));
        assert!(is_now(&need(&late, &certs(5), Some(&later), NOW), "twentieth"));
        assert!(matches!(need(&late, &certs(5), None, NOW), Decision::At(at, _) if at == NOW.plus(DAY * 4)));
        assert!(
            matches!(need(&late, &certs(6), Some(&later), NOW), Decision::At(at, _) if at == NOW.plus(DAY))
        );
    }

    #[test]
    fn a_certificate_of_a_ca_that_is_no_longer_configured_is_renewed_at_once() {
        let certs = one(Some(cert(&GOOD, 10, 80)));
        let mut md = md();
        md.ca.urls = vec!["https://new.test/dir".into(), "https://second.test/dir".into()];
        for (issuer, is_former) in [
            (None, false),
            (Some("https://new.test/dir"), false),
            (Some("https://second.test/dir/"), false),
            (Some("https://old.test/dir"), true),
        ] {
            md.ca.url = issuer.map(String::from);
            assert_eq!(
                is_now(&need(&md, &certs, None, NOW), "https://old.test/dir"),
                is_former,
                "{issuer:?}"
            );
        }
        md.cert_files = vec!["/x".into()];
        assert!(!is_now(&need(&md, &certs, None, NOW), ""));
    }

    #[test]
    fn the_warn_window_is_that_of_the_first_certificate_to_expire() {
        let certs = [one(Some(cert(&GOOD, 10, 90))), one(Some(cert(&GOOD, 10, 30)))].concat();
        assert_eq!(warn_from(&md(), &certs), Some(NOW.plus(DAY * 26)));
        assert_eq!(warn_from(&md(), &one(None)), None);
    }
}
