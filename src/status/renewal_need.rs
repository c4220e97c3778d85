// SPDX-License-Identifier: Apache-2.0
//! Whether a managed domain needs new certificates now, and when the CA advises to renew them (RFC 9773).
//!
//! Pure: it reads the certificates in memory and the CA's advice, and decides nothing: the rules are those of
//! [`due`].

use super::standing::Period;
use crate::managed::Managed;
use crate::managed::serve::Certs;
use crate::model::Md;
use crate::renew::decide::ari::{self, Advice};
use crate::renew::decide::due::{self, Decision};
use crate::time::{DAY, Timestamp};
use std::ops::Range;

#[derive(Debug)]
pub struct RenewalNeed {
    /// Whether the domain needs new certificates, also where the administrator renews: monitors need it
    /// there, too.
    pub decision: Decision,
    /// When the renewal is due, or since when; `None`: never.
    pub renew_at: Option<Timestamp>,
    /// When the CA advises to renew the certificates.
    pub advice: Option<Advice>,
    /// The period common to the certificates that are served.
    pub certs: Option<Period>,
    /// How long all this holds for the same certificates and advice. Until then all that pages say of the
    /// domain stays the same, except for spans of time.
    during: Range<Timestamp>,
}

impl RenewalNeed {
    pub fn new(managed: &Managed, advice: &[ari::Entry], now: Timestamp) -> Self {
        let served = managed.served();
        let advice = ari::earliest(advice, &served).filter(|_| managed.md.ari_renewals).cloned();
        let decision = due::need(&managed.current(), &served, advice.as_ref(), now);
        let renew_at = match &decision {
            Decision::Now(_) => Some(due::due_since(&managed.md, &served, advice.as_ref(), now)),
            Decision::At(at, _) => Some(*at),
            Decision::Never(_) => None,
        };
        let certs = period(&managed.md, &served);
        let ends = served.iter().filter_map(|(_, cert)| cert.as_ref()).map(|cert| cert.not_after);
        let until = holds_until(&decision, certs, ends, now);
        RenewalNeed { decision, renew_at, advice, certs, during: now..until }
    }

    /// Whether [`new`](RenewalNeed::new) would return the same now for the same certificates and advice.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.during.contains(&now)
    }
}

/// Before this time only other certificates or another advice change the need.
fn holds_until(
    decision: &Decision,
    certs: Option<Period>,
    ends: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let due = match decision {
        Decision::At(at, _) => Some(*at),
        Decision::Now(_) | Decision::Never(_) => None,
    };
    let dates = certs.into_iter().flat_map(|certs| [certs.from, certs.warn, certs.until]);
    dates.chain(ends).chain(due).filter(|at| *at > now).fold(now.plus(DAY), Timestamp::min)
}

/// The period common to all certificates; `None` without any. Those for keys that are no longer configured
/// count only if there are no others.
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
    fn a_kept_renewal_need_equals_a_new_one() {
        for left in [0, 1, 3600, 86_400, 2 * 86_400, 90 * 86_400] {
            let managed = managed(Duration::from_secs(left));
            let mut kept = RenewalNeed::new(&managed, &[], NOW);
            for seconds in [0, 1, 3599, 3600, 3601, 86_399, 86_400, 70 * 86_400, 90 * 86_400, 5] {
                let now = NOW.plus(Duration::from_secs(seconds));
                let new = RenewalNeed::new(&managed, &[], now);
                if !kept.holds_at(now) {
                    kept = RenewalNeed::new(&managed, &[], now);
                }
                assert_eq!(kept.decision, new.decision, "{left} {seconds}");
            }
        }
    }

    #[test]
    fn a_renewal_need_is_kept_while_it_holds() {
        let managed = managed(DAY * 90);
        let kept = RenewalNeed::new(&managed, &[], NOW);
        let is_kept = |now| kept.holds_at(now);
        assert!(is_kept(NOW) && is_kept(NOW.plus(DAY / 2)));
        assert!(!is_kept(NOW.plus(DAY)) && !is_kept(NOW.minus(Duration::from_secs(1))));
    }
}
