// SPDX-License-Identifier: Apache-2.0
//! The outcomes of a job's steps as `job.json` keeps them: the latest one, and a log entry for each. Cuts
//! values to size, because workers can write that file. Imports `bounded`.

use super::bounded::{self, Room, TEXT_MAX};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// Bytes of a text in a log entry.
const ENTRY_TEXT_MAX: usize = 1024;
/// Bytes of the kind of an entry.
const KIND_MAX: usize = 128;
/// Of the subproblems of a CA, which has one for each name at most.
const SUBPROBLEMS_ROOM: Room = Room { values: 1024, text: 64 * 1024 };

/// `apr_status_t` numbers the status JSON speaks in.
pub mod status {
    pub const OK: i32 = 0;
    pub const INVALID: i32 = 22;
    pub const PERMISSION_DENIED: i32 = 13;
    pub const REFUSED: i32 = 111;
    pub const GENERAL: i32 = 20014;
    pub const INCOMPLETE: i32 = 20022;

    /// Whether the number names a reason: the operating system's do. Those above mean "failed", or less.
    pub fn has_reason(status: i32) -> bool {
        (1..20_000).contains(&status) && status != INVALID
    }

    /// The text APR has for a number.
    pub fn description(status: i32) -> String {
        match status {
            GENERAL => "Internal error (specific information not available)".into(),
            INCOMPLETE => "Partial results are valid but processing is incomplete".into(),
            70007 => "The timeout specified has expired".into(),
            s if s > 0 && s < 20000 => {
                let text = std::io::Error::from_raw_os_error(s).to_string();
                text.split(" (os error").next().unwrap_or_default().to_string()
            }
            s => format!("Error string not specified yet ({s})"),
        }
    }
}

/// Between an error and what to do, in details.
pub const ADVICE: &str = " What to do: ";

/// The error in a detail, and what to do about it.
pub fn split_advice(detail: &str) -> (&str, Option<&str>) {
    detail.split_once(ADVICE).map_or((detail, None), |(error, advice)| (error, Some(advice)))
}

/// The letters of the heading that advice begins with.
const HEADING: [char; 8] = ['w', 'h', 'a', 't', 't', 'o', 'd', 'o'];
/// What stands for a colon, or looks like one.
const COLONS: [char; 6] = [':', '\u{589}', '\u{2236}', '\u{a789}', '\u{fe55}', '\u{ff1a}'];

/// Words from outside, which do not pass for our advice: without the colon, which tells the heading from
/// words. Pages and terminals leave out what cannot be seen, and show several blanks as one: letters alone
/// count.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut matched = 0;
    for c in text.chars() {
        if matched == HEADING.len() && COLONS.contains(&c) {
            continue;
        }
        if c.is_alphanumeric() {
            let is = |letter: Option<&char>| letter.is_some_and(|letter| c.eq_ignore_ascii_case(letter));
            matched = if is(HEADING.get(matched)) { matched + 1 } else { usize::from(is(HEADING.first())) };
        }
        out.push(c);
    }
    out
}

/// `last` of a job: how the latest step ended.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outcome {
    /// `apr_status_t`; 0 is success.
    pub status: i32,
    /// A problem type: an RFC 8555 URN or one of ours.
    pub problem: Option<String>,
    pub detail: Option<String>,
    /// The activity that this is the result of, beginning with the step's name.
    pub activity: Option<String>,
    /// From when the new certificates are valid.
    pub valid_from: Option<Timestamp>,
    /// The CA's subproblems, as it sent them (RFC 8555 §6.7.1).
    pub subproblems: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    pub when: Timestamp,
    /// `starting`, `progress`, `finished`, `renewal-error`, `message-EVENT`, …
    pub kind: String,
    pub status: Option<String>,
    pub detail: Option<String>,
}

impl Outcome {
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_string(), value);
        put("status", json!(self.status));
        if self.status != status::OK {
            put("status-description", json!(status::description(self.status)));
        }
        self.problem.as_ref().map(|p| put("problem", json!(p)));
        self.detail.as_ref().map(|d| put("detail", json!(d)));
        self.activity.as_ref().map(|a| put("activity", json!(a)));
        self.valid_from.map(|t| put("valid-from", json!(t.to_http_date())));
        self.subproblems.as_ref().map(|s| put("subproblems", s.clone()));
        Value::Object(out)
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let text = |key: &str| bounded::text_at(value, key, TEXT_MAX);
        Outcome {
            status: value.get("status").and_then(Value::as_i64).and_then(|n| n.try_into().ok()).unwrap_or(0),
            problem: text("problem"),
            detail: text("detail"),
            activity: text("activity"),
            valid_from: date(value.get("valid-from")),
            subproblems: value.get("subproblems").and_then(|found| SUBPROBLEMS_ROOM.take(found)),
        }
    }
}

impl LogEntry {
    pub(super) fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("when".into(), json!(self.when.to_http_date()));
        out.insert("type".into(), json!(self.kind));
        self.status.as_ref().map(|s| out.insert("status".into(), json!(s)));
        self.detail.as_ref().map(|d| out.insert("detail".into(), json!(d)));
        Value::Object(out)
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        Some(LogEntry {
            when: date(value.get("when"))?,
            kind: bounded::text_at(value, "type", KIND_MAX)?,
            status: bounded::text_at(value, "status", ENTRY_TEXT_MAX),
            detail: bounded::text_at(value, "detail", ENTRY_TEXT_MAX),
        })
    }
}

/// A date as HTTP writes it.
pub(super) fn date(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str).and_then(Timestamp::parse_http_date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_from_outside_lose_the_colon_of_advice_however_it_is_written() {
        for (text, expected) in [
            ("No. What to do: pay", "No. What to do pay"),
            ("WHAT TO DO:: : pay", "WHAT TO DO  pay"),
            ("What  to\t\ndo : pay", "What  to\t\ndo  pay"),
            ("What\u{a0}to\u{200b} do\u{ff1a}pay", "What\u{a0}to\u{200b} dopay"),
            ("Wh\u{ad}at to\u{1} d\u{202e}o\u{7f}: pay", "Wh\u{ad}at to\u{1} d\u{202e}o\u{7f} pay"),
            ("wwhat to do: what to what to do: x", "wwhat to do what to what to do x"),
            ("what to do next: x", "what to do next: x"),
            ("https://a.test: what to: do", "https://a.test: what to: do"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_quoted_is_split(text in "((?i)what| |to|do|:|\t|\u{200b}|\\PC){0,30}") {
            let quoted = quoted(&text);
            prop_assert_eq!(split_advice(&quoted).1, None);
            let seen: String = quoted.chars().filter(|c| !c.is_control() && *c != '\u{200b}').collect();
            let seen = seen.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            prop_assert!(!seen.contains("what to do:"), "{}", seen);
            prop_assert_eq!(super::quoted(&quoted), quoted.clone());
        }
    }
}
