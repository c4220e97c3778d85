// SPDX-License-Identifier: Apache-2.0
//! When a complete set may take the place of the one in use, live or at a restart. Pure.

use crate::crypto::CertInfo;
use crate::managed::certificates;
use crate::managed::live_set::LiveSet;
use crate::managed::serve::Certs;
use crate::model::Md;
use crate::time::Timestamp;
use std::time::Duration;

/// When a complete set may take the place of the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    At(Timestamp),
    /// As soon as there is an OCSP response for it: clients refuse it without (RFC 7633).
    Stapled,
}

/// `delay` is `MDActivationDelay`.
pub fn due(
    md: &Md,
    in_use: &Certs,
    new: &[CertInfo],
    delay: Duration,
    has_staple: bool,
    now: Timestamp,
) -> Due {
    if let Some(at) = waits_until(md, in_use, new.iter(), delay, now) {
        return Due::At(at);
    }
    let needs_staple = new.iter().any(|cert| cert.must_staple) && !has_staple;
    if needs_staple && in_use.are_in_time(now) { Due::Stapled } else { Due::Now }
}

/// The end of the wait of new certificates: the begin of their validity while another valid one is served,
/// and `delay` after that while the ones in use are good in every respect. Otherwise they do not wait.
pub fn waits_until<'c>(
    md: &Md,
    in_use: &Certs,
    new: impl Iterator<Item = &'c CertInfo>,
    delay: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let begin = new.map(|cert| cert.not_before).max()?;
    if now < begin && in_use.are_in_time(now) {
        return Some(begin.plus(delay));
    }
    let at = begin.plus(delay);
    (now < at && certificates::is_good(md, in_use, now)).then_some(at)
}

/// The end of the time in which a live set is not replaced, although it is due already. A window that takes
/// up most of a certificate's lifetime (`MDRenewWindow 30d` with certificates of six days) would have each
/// set replaced as soon as it is there.
pub fn rests_until(md: &Md, set: &LiveSet, pause: Duration) -> Timestamp {
    let rest = |cert: &CertInfo| {
        let lifetime = cert.not_after.since(cert.not_before);
        (md.renew_window.of(lifetime) > lifetime * 2 / 3).then(|| cert.not_before.plus(lifetime / 3))
    };
    let rests = set.certs.iter().filter_map(|(_, cert)| rest(cert.as_ref()?));
    rests.fold(set.since.plus(pause), Timestamp::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identities;
    use crate::crypto::fixture::NOW;
    use crate::managed::certificates::KeyedCert;
    use crate::managed::fixture::md;
    use crate::model::KeySpec;
    use crate::time::{DAY, TimeSlice};

    fn cert(from: Timestamp, days: u32, must_staple: bool) -> CertInfo {
        let dns_names = vec!["a.test".into()];
        CertInfo {
            dns_names,
            not_before: from,
            not_after: from.plus(DAY * days),
            must_staple,
            ..CertInfo::default()
        }
    }

    fn in_use(cert: Option<CertInfo>) -> Vec<KeyedCert> {
        vec![(KeySpec::Ec("P-256".into()), cert)]
    }

    #[test]
    fn a_set_waits_for_its_time_only_where_a_good_one_is_in_use() {
        let new = [cert(NOW, 90, false)];
        let due = |old: Option<CertInfo>, new: &[CertInfo], delay| {
            due(&md(&["a.test"]), &in_use(old).into(), new, delay, false, NOW)
        };
        let good = || Some(cert(NOW.minus(DAY * 80), 90, false));
        assert_eq!(due(good(), &new, Duration::ZERO), Due::Now);
        assert_eq!(due(good(), &new, DAY), Due::At(NOW.plus(DAY)));
        assert_eq!(due(good(), &[cert(NOW.plus(DAY), 90, false)], Duration::ZERO), Due::At(NOW.plus(DAY)));
        assert_eq!(due(None, &new, DAY), Due::Now);
        assert_eq!(due(Some(cert(NOW.minus(DAY * 90), 90, false)), &new, DAY), Due::Now, "it has expired");
    }

    #[test]
    fn a_set_that_is_not_valid_yet_waits_while_any_valid_one_is_served() {
        let more = md(&["a.test", "b.test"]);
        let new = [cert(NOW.plus(DAY), 90, false)];
        let some: Certs = in_use(Some(cert(NOW.minus(DAY * 80), 90, false))).into();
        let due = |old: &Certs, new: &[CertInfo]| due(&more, old, new, Duration::ZERO, false, NOW);
        assert_eq!(due(&some, &new), Due::At(NOW.plus(DAY)), "some names are served");
        let spare = Certs { keyed: in_use(None), spare: some.keyed.clone() };
        assert_eq!(due(&spare, &new), Due::At(NOW.plus(DAY)), "a former key is served");
        assert_eq!(due(&in_use(None).into(), &new), Due::Now);
        let staple = Due::Stapled;
        assert_eq!(due(&spare, &[cert(NOW, 90, true)]), staple, "the former key needs no response");
    }

    #[test]
    fn a_must_staple_set_waits_for_its_response_while_the_old_one_is_valid() {
        let md = Md { must_staple: true, ..md(&["a.test"]) };
        let new = [cert(NOW, 90, true)];
        let old: Certs = in_use(Some(cert(NOW.minus(DAY * 80), 90, false))).into();
        assert_eq!(due(&md, &old, &new, Duration::ZERO, false, NOW), Due::Stapled);
        assert_eq!(due(&md, &old, &new, Duration::ZERO, true, NOW), Due::Now);
        assert_eq!(due(&md, &in_use(None).into(), &new, Duration::ZERO, false, NOW), Due::Now);
    }

    #[test]
    fn a_window_longer_than_a_lifetime_does_not_replace_a_set_at_once() {
        let set = |days| LiveSet {
            ca_url: None,
            since: NOW,
            certs: in_use(Some(cert(NOW, days, false))).into(),
            identities: Identities::default(),
        };
        let pause = Duration::from_secs(30);
        let month = Md { renew_window: TimeSlice::Length(DAY * 30), ..md(&["a.test"]) };
        assert_eq!(rests_until(&month, &set(90), pause), NOW.plus(pause));
        assert_eq!(rests_until(&month, &set(6), pause), NOW.plus(DAY * 2));
    }
}
