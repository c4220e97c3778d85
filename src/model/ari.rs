// SPDX-License-Identifier: Apache-2.0
//! The CA's advice on when to renew (RFC 9773), as `staging/NAME/ari.json` keeps it for each certificate.

use super::bounded;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// Keys of one MD; more entries in a file are not read.
const ENTRIES_MAX: usize = 32;

/// The stored advice for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `AKI.SERIAL`.
    pub cert_id: String,
    /// `None`: the CA has not answered yet.
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

/// Reads the output of [`to_json`]; leaves out entries of any other form.
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
    /// The advice as status pages show it.
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
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn json_is_read_back_and_garbage_left_out() {
        let advice = Advice {
            start: NOW,
            end: NOW.plus(DAY * 2),
            renew_at: NOW.plus(DAY),
            explanation: Some("https://ca.test/why".into()),
            checked: NOW,
        };
        let entries = [
            Entry { cert_id: "a.b".into(), advice: Some(advice), next_check: NOW.plus(DAY) },
            Entry { cert_id: "c.d".into(), advice: None, next_check: NOW.plus(DAY) },
        ];
        assert_eq!(from_json(&to_json(&entries)), entries);
        for garbage in
            [json!(null), json!({"certificates": 5}), json!({"certificates": [1, {"cert-id": "x"}]})]
        {
            assert_eq!(from_json(&garbage), []);
        }
    }
}
