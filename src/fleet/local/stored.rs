// SPDX-License-Identifier: Apache-2.0
//! The store itself as the fleet uses it: of the MDs that this process renews, and of no others. Refuses files
//! of `fleet/` that this store has not sealed.

use super::answers::Answers;
use super::{Brought, Local, staged};
use crate::crypto::CpuLimit;
use crate::fleet::decide::state::State as Saved;
use crate::fleet::key::Key;
use crate::fleet::record::{Record, Set};
use crate::managed::Managed;
use crate::managed::fleet_requests::FleetRequests;
use crate::managed::peers::{SharedAnswer, SharedResponses, Unused};
use crate::model::fleet_report::FleetReport;
use crate::model::{FleetRequest, Md};
use crate::store::{Flat, FleetLock, Holder, Stamp, WorkStore};
use crate::sync::lock;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zeroize::Zeroizing;

/// Between two looks for a request.
const REQUESTS_LOOK: Duration = Duration::from_secs(1);

pub struct StoredLocal {
    store: WorkStore,
    targets: Arc<[Managed]>,
    /// Of this httpd.
    instance: u64,
    /// The MDs that are renewed here, by name.
    renewed: HashMap<String, usize>,
    answers: Answers,
    responses: Option<Arc<dyn SharedResponses>>,
    held: Mutex<Option<FleetLock>>,
    requests: Mutex<(Option<Timestamp>, FleetRequests)>,
    /// The lists of withdrawn sets as they were last read.
    withdrawn: Mutex<(Option<Stamp>, HashMap<String, Stamp>)>,
}

impl StoredLocal {
    /// `changing`: held by all threads of this process while they change answers.
    pub fn new(
        store: WorkStore,
        targets: Arc<[Managed]>,
        instance: u64,
        changing: Arc<Mutex<()>>,
        limit: CpuLimit,
    ) -> Self {
        let is_shared = |(_, target): &(usize, &Managed)| is_shared(target);
        let renewed = targets.iter().enumerate().filter(is_shared);
        let renewed = renewed.map(|(index, target)| (target.md.name.clone(), index)).collect();
        let answers = Answers::new(store.clone(), changing, limit);
        let (held, withdrawn) = Default::default();
        let report = store.read_fleet_status().ok().flatten();
        let answered = report.as_ref().and_then(FleetReport::from_json).and_then(|report| report.answer);
        let requests = Mutex::new((None, FleetRequests::new(answered.as_ref())));
        StoredLocal { store, targets, instance, renewed, answers, responses: None, held, requests, withdrawn }
    }

    /// With stapling: OCSP responses that other nodes have got.
    #[must_use]
    pub fn stapling(self, responses: Arc<dyn SharedResponses>) -> Self {
        StoredLocal { responses: Some(responses), ..self }
    }

    fn target(&self, name: &str) -> Option<&Managed> {
        self.targets.get(*self.renewed.get(name)?)
    }

    fn lists(&self) -> Result<Vec<(String, Stamp)>, crate::store::Error> {
        let lists = self.store.flat_stamps(Flat::Withdrawn)?;
        Ok(lists.into_iter().filter(|(name, _)| self.renewed.contains_key(name)).collect())
    }
}

/// Whether the fleet has the MD: its certificates are a CA's.
pub fn is_shared(target: &Managed) -> bool {
    !target.md.has_static_files() && !target.md.ca.urls.is_empty()
}

impl Local for StoredLocal {
    fn take(&self, now: Timestamp) -> Result<Result<(), String>, String> {
        let mut held = lock(&self.held);
        if held.as_ref().is_some_and(FleetLock::is_held) {
            return Ok(Ok(()));
        }
        *held = None;
        match self.store.lock_fleet(&Holder::own(self.instance, now)).map_err(|error| error.to_string())? {
            Ok(taken) => {
                *held = Some(taken);
                Ok(Ok(()))
            }
            Err(holder) => Ok(Err(holder.to_string())),
        }
    }

    fn release(&self) {
        *lock(&self.held) = None;
    }

    fn place(&self) -> String {
        lock(&self.held).as_ref().map(FleetLock::place).unwrap_or_default()
    }

    fn load(&self) -> Option<Saved> {
        let content = self.store.read_fleet_state().unwrap_or_else(|error| {
            crate::log!(
                Warn,
                "the state of the fleet in this store cannot be read, and this is a new node of it: {}",
                error.advised()
            );
            None
        });
        let json: Value = serde_json::from_slice(&content?).ok()?;
        Saved::from_json(&json)
    }

    fn save(&self, saved: &Saved) -> Result<(), String> {
        let content = saved.to_json().to_string();
        self.store.write_fleet_state(content.as_bytes()).map_err(|error| error.advised())
    }

    fn sets(&self) -> Vec<(String, Set)> {
        let (sets, errors) = self.store.read_fleet_sets().unwrap_or_else(|error| (Vec::new(), vec![error]));
        for error in errors {
            crate::log!(Warn, "a set of the fleet in this store cannot be read: {}", error.advised());
        }
        let known = sets.iter().filter_map(|content| parsed(content));
        known.filter(|(name, _)| self.renewed.contains_key(name)).collect()
    }

    fn set(&self, name: &str) -> Option<Set> {
        let content = self.store.read_fleet_set(name).ok().flatten()?;
        parsed(&content).filter(|(of, _)| of == name).map(|(_, set)| set)
    }

    fn keep_set(&self, name: &str, set: &Set) -> Result<(), String> {
        let record = Record::Set(set.clone()).to_json(&Key::Set(name.into()));
        let content = json!({"name": name, "set": record.map_err(|flaw| flaw.to_string())?});
        let content = Zeroizing::new(content.to_string());
        self.store.write_fleet_set(name, content.as_bytes()).map_err(|error| error.advised())
    }

    fn stage(&self, name: &str, set: &Set, now: Timestamp) -> Result<Brought, String> {
        let Some(target) = self.target(name) else {
            return Ok(Brought::Refused("it is not renewed here".into()));
        };
        staged::stage(&self.store, target, set, now).map_err(|error| error.advised())
    }

    fn md(&self, name: &str) -> Option<Md> {
        self.target(name).map(|target| target.md.clone())
    }

    fn is_looked_at(&self, name: &str) -> bool {
        self.target(name).is_some_and(|target| target.watched)
    }

    fn request(&self, now: Timestamp) -> Option<FleetRequest> {
        let mut requests = lock(&self.requests);
        let (looked, requests) = &mut *requests;
        if looked.is_some_and(|looked| looked <= now && now.since(looked) < REQUESTS_LOOK) {
            return None;
        }
        *looked = Some(now);
        requests.look(&self.store, now)
    }

    fn in_use(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let served = self.target(name)?.served();
        let from = served.all().map(|cert| cert.not_before).max()?;
        Some((from, served.all().map(|cert| cert.not_after).min()?))
    }

    fn note_renew_at(&self, name: &str, ids: &[String], at: Timestamp, now: Timestamp) {
        if let Err(error) = staged::note_renew_at(&self.store, name, ids, at, now) {
            crate::log!(
                Warn,
                "md[{name}]: the CA's advice, which another node has got, cannot be saved: {error}"
            );
        }
    }

    fn withdrawn(&self) -> Vec<(String, Value)> {
        let Ok(stamp) = self.store.flat_stamp(Flat::Withdrawn) else { return Vec::new() };
        let mut seen = lock(&self.withdrawn);
        let (before, known) = &mut *seen;
        if stamp.is_none() || *before == stamp {
            return Vec::new();
        }
        let Ok(lists) = self.lists() else { return Vec::new() };
        *before = stamp;
        let new =
            lists.into_iter().filter(|(name, stamp)| known.insert(name.clone(), *stamp) != Some(*stamp));
        let new: Vec<String> = new.map(|(name, _)| name).collect();
        let read = |name: String| Some((name.clone(), self.store.read_flat(Flat::Withdrawn, &name).ok()??));
        new.into_iter().filter_map(read).collect()
    }

    fn put_answer(&self, answer: &SharedAnswer, now: Timestamp) -> Result<(), String> {
        self.answers.put(answer, now).map_err(|flaw| flaw.to_string())
    }

    fn remove_answer(&self, answer: &SharedAnswer) -> Result<(), String> {
        self.answers.remove(answer).map_err(|flaw| flaw.to_string())
    }

    fn answers(&self) -> Vec<SharedAnswer> {
        let owners: BTreeSet<&str> = self.renewed.keys().map(String::as_str).collect();
        let targets = self.renewed.values().filter_map(|index| self.targets.get(*index));
        let domains = targets.flat_map(|target| &target.md.domains);
        let names: BTreeSet<&str> = domains.map(|name| name.strip_prefix("*.").unwrap_or(name)).collect();
        self.answers.of(names.into_iter(), &owners)
    }

    fn take_response(&self, name: &str, file: &str, der: &[u8], now: Timestamp) -> Result<(), Unused> {
        self.responses.as_ref().map_or(Ok(()), |responses| responses.take(name, file, der, now))
    }

    fn report(&self, report: &FleetReport) -> Result<(), String> {
        self.store.write_fleet_status(&report.to_json()).map_err(|error| error.advised())
    }
}

/// A set as [`Local::keep_set`] has written it, with the name of its MD.
pub fn parsed(content: &[u8]) -> Option<(String, Set)> {
    let json: Value = serde_json::from_slice(content).ok()?;
    let name = json.get("name")?.as_str()?.to_string();
    match Record::from_json(&Key::Set(name.clone()), json.get("set")?).ok()? {
        Record::Set(set) => Some((name, set)),
        _ => None,
    }
}
