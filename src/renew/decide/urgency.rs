// SPDX-License-Identifier: Apache-2.0
//! The urgency of a renewal, by the time left of the certificates in use, and how long a CA or a command may
//! make it wait. Pure.

use crate::managed::certificates::KeyedCert;
use crate::model::Md;
use crate::model::retry_state::WAIT_MAX;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// The longest wait between two tries.
pub const RETRY_MAX: Duration = DAY;

/// The urgency of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Usual,
    /// Less than two thirds of the renew window are left.
    Late,
    /// There is no usable certificate.
    Missing,
}

/// The effects of urgency on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    pub urgency: Urgency,
    /// When the urgency turns from usual to late.
    pub late_at: Option<Timestamp>,
    /// The longest pause between two tries, so that several fit in before the certificate expires. Long after
    /// that, nothing is urgent any more.
    pub longest: Duration,
    /// When the first certificate expires; `None` where one is missing.
    pub end: Option<Timestamp>,
}

/// The longest wait that a renewal accepts from `since` on: half of the time that is left of its certificate,
/// a day where there is none.
pub fn patience(end: Option<Timestamp>, since: Timestamp) -> Duration {
    let left = end.map(|end| end.since(since)).filter(|left| !left.is_zero());
    left.map_or(RETRY_MAX, |left| (left / 2).clamp(LONGEST_MIN, WAIT_MAX))
}

/// Between two tries for a certificate that is about to end, or just has ended.
const LONGEST_MIN: Duration = Duration::from_secs(3600);
/// As many tries fit into the time that is left.
const TRIES_LEFT: u32 = 8;

pub fn pressure(md: &Md, certs: &[KeyedCert], now: Timestamp) -> Pressure {
    let missing = Pressure { urgency: Urgency::Missing, late_at: None, longest: RETRY_MAX, end: None };
    let mut first: Option<(Timestamp, Timestamp)> = None;
    for (_, cert) in certs {
        let Some(cert) = cert else { return missing };
        let window = md.renew_window.of(cert.not_after.since(cert.not_before));
        let late_at = cert.not_after.minus(window * 2 / 3);
        let (end, late) = first.unwrap_or((cert.not_after, late_at));
        first = Some((end.min(cert.not_after), late.min(late_at)));
    }
    let Some((end, late_at)) = first else { return missing };
    let distance = end.since(now).max(now.since(end));
    let longest = (distance / TRIES_LEFT).clamp(LONGEST_MIN, RETRY_MAX);
    let end = Some(end);
    match late_at > now {
        true => Pressure { urgency: Urgency::Usual, late_at: Some(late_at), longest, end },
        false => Pressure { urgency: Urgency::Late, late_at: None, longest, end },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertInfo;
    use crate::model::KeySpec;
    use crate::time::{DAY, TimeSlice};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn a_renewal_is_late_with_less_than_two_thirds_of_its_window_left() {
        let md = Md { renew_window: TimeSlice::Percent(33), ..Md::default() };
        let cert = |left: Duration| {
            let not_after = NOW.plus(left);
            vec![(
                KeySpec::default(),
                Some(CertInfo { not_before: not_after.minus(DAY * 100), not_after, ..CertInfo::default() }),
            )]
        };
        let found = |certs: &[KeyedCert]| {
            let pressure = pressure(&md, certs, NOW);
            (pressure.urgency, pressure.late_at.map(|at| at.since(NOW)))
        };
        assert_eq!(found(&cert(DAY * 23)), (Urgency::Usual, Some(DAY)));
        assert_eq!(found(&cert(DAY * 22)), (Urgency::Late, None));
        assert_eq!(found(&cert(Duration::ZERO)), (Urgency::Late, None));
        assert_eq!(found(&[(KeySpec::default(), None)]), (Urgency::Missing, None));
        // The longest pause between two tries, in hours, by the days that are left.
        let longest = |left: Duration| pressure(&md, &cert(left), NOW).longest.as_secs() / 3600;
        let hours: Vec<u64> = [30, 8, 2, 0].iter().map(|days| longest(DAY * *days)).collect();
        assert_eq!(hours, [24, 24, 6, 1]);
        assert_eq!(pressure(&md, &cert(DAY), NOW.plus(DAY * 2)).longest, DAY / 8);
        assert_eq!(pressure(&md, &cert(DAY), NOW.plus(DAY * 20)).longest, DAY);
    }
}
