// SPDX-License-Identifier: Apache-2.0
//! The state that a failing job keeps between attempts: the current CA, the waits that a CA has demanded, and
//! the times of failed validations. Part of job.json, so that the next child and the next start continue with
//! it.

use super::bounded;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// No CA is believed to want more than ten days, nor is any file.
pub const WAIT_MAX: Duration = Duration::from_secs(11 * 86_400);

/// As many failed validations as are worth remembering.
pub const VALIDATIONS_KEPT: usize = 5;

#[derive(Clone, Debug, PartialEq, Default)]
pub struct RetryState {
    /// The directory URL of the CA that was asked last, and how often it failed in a row.
    pub ca: Option<String>,
    pub ca_errors: u32,
    /// It refuses an order that this MD needs; another CA may not.
    pub refused: bool,
    /// A wait that the CA demanded.
    pub rate_limit: Option<RateLimit>,
    /// When a validation failed, oldest first.
    pub failed_validations: Vec<Timestamp>,
}

/// A CA wants no requests before an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Directory URL.
    pub ca: String,
    pub scope: Scope,
    /// When it was demanded.
    pub since: Timestamp,
    pub until: Timestamp,
}

/// Whose requests are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything asked of this CA.
    Ca,
    /// Requests for this DNS name or a name below it.
    Name(String),
    /// The job itself alone.
    Job,
}

impl RetryState {
    pub fn is_empty(&self) -> bool {
        *self == RetryState::default()
    }

    /// The state after a restart: the CA's demands and failed validations stay, the count of errors does not.
    #[must_use]
    pub fn of_the_next_start(&self, now: Timestamp) -> Self {
        RetryState {
            rate_limit: self.rate_limit.clone().filter(|limit| limit.is_in_force(now)),
            failed_validations: self.failed_validations.clone(),
            ..RetryState::default()
        }
    }

    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        self.ca.as_ref().map(|ca| out.insert("ca".into(), json!(ca)));
        if self.ca_errors > 0 {
            out.insert("ca-errors".into(), json!(self.ca_errors));
        }
        if self.refused {
            out.insert("refused".into(), json!(true));
        }
        if let Some(rate_limit) = &self.rate_limit {
            out.insert("hold".into(), rate_limit.to_json());
        }
        if !self.failed_validations.is_empty() {
            let dates: Vec<String> = self.failed_validations.iter().map(|t| t.to_http_date()).collect();
            out.insert("failed-validations".into(), json!(dates));
        }
        Value::Object(out)
    }

    pub fn from_json(value: &Value) -> Self {
        let dates = value.get("failed-validations").and_then(Value::as_array);
        let mut failed_validations: Vec<Timestamp> =
            dates.into_iter().flatten().filter_map(date).take(VALIDATIONS_KEPT).collect();
        failed_validations.sort();
        RetryState {
            ca: bounded::name_at(value, "ca"),
            ca_errors: value
                .get("ca-errors")
                .and_then(Value::as_u64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(0),
            refused: value.get("refused") == Some(&Value::Bool(true)),
            rate_limit: value.get("hold").and_then(RateLimit::from_json),
            failed_validations,
        }
    }
}

impl RateLimit {
    /// Whether it applies at `now`. One from the future was written while the clock was wrong; one longer than
    /// [`WAIT_MAX`] was not written by this module.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until && self.until.since(self.since) <= WAIT_MAX
    }

    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "ca": self.ca,
            "since": self.since.to_http_date(),
            "until": self.until.to_http_date(),
        });
        match &self.scope {
            Scope::Ca => value["scope"] = json!("ca"),
            Scope::Name(name) => value["name"] = json!(name),
            Scope::Job => {}
        }
        value
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let scope = value.get("scope").and_then(Value::as_str);
        Some(RateLimit {
            ca: bounded::name_at(value, "ca")?,
            scope: match (scope, bounded::name_at(value, "name")) {
                (Some("ca"), _) => Scope::Ca,
                (_, Some(name)) => Scope::Name(name),
                _ => Scope::Job,
            },
            since: value.get("since").and_then(date)?,
            until: value.get("until").and_then(date)?,
        })
    }
}

fn date(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse_http_date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const BEFORE: Timestamp = Timestamp::from_unix(1_799_999_999);

    fn retry_state(scope: Scope) -> RetryState {
        RetryState {
            ca: Some("https://ca.test/dir".into()),
            ca_errors: 3,
            refused: true,
            rate_limit: Some(RateLimit {
                ca: "https://ca.test/dir".into(),
                scope,
                since: BEFORE,
                until: NOW,
            }),
            failed_validations: vec![NOW, NOW],
        }
    }

    #[test]
    fn json_is_read_back_and_garbage_takes_defaults() {
        for scope in [Scope::Ca, Scope::Name("a.test".into()), Scope::Job] {
            assert_eq!(RetryState::from_json(&retry_state(scope.clone()).to_json()), retry_state(scope));
        }
        for garbage in [
            json!(5),
            json!({"ca": 1, "ca-errors": -1, "hold": {"until": "x"}, "failed-validations": [1, "x"]}),
        ] {
            assert_eq!(RetryState::from_json(&garbage), RetryState::default());
        }
    }

    #[test]
    fn a_rate_limit_longer_than_any_that_is_obeyed_is_not_in_force() {
        let rate_limit = |days: u32| RateLimit {
            ca: "https://ca.test/dir".into(),
            scope: Scope::Ca,
            since: BEFORE,
            until: BEFORE.plus(DAY * days),
        };
        assert!(rate_limit(10).is_in_force(NOW));
        assert!(!rate_limit(12).is_in_force(NOW));
        assert!(!rate_limit(300).is_in_force(BEFORE.plus(DAY * 299)));
    }

    #[test]
    fn a_start_keeps_what_a_ca_demanded_and_forgets_the_errors() {
        let kept = retry_state(Scope::Ca).of_the_next_start(BEFORE);
        assert_eq!((kept.ca_errors, kept.refused, kept.ca), (0, false, None));
        assert!(kept.rate_limit.is_some() && kept.failed_validations.len() == 2);
        assert_eq!(retry_state(Scope::Ca).of_the_next_start(NOW).rate_limit, None);
        // Noted by a clock that was ahead.
        assert_eq!(
            retry_state(Scope::Ca).of_the_next_start(Timestamp::from_unix(1_799_999_000)).rate_limit,
            None
        );
    }
}
