//! What pages show of stapling: each certificate with its response from memory, and how asking for it went from
//! `job.json`.

use super::report::{JOB_FILE, STAPLINGS};
use crate::ocsp::{Cache, Entry, schedule};
use crate::store::{WorkGroup, WorkStore};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

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

/// The key `ocsp` of certificates in md-status, by their SHA-256 fingerprints. Takes nothing but memory.
pub type Responses = HashMap<String, Value>;

pub fn responses(cache: &Cache) -> Responses {
    let shown =
        |entry: Entry| (entry.subject.fingerprint.clone(), Stapled::new(&entry, &Value::Null).to_json());
    cache.entries().into_iter().map(shown).collect()
}

/// All, sorted by owner and id.
pub fn all(cache: &Cache, store: &WorkStore) -> Vec<Stapled> {
    let mut jobs: HashMap<String, Value> = HashMap::new();
    let mut found: Vec<Stapled> = cache
        .entries()
        .into_iter()
        .map(|entry| {
            let owner = &entry.subject.owner;
            let job = jobs.entry(owner.clone()).or_insert_with(|| {
                store.read_json(WorkGroup::Ocsp, owner, JOB_FILE).ok().flatten().unwrap_or_default()
            });
            Stapled::new(&entry, &job[STAPLINGS][entry.subject.id_hex()])
        })
        .collect();
    found.sort_by(|one, other| (&one.owner, &one.id).cmp(&(&other.owner, &other.id)));
    found
}

impl Stapled {
    fn new(entry: &Entry, state: &Value) -> Self {
        let (subject, response) = (&entry.subject, entry.response.as_deref());
        let date = |key: &str| state.get(key).and_then(Value::as_str).and_then(Timestamp::parse_http_date);
        let errors = state.get("errors").and_then(Value::as_u64).unwrap_or(0);
        Stapled {
            owner: subject.owner.clone(),
            id: subject.id_hex(),
            serial: subject.serial_hex.clone(),
            fingerprint: subject.fingerprint.clone(),
            responder: subject.responder.clone(),
            status: response.map_or("unknown", |response| response.status.word()),
            valid: response.map(|response| (response.from, response.until)),
            renewal: response.map(|response| schedule::window(response, subject.terms.renew_window)),
            next_run: date("next-run"),
            errors: u32::try_from(errors).unwrap_or(u32::MAX),
            detail: state.get("detail").and_then(Value::as_str).map(str::to_string),
        }
    }

    pub fn is_current(&self, now: Timestamp) -> bool {
        self.valid.is_some_and(|(_, until)| now < until)
    }

    /// The key `ocsp` of a certificate in md-status.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let period = |(from, until): (Timestamp, Timestamp)| json!({"from": from.to_http_date(), "until": until.to_http_date()});
        out.insert("status".into(), json!(self.status));
        self.valid.map(|valid| out.insert("valid".into(), period(valid)));
        self.renewal.map(|renewal| out.insert("renewal".into(), period(renewal)));
        Value::Object(out)
    }
}
