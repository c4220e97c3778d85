// SPDX-License-Identifier: Apache-2.0
//! The CA's advice on when to renew (RFC 9773), as a job keeps it. Pure: what an answer makes of what is
//! known. An instant inside the CA's window is drawn once and kept until the window changes, so that
//! neither restarts nor further looks move it.

use crate::acme::RenewalInfo;
use crate::managed::certificates::KeyedCert;
use crate::model::bounded;
use crate::time::{DAY, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// When to look again where the CA does not say (RFC 9773 §4.3.2 has it say so).
const DEFAULT_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// When to ask again after an answer that was none.
const FAILED_PAUSE: Duration = Duration::from_secs(3600);
/// Within these a CA's `Retry-After` is obeyed.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = DAY;
/// Keys of one MD; more entries in a file are not read.
const ENTRIES_MAX: usize = 32;

/// What is known about one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `AKI.SERIAL`.
    pub cert_id: String,
    /// `None`: the CA has not told anything yet.
    pub advice: Option<Advice>,
    pub next_check: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    pub start: Timestamp,
    pub end: Timestamp,
    /// The instant drawn from the window.
    pub renew_at: Timestamp,
    pub explanation: Option<String>,
    /// When the CA last said so.
    pub checked: Timestamp,
}

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

/// The entry after the CA could not be asked, or gave no usable answer: what it said before still holds.
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

/// Whether the CA is to be asked about a certificate. A look further away than any was written by a clock
/// that was wrong.
pub fn is_due(entry: Option<&Entry>, now: Timestamp) -> bool {
    entry.is_none_or(|entry| entry.next_check <= now || entry.next_check.since(now) > PAUSE_MAX * 2)
}

/// What counts of the entries for the certificates in use: all are renewed together, when the first is to be.
pub fn earliest<'e>(entries: &'e [Entry], certs: &[KeyedCert]) -> Option<&'e Advice> {
    let is_used = |id: &str| {
        certs.iter().any(|(_, cert)| cert.as_ref().is_some_and(|c| c.ari_cert_id.as_deref() == Some(id)))
    };
    let used = entries.iter().filter(|entry| is_used(&entry.cert_id));
    used.filter_map(|entry| entry.advice.as_ref()).min_by_key(|advice| advice.renew_at)
}

pub fn to_json(entries: &[Entry]) -> Value {
    let entry = |entry: &Entry| {
        let mut out = json!({"cert-id": entry.cert_id, "next-check": entry.next_check.to_http_date()});
        if let (Value::Object(out), Some(advice)) = (&mut out, &entry.advice)
            && let Value::Object(fields) = advice.to_json()
        {
            out.extend(fields);
        }
        out
    };
    json!({"certificates": entries.iter().map(entry).collect::<Vec<_>>()})
}

/// Reads what [`to_json`] wrote; what is not in that form is left out.
pub fn from_json(value: &Value) -> Vec<Entry> {
    let entries = value.get("certificates").and_then(Value::as_array);
    let date = |value: Option<&Value>| value.and_then(Value::as_str).and_then(Timestamp::parse_http_date);
    let entry = |value: &Value| {
        let text = |key: &str| bounded::name_at(value, key);
        let window = |key: &str| date(value.get("window").and_then(|window| window.get(key)));
        let advice = || {
            Some(Advice {
                start: window("start")?,
                end: window("end")?,
                renew_at: date(value.get("renew-at"))?,
                explanation: text("explanation-url"),
                checked: date(value.get("checked"))?,
            })
        };
        Some(Entry {
            cert_id: text("cert-id")?,
            next_check: date(value.get("next-check"))?,
            advice: advice(),
        })
    };
    entries.into_iter().flatten().filter_map(entry).take(ENTRIES_MAX).collect()
}

impl Advice {
    /// What status pages show.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "window": {"start": self.start.to_http_date(), "end": self.end.to_http_date()},
            "renew-at": self.renew_at.to_http_date(),
        });
        if let Value::Object(out) = &mut out {
            self.explanation.as_ref().map(|url| out.insert("explanation-url".into(), json!(url)));
            out.insert("checked".into(), json!(self.checked.to_http_date()));
        }
        out
    }
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
    fn an_instant_is_drawn_uniformly_once_and_anew_when_the_window_changes() {
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
    fn json_is_read_back_and_garbage_left_out() {
        let entries = [
            answered(None, "a.b", &info(10, 20), None, 0.1, NOW),
            unknown("c.d", NOW),
            unanswered(None, "e", None, NOW),
        ];
        assert_eq!(from_json(&to_json(&entries)), entries);
        for garbage in
            [json!(null), json!({"certificates": 5}), json!({"certificates": [1, {"cert-id": "x"}]})]
        {
            assert_eq!(from_json(&garbage), []);
        }
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
