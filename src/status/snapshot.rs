// SPDX-License-Identifier: Apache-2.0
//! One process's data on all managed domains: settings and certificates from memory, the state of renewals
//! from the store. Never writes to the store.
//!
//! There is one cache, with a slot for each domain: the state read from the store, and the printed output. A
//! slot is read again when the domain's folder in staging has changed, and printed output is dropped when the
//! values it came from change. So a monitor that asks every few seconds costs little (figures:
//! docs/performance.md).

use super::domain::{Domain, Renewal};
use super::fleet::{Fleet, Reader};
use super::printed::Printed;
use super::renewal_need::RenewalNeed;
use crate::crypto::CertInfo;
use crate::managed::Managed;
use crate::managed::certificates::KeyedCert;
use crate::managed::live_set::LiveSet;
use crate::managed::save_error::Loss;
use crate::managed::staging::Staging;
use crate::model::{Job, KeySpec, Renewing, Requested};
use crate::renew::decide::ari;
use crate::store::{Looked, Watched, WorkGroup, WorkStore};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The staged data of a managed domain.
#[derive(Default)]
pub struct Staged {
    pub renewal: Option<Arc<Renewal>>,
    /// What an operator has asked for.
    pub requested: Option<Arc<Requested>>,
    pub advice: Vec<ari::Entry>,
}

/// One process's data on all managed domains.
pub struct Snapshots {
    mds: Arc<[Managed]>,
    /// Indices of the MDs in the order of their names.
    sorted: Vec<usize>,
    by_name: HashMap<String, usize>,
    store: Option<WorkStore>,
    /// `None` where there is no fleet.
    fleet: Option<Reader>,
    kept: Mutex<Kept>,
    /// A request came since [`keep_up`](Snapshots::keep_up) looked.
    is_asked: AtomicBool,
    /// About how many bytes the list of all domains takes as JSON.
    pub(super) list_length: AtomicUsize,
}

struct Kept {
    looked: Looked,
    slots: Vec<Slot>,
}

/// All that is kept of one domain.
#[derive(Default)]
struct Slot {
    watched: Watched,
    staged: Staged,
    view: Option<View>,
}

/// The values that pages show beside the staged data, and the printed output of both.
struct View {
    live: Option<Arc<LiveSet>>,
    workers: usize,
    save_error: Option<Loss>,
    renewing: Option<Arc<Renewing>>,
    need: Arc<RenewalNeed>,
    printed: Printed,
}

/// The values of a view beside its need, as of now.
struct Values {
    live: Option<Arc<LiveSet>>,
    workers: usize,
    save_error: Option<Loss>,
    renewing: Option<Arc<Renewing>>,
}

impl Values {
    fn of(managed: &Managed, fleet: Option<&Fleet>) -> Self {
        let live = managed.live.load().clone();
        let workers = live.as_ref().map_or(0, |_| managed.live.serving());
        let renewing = fleet.and_then(|fleet| fleet.renewing(&managed.md.name)).cloned();
        Values { live, workers, save_error: managed.save_error.loss(), renewing }
    }
}

impl View {
    fn holds(&self, values: &Values, now: Timestamp) -> bool {
        same(&self.live, &values.live)
            && self.workers == values.workers
            && self.save_error == values.save_error
            && self.renewing == values.renewing
            && self.need.holds_at(now)
    }
}

fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

impl Slot {
    /// The domain at this moment, with its printed output as long as that holds.
    fn show<'a>(
        &mut self,
        managed: &'a Managed,
        fleet: Option<&Fleet>,
        now: Timestamp,
    ) -> (Domain<'a>, &mut Printed) {
        let values = Values::of(managed, fleet);
        // In place, so that printed output is not moved for each domain of each page.
        if !self.view.as_ref().is_some_and(|view| view.holds(&values, now)) {
            self.view = None;
        }
        let Values { live, workers, save_error, renewing } = values;
        let staged = &self.staged;
        let view = self.view.get_or_insert_with(|| View {
            live: live.clone(),
            workers,
            save_error,
            renewing: renewing.clone(),
            need: Arc::new(RenewalNeed::new(managed, &staged.advice, now)),
            printed: Printed::default(),
        });
        let domain = Domain {
            managed,
            live,
            workers,
            renewal: self.staged.renewal.clone(),
            requested: self.staged.requested.clone(),
            need: view.need.clone(),
            save_error,
            renewing,
        };
        (domain, &mut view.printed)
    }
}

impl Snapshots {
    /// `store`: `None` where there is nothing to read, as no MD is configured.
    pub fn new(mds: Arc<[Managed]>, store: Option<WorkStore>) -> Self {
        let by_name = mds.iter().enumerate().map(|(index, managed)| (managed.md.name.clone(), index));
        let by_name: HashMap<String, usize> = by_name.collect();
        let mut sorted: Vec<usize> = (0..mds.len()).collect();
        sorted.sort_by(|a, b| mds.get(*a).map(|m| &m.md.name).cmp(&mds.get(*b).map(|m| &m.md.name)));
        let slots = mds.iter().map(|_| Slot::default()).collect();
        let kept = Mutex::new(Kept { looked: Looked::default(), slots });
        let (is_asked, list_length) = (AtomicBool::default(), AtomicUsize::default());
        Snapshots { mds, sorted, by_name, store, fleet: None, kept, is_asked, list_length }
    }

    /// The same for an httpd that belongs to a fleet (`MDFleet`).
    #[must_use]
    pub fn of_fleet(self) -> Self {
        Snapshots { fleet: Some(Reader::default()), ..self }
    }

    /// `None` where there is no fleet.
    pub fn fleet(&self, now: Timestamp) -> Option<Arc<Fleet>> {
        Some(self.fleet.as_ref()?.look(self.store.as_ref()?, now))
    }

    /// All managed domains, by name.
    pub fn all(&self, now: Timestamp) -> Vec<Domain<'_>> {
        let (mut kept, fleet) = (self.asked(now), self.fleet(now));
        let domain = |index: &usize| {
            let (managed, slot) = (self.mds.get(*index)?, kept.slots.get_mut(*index)?);
            Some(slot.show(managed, fleet.as_deref(), now).0)
        };
        self.sorted.iter().filter_map(domain).collect()
    }

    /// One managed domain, by its place in the configuration.
    pub fn one(&self, index: usize, now: Timestamp) -> Option<Domain<'_>> {
        let managed = self.mds.get(index)?;
        let fleet = self.fleet(now);
        Some(self.asked(now).slots.get_mut(index)?.show(managed, fleet.as_deref(), now).0)
    }

    /// Passes each managed domain to `show`, by name, with its printed output as long as that holds.
    pub(super) fn each_printed(&self, now: Timestamp, mut show: impl FnMut(&Domain<'_>, &mut Printed)) {
        let (mut kept, fleet) = (self.asked(now), self.fleet(now));
        for index in &self.sorted {
            if let (Some(managed), Some(slot)) = (self.mds.get(*index), kept.slots.get_mut(*index)) {
                let (domain, printed) = slot.show(managed, fleet.as_deref(), now);
                show(&domain, printed);
            }
        }
    }

    /// The slots, for a request. They are read first only if [`keep_up`](Snapshots::keep_up) has not read
    /// them a moment ago.
    fn asked(&self, now: Timestamp) -> MutexGuard<'_, Kept> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.look(Looked::fresh(self.mds.len()) * 2, now)
    }

    /// Reads changes ahead if a request came since the last time, so that frequent requests do not wait for
    /// the disk. Returns whether one came.
    pub fn keep_up(&self, now: Timestamp) -> bool {
        let is_asked = self.is_asked.load(Ordering::Relaxed);
        if is_asked {
            let fresh = Looked::fresh(self.mds.len());
            if self.look(fresh, now).looked.is_of(now) {
                self.is_asked.store(false, Ordering::Relaxed);
            }
        }
        is_asked
    }

    /// Reads the changes since the last look, if that is older than `fresh`.
    fn look(&self, fresh: Duration, now: Timestamp) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = &self.store else { return kept };
        let Some(found) = kept.looked.again(store, WorkGroup::Staging, fresh, now) else {
            return kept;
        };
        let mut stamps = vec![None; self.mds.len()];
        for (name, stamp) in found {
            if let Some(slot) = self.by_name.get(&name).and_then(|index| stamps.get_mut(*index)) {
                *slot = Some(stamp);
            }
        }
        for ((managed, slot), stamp) in self.mds.iter().zip(&mut kept.slots).zip(stamps) {
            if slot.watched.has_changed(stamp, now) {
                slot.staged = stamp.map(|_| read(managed, store)).unwrap_or_default();
                slot.view = None;
            }
        }
        kept
    }
}

/// A file that cannot be read shows as missing; the renewing child reports it and starts over.
fn read(managed: &Managed, store: &WorkStore) -> Staged {
    let staging = Staging::new(store, &managed.md.name);
    let advice = staging.ari().unwrap_or_default();
    let job = staging.job().ok().flatten();
    let requested = job.as_ref().and_then(|job| job.request.clone()).map(Arc::new);
    let renewal = job.filter(Job::is_begun).and_then(|job| read_renewal(managed, &staging, job));
    Staged { renewal: renewal.map(Arc::new), requested, advice }
}

fn read_renewal(managed: &Managed, staging: &Staging<'_>, job: Job) -> Option<Renewal> {
    let certificate = |spec: &KeySpec| {
        let chain = staging.chain(spec).ok().flatten();
        chain.map(|chain| CertInfo::from_chain(&chain))
    };
    // It may have been ordered for other keys than are configured now.
    let ordered = staging.md().ok().flatten().filter(|_| job.finished);
    let keys = ordered.map_or_else(|| managed.md.keys(), |md| md.keys());
    let staged: Vec<KeyedCert> = keys.into_iter().map(|spec| (spec.clone(), certificate(&spec))).collect();
    // The C module leaves finished jobs that have only sent a message.
    let has_any = job.valid_from.is_some() || job.errors > 0 || staged.iter().any(|(_, cert)| cert.is_some());
    let is_renewal = !job.finished || has_any || staging.has_chain();
    is_renewal.then_some(Renewal { job, staged })
}
