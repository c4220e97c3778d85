// SPDX-License-Identifier: Apache-2.0
//! Stapling for status pages: each certificate with its response from memory and the outcome of its requests
//! from `job.json`.

use super::report::{JOB_FILE, STAPLINGS};
use crate::model::bounded;
use crate::ocsp::subject::{Id, id_of_hex};
use crate::ocsp::{Cache, Entry, schedule};
use crate::store::{Looked, Watched, WorkGroup, WorkStore};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One certificate that is stapled, at one moment.
pub struct Stapled {
    /// An MD's name, or `other`.
    pub owner: String,
    /// SHA-1 of the certificate, lower-case hex.
    pub id: String,
    pub serial: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    /// URL.
    pub responder: String,
    /// `good`, `revoked`, or `unknown` as long as there is no response.
    pub status: &'static str,
    pub valid: Option<(Timestamp, Timestamp)>,
    /// When its successor is asked for.
    pub renewal: Option<(Timestamp, Timestamp)>,
    /// The next request, as far as one has been made.
    pub next_run: Option<Timestamp>,
    /// Failures in a row, and the reason of the last.
    pub errors: u32,
    pub detail: Option<String>,
}

/// The key `ocsp` of a certificate in md-status. Takes nothing but memory.
pub fn to_json(entry: &Entry) -> Value {
    Stapled::new(entry, &State::default()).to_json()
}

/// All, sorted by owner and id.
pub fn all(cache: &Cache, states: &States, store: &WorkStore, now: Timestamp) -> Vec<Stapled> {
    let table = cache.table();
    let entries: Vec<&Entry> = table.entries().collect();
    let kept = states.look(store, entries.len(), now);
    let none = State::default();
    let stapled = |entry: &&Entry| {
        let owner = kept.owners.get(&entry.subject.owner);
        Stapled::new(entry, owner.and_then(|owner| owner.states.get(&entry.subject.id)).unwrap_or(&none))
    };
    let mut found: Vec<Stapled> = entries.iter().map(stapled).collect();
    found.sort_by(|one, other| (&one.owner, &one.id).cmp(&(&other.owner, &other.id)));
    found
}

/// The states of certificates in the `job.json` of each owner, which is read again only where it has changed.
#[derive(Default)]
pub struct States(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    looked: Looked,
    owners: HashMap<String, Owner>,
}

#[derive(Default)]
struct Owner {
    watched: Watched,
    states: HashMap<Id, State>,
}

/// What is shown of the requests for one certificate.
#[derive(Default)]
struct State {
    next_run: Option<Timestamp>,
    /// In a row.
    errors: u32,
    detail: Option<String>,
}

impl State {
    fn from_json(value: &Value) -> Self {
        let date = |key: &str| value.get(key).and_then(Value::as_str).and_then(Timestamp::parse_http_date);
        let errors = value.get("errors").and_then(Value::as_u64).unwrap_or(0);
        State {
            next_run: date("next-run"),
            errors: u32::try_from(errors).unwrap_or(u32::MAX),
            detail: bounded::text_at(value, "detail", bounded::TEXT_MAX),
        }
    }
}

/// The states in a `job.json`.
fn states_of(job: &Value) -> HashMap<Id, State> {
    let states = job.get(STAPLINGS).and_then(Value::as_object).into_iter().flatten();
    states.filter_map(|(id, state)| Some((id_of_hex(id)?, State::from_json(state)))).collect()
}

impl States {
    /// `count`: about how many owners there are.
    fn look(&self, store: &WorkStore, count: usize, now: Timestamp) -> MutexGuard<'_, Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Looked::fresh(count);
        let Some(found) = kept.looked.again(store, WorkGroup::Ocsp, fresh, now) else { return kept };
        let mut before = std::mem::take(&mut kept.owners);
        for (name, stamp) in found {
            let mut owner = before.remove(&name).unwrap_or_default();
            if owner.watched.has_changed(Some(stamp), now) {
                // A file that cannot be read counts as empty; its writer reports the error.
                let job = store.read_json(WorkGroup::Ocsp, &name, JOB_FILE).ok().flatten();
                owner.states = job.as_ref().map(states_of).unwrap_or_default();
            }
            kept.owners.insert(name, owner);
        }
        kept
    }
}

impl Stapled {
    fn new(entry: &Entry, state: &State) -> Self {
        let (subject, response) = (&entry.subject, entry.response.as_deref());
        Stapled {
            owner: subject.owner.clone(),
            id: subject.id_hex(),
            serial: subject.serial_hex.clone(),
            fingerprint: subject.fingerprint.clone(),
            responder: subject.responder.clone(),
            status: response.map_or("unknown", |response| response.status.word()),
            valid: response.map(|response| (response.from, response.until)),
            renewal: response.map(|response| schedule::window(response, subject.terms.renew_window)),
            next_run: state.next_run,
            errors: state.errors,
            detail: state.detail.clone(),
        }
    }

    pub fn is_current(&self, now: Timestamp) -> bool {
        self.valid.is_some_and(|(_, until)| now < until)
    }

    fn to_json(&self) -> Value {
        let mut out = Map::new();
        let period = |(from, until): (Timestamp, Timestamp)| json!({"from": from.to_http_date(), "until": until.to_http_date()});
        out.insert("status".into(), json!(self.status));
        self.valid.map(|valid| out.insert("valid".into(), period(valid)));
        self.renewal.map(|renewal| out.insert("renewal".into(), period(renewal)));
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ocsp::fixture::{Responder, subject};
    use crate::store::StartStore;
    use crate::time::{Clock, SystemClock};
    use std::sync::Arc;
    use std::time::Duration;

    /// The second is one of the clock that pages go by: a busy machine may let the test wait for longer.
    #[test]
    fn what_changes_on_disk_shows_within_a_second() {
        const SECOND: Duration = Duration::from_secs(1);
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        let subject = Arc::new(subject(&Responder::new(), "http://o.test"));
        let cache = Cache::new([Entry { subject: subject.clone(), response: None }]);
        let errors = |states: &States, now| all(&cache, states, &store, now)[0].errors;
        let now = || SystemClock::default().now();
        let save = |count: u32| {
            let states = json!({ subject.id_hex(): { "errors": count } });
            store.write_json(WorkGroup::Ocsp, "a.test", JOB_FILE, &json!({ STAPLINGS: states })).unwrap();
        };
        assert_eq!(errors(&States::default(), now()), 0);
        for count in 1..20 {
            let states = States::default();
            // Two changes at once, between which a look may fall.
            for saved in [count + 1, count] {
                save(saved);
                errors(&states, now());
            }
            assert_eq!(errors(&states, now().plus(SECOND)), count);
        }
        let unreadable = || store.write(WorkGroup::Ocsp, "a.test", JOB_FILE, b"{").unwrap();
        let removed = || store.purge(WorkGroup::Ocsp, "a.test").unwrap();
        for change in [&unreadable as &dyn Fn(), &removed] {
            let states = States::default();
            save(1);
            assert_eq!(errors(&states, now()), 1);
            change();
            assert_eq!(errors(&states, now().plus(SECOND)), 0);
        }
    }
}
