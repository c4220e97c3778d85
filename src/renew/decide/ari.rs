// SPDX-License-Identifier: Apache-2.0
//! The CA's advice on when to renew (RFC 9773), as `staging/NAME/ari.json` keeps it. Pure: applies an answer
//! to the known entries. An instant inside the CA's window is drawn once and kept until the window changes,
//! so that neither restarts nor further looks move it.

use crate::acme::RenewalInfo;
use crate::managed::certificates::KeyedCert;
pub use crate::model::ari::{Advice, Entry};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// When to look again where the CA does not say (RFC 9773 §4.3.2 has it say so).
const DEFAULT_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// When to ask again after an answer that was none.
const FAILED_PAUSE: Duration = Duration::from_secs(3600);
/// Within these a CA's `Retry-After` is obeyed.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = DAY;

/// The entry after the CA answered. `random` in 0..1 draws the instant, where there is a new window.
pub fn answered(
    known: Option<&Entry>,
    cert_id: &str,
    info: &RenewalInfo,
    retry_after: Option<Timestamp>,
    random: f64,
    now: Timestamp,
) -> Entry {
    // Kept to the second.
    let second = |t: Timestamp| Timestamp::from_unix(t.unix());
    let (start, end) = (second(info.start), second(info.end));
    let kept = known.and_then(|entry| entry.advice.as_ref()).filter(|a| (a.start, a.end) == (start, end));
    let drawn = || second(start.plus(end.since(start).mul_f64(random.clamp(0.0, 1.0))));
    let advice = Advice {
        start,
        end,
        renew_at: kept.map_or_else(drawn, |advice| advice.renew_at),
        explanation: info.explanation.clone(),
        checked: second(now),
    };
    let pause = retry_after.map_or(DEFAULT_PAUSE, |at| at.since(now));
    Entry { cert_id: cert_id.into(), advice: Some(advice), next_check: pause_end(pause, now) }
}

/// The entry after the CA could not be asked, or gave no usable answer: its earlier advice still holds.
pub fn unanswered(
    known: Option<&Entry>,
    cert_id: &str,
    retry_after: Option<Timestamp>,
    now: Timestamp,
) -> Entry {
    let pause = retry_after.map_or(FAILED_PAUSE, |at| at.since(now));
    let advice = known.and_then(|entry| entry.advice.clone());
    Entry { cert_id: cert_id.into(), advice, next_check: pause_end(pause, now) }
}

/// The entry where the CA gives no such information.
pub fn unknown(cert_id: &str, now: Timestamp) -> Entry {
    Entry { cert_id: cert_id.into(), advice: None, next_check: pause_end(PAUSE_MAX, now) }
}

fn pause_end(pause: Duration, now: Timestamp) -> Timestamp {
    now.plus(pause.clamp(PAUSE_MIN, PAUSE_MAX)).ceil()
}

/// Whether to ask the CA about a certificate. A next look that is further away than any can be was written
/// while the clock was wrong.
pub fn is_due(entry: Option<&Entry>, now: Timestamp) -> bool {
    entry.is_none_or(|entry| entry.next_check <= now || entry.next_check.since(now) > PAUSE_MAX * 2)
}

/// The earliest advice among the entries for the certificates in use: all are renewed together.
pub fn earliest<'e>(entries: &'e [Entry], certs: &[KeyedCert]) -> Option<&'e Advice> {
    let is_used = |id: &str| {
        certs.iter().any(|(_, cert)| cert.as_ref().is_some_and(|c| c.ari_cert_id.as_deref() == Some(id)))
    };
    let used = entries.iter().filter(|entry| is_used(&entry.cert_id));
    used.filter_map(|entry| entry.advice.as_ref()).min_by_key(|advice| advice.renew_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn info(start_hours: u32, end_hours: u32) -> RenewalInfo {
        RenewalInfo {
            start: NOW.plus(HOUR * start_hours),
            end: NOW.plus(HOUR * end_hours),
            explanation: Some("https://ca.test/why".into()),
        }
    }

    fn renew_at(entry: &Entry) -> Timestamp {
        entry.advice.as_ref().unwrap().renew_at
    }

    #[test]
    fn an_instant_is_drawn_uniformly_and_once_for_each_window() {
        let draw = |random| renew_at(&answered(None, "a.b", &info(10, 20), None, random, NOW));
        assert_eq!([0.0, 0.5, 1.0].map(draw), [10, 15, 20].map(|h| NOW.plus(HOUR * h)));
        let first = answered(None, "a.b", &info(10, 20), None, 0.1, NOW);
        let again = answered(Some(&first), "a.b", &info(10, 20), None, 0.9, NOW.plus(HOUR));
        assert_eq!(renew_at(&again), renew_at(&first));
        assert_eq!(again.advice.unwrap().checked, NOW.plus(HOUR));
        let moved = answered(Some(&first), "a.b", &info(10, 21), None, 0.9, NOW);
        assert_ne!(renew_at(&moved), renew_at(&first));
    }

    #[test]
    fn retry_after_is_obeyed_between_a_minute_and_a_day() {
        let next = |seconds: Option<u64>| {
            let retry_after = seconds.map(|s| NOW.plus(Duration::from_secs(s)));
            answered(None, "a.b", &info(10, 20), retry_after, 0.5, NOW).next_check.since(NOW).as_secs()
        };
        assert_eq!(
            [Some(0), Some(61), Some(21_600), Some(900_000), None].map(next),
            [60, 61, 21_600, 86_400, 21_600]
        );
    }

    #[test]
    fn without_an_answer_the_last_one_holds_and_is_asked_for_again() {
        let first = answered(None, "a.b", &info(10, 20), None, 0.1, NOW);
        let failed = unanswered(Some(&first), "a.b", None, NOW.plus(HOUR));
        assert_eq!(failed.advice, first.advice);
        assert!(!is_due(Some(&failed), NOW.plus(HOUR)));
        assert!(is_due(Some(&failed), NOW.plus(HOUR * 2)));
        assert!(is_due(None, NOW));
        // Written by a clock that was ahead.
        assert!(is_due(Some(&first), NOW.minus(DAY * 3)));
    }

    #[test]
    fn the_first_of_the_certificates_in_use_counts() {
        use crate::crypto::CertInfo;
        use crate::model::KeySpec;
        let cert = |id: &str| {
            (KeySpec::default(), Some(CertInfo { ari_cert_id: Some(id.into()), ..CertInfo::default() }))
        };
        let entries = [
            answered(None, "old", &info(1, 1), None, 0.0, NOW),
            answered(None, "a", &info(20, 20), None, 0.0, NOW),
            answered(None, "b", &info(10, 10), None, 0.0, NOW),
        ];
        assert_eq!(earliest(&entries, &[cert("a"), cert("b")]).unwrap().renew_at, NOW.plus(HOUR * 10));
        assert_eq!(earliest(&entries, &[cert("c")]), None);
    }
}
