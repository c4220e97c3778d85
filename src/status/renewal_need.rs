// SPDX-License-Identifier: Apache-2.0
//! What the time and the CA make of a managed domain: whether it needs new certificates. To judge a thousand
//! domains takes longer than to print what was printed before, so a judgement is kept as long as it holds.

use super::standing::Period;
use crate::managed::Managed;
use crate::managed::serve::Certs;
use crate::model::Md;
use crate::renew::decide::ari;
use crate::renew::decide::ari::Advice;
use crate::renew::decide::due;
use crate::renew::decide::due::Decision;
use crate::time::{DAY, Timestamp};
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug)]
pub struct Judgement {
    /// Whether it needs new certificates, whoever is to get them: monitors want to know also where the admin
    /// renews.
    pub need: Decision,
    /// When the renewal is due, or since when; `None`: never.
    pub renew_at: Option<Timestamp>,
    /// When the CA wants the certificates to be renewed.
    pub advice: Option<Advice>,
    /// Of the certificates that are served.
    pub certs: Option<Period>,
    /// As long as the same certificates are served and the CA advises the same. So long all that pages say of
    /// them stays, but for spans of time.
    during: Range<Timestamp>,
}

impl Judgement {
    pub fn new(managed: &Managed, advice: &[ari::Entry], now: Timestamp) -> Self {
        let served = managed.served();
        let advice = ari::earliest(advice, &served).filter(|_| managed.md.ari_renewals).cloned();
        let need = due::need(&managed.current(), &served, advice.as_ref(), now);
        let renew_at = match &need {
            Decision::Now(_) => Some(due::due_since(&managed.md, &served, advice.as_ref(), now)),
            Decision::At(at, _) => Some(*at),
            Decision::Never(_) => None,
        };
        let certs = period(&managed.md, &served);
        let ends = served.iter().filter_map(|(_, cert)| cert.as_ref()).map(|cert| cert.not_after);
        let until = holds_until(&need, certs, ends, now);
        Judgement { need, renew_at, advice, certs, during: now..until }
    }

    /// This, where it holds now, else a new one.
    pub fn renewed(self: Arc<Self>, managed: &Managed, advice: &[ari::Entry], now: Timestamp) -> Arc<Self> {
        if self.during.contains(&now) { self } else { Arc::new(Judgement::new(managed, advice, now)) }
    }
}

/// Before that, nothing changes but by other certificates or another advice. A clock that is set back begins
/// anew.
fn holds_until(
    need: &Decision,
    certs: Option<Period>,
    ends: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let due = match need {
        Decision::At(at, _) => Some(*at),
        Decision::Now(_) | Decision::Never(_) => None,
    };
    let dates = certs.into_iter().flat_map(|certs| [certs.from, certs.warn, certs.until]);
    dates.chain(ends).chain(due).filter(|at| *at > now).fold(now.plus(DAY), Timestamp::min)
}

/// What certificates have in common; `None` without any. Those for other kinds of keys count where there is
/// nothing else.
pub fn period(md: &Md, certs: &Certs) -> Option<Period> {
    let is_any = certs.keyed.iter().any(|(_, cert)| cert.is_some());
    let certs = if is_any { &certs.keyed } else { &certs.spare };
    let infos = || certs.iter().filter_map(|(_, cert)| cert.as_ref());
    Some(Period {
        from: infos().map(|cert| cert.not_before).max()?,
        warn: due::warn_from(md, certs)?,
        until: infos().map(|cert| cert.not_after).min()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::model::KeySpec;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn managed(left: Duration) -> Managed {
        let cert = CertInfo {
            dns_names: vec!["a.test".into()],
            not_before: NOW.minus(DAY * 3),
            not_after: NOW.plus(left),
            ..CertInfo::default()
        };
        let md = Md { name: "a.test".into(), domains: vec!["a.test".into()], ..Md::default() };
        Managed { md, certs: vec![(KeySpec::default(), Some(cert))].into(), ..Managed::default() }
    }

    #[test]
    fn a_judgement_that_is_kept_is_the_one_that_would_be_made() {
        for left in [0, 1, 3600, 86_400, 2 * 86_400, 90 * 86_400] {
            let managed = managed(Duration::from_secs(left));
            let mut kept = Arc::new(Judgement::new(&managed, &[], NOW));
            for seconds in [0, 1, 3599, 3600, 3601, 86_399, 86_400, 70 * 86_400, 90 * 86_400, 5] {
                let now = NOW.plus(Duration::from_secs(seconds));
                kept = kept.renewed(&managed, &[], now);
                assert_eq!(kept.need, Judgement::new(&managed, &[], now).need, "{left} {seconds}");
            }
        }
    }

    #[test]
    fn a_judgement_is_kept_as_long_as_it_holds() {
        let managed = managed(DAY * 90);
        let kept = Arc::new(Judgement::new(&managed, &[], NOW));
        let is_kept = |now| Arc::ptr_eq(&kept.clone().renewed(&managed, &[], now), &kept);
        assert!(is_kept(NOW) && is_kept(NOW.plus(DAY / 2)));
        assert!(!is_kept(NOW.plus(DAY)) && !is_kept(NOW.minus(Duration::from_secs(1))));
    }
}
