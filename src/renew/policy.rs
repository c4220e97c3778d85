//! When to renew, and when to try again: pure functions of settings, certificates and `now`. Every
//! outcome carries the reason that status pages print. Randomness is passed in as a number.

use super::state::KeyedCert;
use crate::model::{Md, RenewMode};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// The outcome of [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Now(String),
    At(Timestamp, String),
    Never(String),
}

/// Whether to renew `md`. `certs` are those in use, one entry for each key of the MD, `None` where there is
/// none; `in_use` tells whether any host has this MD.
pub fn decide(md: &Md, certs: &[KeyedCert], in_use: bool, now: Timestamp) -> Decision {
    match md.renew_mode {
        RenewMode::Manual => Decision::Never("renewal is manual (MDRenewMode)".into()),
        RenewMode::Auto if md.has_static_files() => {
            Decision::Never("its certificate files are configured (MDCertificateFile)".into())
        }
        RenewMode::Auto if !in_use => Decision::Never("no host uses it".into()),
        RenewMode::Auto | RenewMode::Always => need(md, certs, now),
    }
}

/// Whether `md` needs new certificates, whoever is to get them. What is missing or wrong comes first, then
/// the renew window. The certificate that expires first decides, all are renewed together.
pub fn need(md: &Md, certs: &[KeyedCert], now: Timestamp) -> Decision {
    let mut next: Option<(Timestamp, String)> = None;
    for (spec, cert) in certs {
        let label = spec.label();
        let Some(cert) = cert else { return Decision::Now(format!("certificate({label}) is missing")) };
        if !md.is_covered_by(&cert.dns_names) {
            return Decision::Now(format!("certificate({label}) does not cover all domains"));
        }
        if cert.must_staple != md.must_staple {
            return Decision::Now(format!(
                "certificate({label}) has another 'must-staple' than is requested"
            ));
        }
        if cert.not_after <= now {
            return Decision::Now(format!("certificate({label}) has expired"));
        }
        let window = md.renew_window.of(cert.not_after.since(cert.not_before));
        let at = cert.not_after.minus(window);
        if next.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            next =
                Some((at, format!("the renew window of certificate({label}), {}, begins", md.renew_window)));
        }
    }
    match next {
        Some((at, reason)) if at > now => Decision::At(at, reason),
        Some((_, reason)) => Decision::Now(reason.replace("begins", "has begun")),
        None => Decision::Never("it has no keys".into()),
    }
}

/// The CA to use after so many errors in a row: each has `failover` tries, then the next one's turn comes.
pub fn authority(urls: &[String], errors: u32, failover: u32) -> Option<&str> {
    let turns = usize::try_from(errors / failover.max(1)).unwrap_or(0);
    urls.get(turns.checked_rem(urls.len())?).map(String::as_str)
}

/// The longest wait between two tries.
pub const RETRY_MAX: Duration = DAY;

/// When to try again after the `errors`-th failure in a row: `base · 2^(errors-1)`, at most a day, spread
/// by ±50 % (`random` in 0..1), never before `not_before` (the CA's Retry-After). What no repetition can
/// mend goes straight to the daily pace.
pub fn retry_at(
    errors: u32,
    base: Duration,
    hopeless: bool,
    not_before: Option<Timestamp>,
    random: f64,
    now: Timestamp,
) -> Timestamp {
    let doubled = base.saturating_mul(2u32.saturating_pow(errors.saturating_sub(1)));
    let delay = if hopeless { RETRY_MAX } else { doubled.min(RETRY_MAX) };
    let at = now.plus(spread(delay, random));
    not_before.map_or(at, |earliest| at.max(earliest))
}

/// `delay` ± 50 %: so that a fleet of servers does not come all at once.
pub fn spread(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.5 + random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::model::KeySpec;

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
        matches!(decision, Decision::Now(reason) if reason.contains(about))
    }

    #[test]
    fn a_missing_expired_or_unfit_certificate_is_renewed_now() {
        let good = ["a.test", "www.a.test"];
        assert!(is_now(&decide(&md(), &one(None), true, NOW), "missing"));
        assert!(is_now(&decide(&md(), &one(Some(cert(&["a.test"], 1, 89))), true, NOW), "cover"));
        assert!(is_now(&decide(&md(), &one(Some(cert(&good, 91, 0))), true, NOW), "expired"));
        let stapled = CertInfo { must_staple: true, ..cert(&good, 1, 89) };
        assert!(is_now(&decide(&md(), &one(Some(stapled)), true, NOW), "must-staple"));
    }

    #[test]
    fn renewal_is_due_once_the_window_of_this_certificate_has_begun() {
        let good = ["*.a.test", "a.test"];
        // 33 % of 90 days are 29.7 days.
        let early = decide(&md(), &one(Some(cert(&good, 30, 60))), true, NOW);
        let at = NOW.plus(DAY * 60).minus(DAY * 90 * 33 / 100);
        assert!(matches!(&early, Decision::At(t, _) if *t == at), "{early:?}");
        assert!(is_now(&decide(&md(), &one(Some(cert(&good, 61, 29))), true, NOW), "window"));
    }

    #[test]
    fn of_several_keys_the_one_that_expires_first_decides() {
        let good = ["a.test", "www.a.test"];
        let certs = vec![
            (KeySpec::default(), Some(cert(&good, 1, 89))),
            (KeySpec::Ec("P-256".into()), Some(cert(&good, 70, 20))),
        ];
        assert!(is_now(&decide(&md(), &certs, true, NOW), "P-256"));
    }

    #[test]
    fn manual_static_and_unused_domains_are_left_alone() {
        let never = |md: &Md, used| matches!(decide(md, &one(None), used, NOW), Decision::Never(_));
        assert!(never(&Md { renew_mode: RenewMode::Manual, ..md() }, true));
        assert!(never(&Md { cert_files: vec!["x".into()], ..md() }, true));
        assert!(never(&md(), false));
        assert!(!never(&Md { renew_mode: RenewMode::Always, ..md() }, false));
        assert!(!never(&Md { renew_mode: RenewMode::Always, cert_files: vec!["x".into()], ..md() }, true));
    }

    #[test]
    fn the_next_authority_has_its_turn_after_so_many_errors() {
        let urls = ["a".to_string(), "b".to_string()];
        let chosen: Vec<_> = [0, 12, 13, 25, 26].iter().filter_map(|n| authority(&urls, *n, 13)).collect();
        assert_eq!(chosen, ["a", "a", "b", "b", "a"]);
        assert_eq!(authority(&[], 3, 13), None);
    }

    #[test]
    fn retries_double_up_to_a_day_and_heed_the_ca() {
        let base = Duration::from_secs(30);
        let after = |errors, hopeless| retry_at(errors, base, hopeless, None, 0.5, NOW).since(NOW).as_secs();
        assert_eq!([after(1, false), after(2, false), after(5, false)], [30, 60, 480]);
        assert_eq!(after(60, false), 86_400);
        assert_eq!(after(1, true), 86_400);
        assert_eq!(retry_at(1, base, false, None, 0.0, NOW), NOW.plus(base / 2));
        assert_eq!(retry_at(1, base, false, None, 1.0, NOW), NOW.plus(base * 3 / 2));
        let told = NOW.plus(Duration::from_secs(3600));
        assert_eq!(retry_at(1, base, false, Some(told), 0.5, NOW), told);
    }
}
