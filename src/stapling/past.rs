//! How asking went before this process, from `ocsp/OWNER/job.json`: what has failed is not asked for at once again.

use super::report::{JOB_FILE, STAPLINGS};
use crate::ocsp::Subject;
use crate::store::{WorkGroup, WorkStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// Reads each file once.
pub struct Past {
    store: WorkStore,
    /// By owner.
    jobs: HashMap<String, Value>,
}

impl Past {
    pub fn new(store: WorkStore) -> Self {
        Past { store, jobs: HashMap::new() }
    }

    /// Failures in a row and when to try again, where the last request failed.
    pub fn failures(&mut self, subject: &Subject) -> Option<(u32, Timestamp)> {
        let job = self.jobs.entry(subject.owner.clone()).or_insert_with(|| {
            // Without one, it is a start like the first.
            self.store.read_json(WorkGroup::Ocsp, &subject.owner, JOB_FILE).ok().flatten().unwrap_or_default()
        });
        of(&job[STAPLINGS][subject.id_hex()], &subject.responder)
    }
}

/// Another responder than at that time knows nothing of it.
fn of(state: &Value, responder: &str) -> Option<(u32, Timestamp)> {
    let errors = state["errors"].as_u64().filter(|errors| *errors > 0)?;
    let next = Timestamp::parse_http_date(state["next-run"].as_str()?)?;
    (state["responder"] == responder).then_some((u32::try_from(errors).unwrap_or(u32::MAX), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_are_those_of_the_same_responder_and_successes_are_none() {
        let next = Timestamp::from_unix(1_800_000_000);
        let state = |errors: Value| json!({"errors": errors, "next-run": next.to_http_date(), "responder": "http://o.test"});
        assert_eq!(of(&state(json!(3)), "http://o.test"), Some((3, next)));
        assert_eq!(of(&state(json!(3)), "http://other.test"), None);
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
