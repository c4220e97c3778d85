// SPDX-License-Identifier: Apache-2.0
//! Restores the request state of the previous process from `ocsp/OWNER/job.json`, so that waits after
//! failures continue and do not start over with each child.

use super::report::{JOB_FILE, STAPLINGS};
use crate::ocsp::Subject;
use crate::ocsp::schedule::Failing;
use crate::store::{WorkGroup, WorkStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// Reads each file once.
pub struct Former {
    store: WorkStore,
    /// By owner.
    jobs: HashMap<String, Value>,
}

impl Former {
    pub fn new(store: WorkStore) -> Self {
        Former { store, jobs: HashMap::new() }
    }

    /// Where the last request failed.
    pub fn failing(&mut self, subject: &Subject) -> Option<Failing> {
        let job = self.jobs.entry(subject.owner.clone()).or_insert_with(|| {
            // Without one, it is a start like the first.
            self.store.read_json(WorkGroup::Ocsp, &subject.owner, JOB_FILE).ok().flatten().unwrap_or_default()
        });
        of(&job[STAPLINGS][subject.id_hex()], &subject.responder)
    }
}

/// Another responder than at that time knows nothing of it.
fn of(state: &Value, responder: &str) -> Option<Failing> {
    let errors = state["errors"].as_u64().filter(|errors| *errors > 0)?;
    let date = |key: &str| Timestamp::parse_http_date(state[key].as_str()?);
    let failing = Failing {
        failures: u32::try_from(errors).unwrap_or(u32::MAX),
        tried: date("last-run")?,
        next: date("next-run")?,
        retry_after: date("retry-after"),
    };
    (state["responder"] == responder).then_some(failing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_are_resumed_at_the_same_responder_only() {
        let (tried, next) = (Timestamp::from_unix(1_800_000_000), Timestamp::from_unix(1_800_000_060));
        let state = |errors: Value| {
            let (tried, next) = (tried.to_http_date(), next.to_http_date());
            json!({"errors": errors, "last-run": tried, "next-run": next, "responder": "http://o.test"})
        };
        let failing = Failing { failures: 3, tried, next, retry_after: None };
        assert_eq!(of(&state(json!(3)), "http://o.test"), Some(failing));
        assert_eq!(of(&state(json!(3)), "http://other.test"), None);
        let mut limited = state(json!(3));
        limited["retry-after"] = json!(next.to_http_date());
        assert_eq!(of(&limited, "http://o.test"), Some(Failing { retry_after: Some(next), ..failing }));
        for nothing in [
            state(json!(0)),
            state(json!(-1)),
            state(json!("3")),
            json!({"errors": 1}),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(of(&nothing, "http://o.test"), None, "{nothing}");
        }
    }
}
