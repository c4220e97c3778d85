// SPDX-License-Identifier: Apache-2.0
//! What all pages show of managed domains, as plain values: settings and certificates from memory, the state
//! of renewals from the store. A process keeps what it has read and reads again only what has changed, so
//! that a monitor that asks every few seconds costs next to nothing.

use super::renewal_need::RenewalNeed;
use super::standing::{Action, Facts, Next, Standing};
use super::{html, json, text};
use crate::crypto::CertInfo;
use crate::managed::certificates::{self, KeyedCert};
use crate::managed::live_set::LiveSet;
use crate::managed::save_error::Loss;
use crate::managed::serve::Source;
use crate::managed::staging::Staging;
use crate::managed::{Host, Managed};
use crate::model::{Job, KeySpec, State, Trial};
use crate::renew::decide::ari;
use crate::renew::decide::due::{self, Decision};
use crate::store::{Looked, Watched, WorkGroup, WorkStore};
use crate::time::Timestamp;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A renewal under way, or waiting for its activation.
pub struct Renewal {
    pub job: Job,
    /// What it has got so far, one entry for each key of the MD.
    pub staged: Vec<KeyedCert>,
}

impl Renewal {
    /// The certificates there are, each with the name of its key.
    pub fn labeled(&self) -> impl Iterator<Item = (String, &CertInfo)> {
        self.staged.iter().filter_map(|(spec, cert)| Some((spec.label().to_string(), cert.as_ref()?)))
    }
}

/// What staging has of a managed domain.
#[derive(Default)]
pub struct Staged {
    pub renewal: Option<Arc<Renewal>>,
    pub advice: Vec<ari::Entry>,
}

/// One managed domain at one moment.
pub struct Domain<'a> {
    pub managed: &'a Managed,
    /// What has come into use since the start.
    pub live: Option<Arc<LiveSet>>,
    /// How many processes serve that.
    pub workers: usize,
    pub renewal: Option<Arc<Renewal>>,
    pub need: Arc<RenewalNeed>,
    /// What is known of the renewal may be old: the state of it could not be written.
    pub unsaved: Option<Loss>,
}

/// How a set of certificates comes, or came, into use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    pub mode: &'static str,
    /// Of the set's first certificate.
    pub serial: String,
    pub since: Option<Timestamp>,
    /// How many processes serve it.
    pub workers: usize,
}

impl<'a> Domain<'a> {
    fn new(managed: &'a Managed, staged: &Staged, need: Arc<RenewalNeed>) -> Self {
        let live = managed.live.load().clone();
        let workers = live.as_ref().map_or(0, |_| managed.live.serving());
        let (renewal, unsaved) = (staged.renewal.clone(), managed.unsaved.loss());
        Domain { managed, live, workers, renewal, need, unsaved }
    }

    /// The certificates that this process serves, one entry for each key of the MD.
    pub fn certs(&self) -> &[KeyedCert] {
        self.live.as_ref().map_or(&*self.managed.certs, |set| &*set.certs)
    }

    /// Those and the ones for kinds of keys that are not configured any more: served where nothing else is
    /// there.
    pub fn all_certs(&self) -> Cow<'_, [KeyedCert]> {
        let certs = self.live.as_ref().map_or(&self.managed.certs, |set| &set.certs);
        match certs.spare.as_slice() {
            [] => Cow::Borrowed(&certs.keyed),
            spare => Cow::Owned([certs.keyed.as_slice(), spare].concat()),
        }
    }

    /// The TLS hosts of the domain, and whose certificate each serves: `md`, `file`, or `self-signed`.
    pub fn hosts(&self) -> impl Iterator<Item = (&Host, &'static str)> {
        let is_live = self.live.is_some();
        self.managed.hosts.iter().map(move |host| {
            let source = if is_live && host.is_live { Source::Md } else { host.source };
            (host, source.label())
        })
    }

    /// The certificates in use, each with the name its key has on pages: static files go by their place in
    /// the list.
    pub fn labeled(&self) -> impl Iterator<Item = (String, &CertInfo)> {
        let is_static = self.managed.md.has_static_files();
        let certs = self.live.as_ref().map_or(&self.managed.certs, |set| &set.certs);
        certs.keyed.iter().chain(&certs.spare).enumerate().filter_map(move |(index, (spec, cert))| {
            let label = if is_static { index.to_string() } else { spec.label().to_string() };
            cert.as_ref().map(|cert| (label, cert))
        })
    }

    /// As of what is served now.
    pub fn state(&self) -> (State, Option<String>) {
        match &self.live {
            Some(set) => certificates::assess(&self.managed.md, &set.certs),
            None => (self.managed.md.state, self.managed.md.state_descr.clone()),
        }
    }

    /// What the word for how it stands follows from.
    pub fn facts(&self) -> Facts {
        let (managed, need) = (self.managed, &self.need);
        Facts {
            is_used: due::is_wanted(&managed.md, managed.in_use && !managed.lacks_tls),
            is_renewed: due::left_alone(&managed.md).is_none(),
            certs: need.certs,
            has_successor: self.ready().is_some(),
            is_due: matches!(need.decision, Decision::Now(_)) || self.next().is_some(),
            is_failing: self.is_failing() || self.unsaved.is_some(),
        }
    }

    /// How it stands, in the word that all pages use.
    pub fn standing(&self, now: Timestamp) -> Standing {
        self.facts().standing(now)
    }

    /// Whether the renewal has failed and was not successful since.
    pub fn is_failing(&self) -> bool {
        self.errors() > 0
    }

    /// How often it has failed in a row, also where only memory knows.
    pub fn errors(&self) -> u32 {
        let stored = || self.renewal.as_ref().map_or(0, |renewal| renewal.job.errors);
        self.unsaved.map_or_else(stored, |loss| loss.errors)
    }

    /// The finished renewal whose set is not in use yet.
    pub fn ready(&self) -> Option<&Renewal> {
        let is_waiting = |job: &Job| job.finished && !matches!(job.trial, Some(Trial::Refused(_)));
        let renewal = self.renewal.as_deref().filter(|renewal| is_waiting(&renewal.job))?;
        let serials = |certs: &[KeyedCert]| -> Vec<String> {
            certs.iter().filter_map(|(_, cert)| cert.as_ref().map(|cert| cert.fingerprint.clone())).collect()
        };
        (serials(&renewal.staged) != serials(self.certs())).then_some(renewal)
    }

    /// `None` where the set in use was there at the start and no other is complete.
    pub fn activation(&self) -> Option<Activation> {
        let serial = |certs: &[KeyedCert]| {
            certs
                .iter()
                .find_map(|(_, cert)| cert.as_ref().map(|cert| cert.serial.clone()))
                .unwrap_or_default()
        };
        if let Some(renewal) = self.ready() {
            let mode = if self.managed.live.is_attached() { "pending" } else { "restart" };
            let since = renewal.job.latest("finished");
            return Some(Activation { mode, serial: serial(&renewal.staged), since, workers: 0 });
        }
        let live = self.live.as_ref()?;
        Some(Activation {
            mode: "live",
            serial: serial(&live.certs),
            since: Some(live.since),
            workers: self.workers,
        })
    }

    /// `None` without a renewal, or where nothing is left to do.
    pub fn next(&self) -> Option<Next> {
        let job = &self.renewal.as_ref()?.job;
        let is_refused = matches!(job.trial, Some(Trial::Refused(_)));
        // Also between the looks of one try.
        if let Some(waiting) = job.waiting.as_ref().filter(|_| !job.finished) {
            return Some(Next { action: Action::WaitForCa, at: job.next_run.or(waiting.next) });
        }
        let action = match (job.finished && !is_refused, job.next_run) {
            (true, Some(_)) => Action::RetryCommand,
            (true, None) if self.ready().is_none() => return None,
            (true, None) if self.managed.live.is_attached() => Action::Activate,
            (true, None) => Action::ActivateOnRestart,
            (false, None) if job.is_told_in_vain() => return None,
            (false, Some(_)) if job.is_postponed() => Action::RetryCommand,
            (false, Some(_)) if job.held_back.is_some() => Action::Renew,
            (false, Some(_)) => Action::Retry,
            (false, None) => Action::Finish,
        };
        Some(Next { action, at: job.next_run })
    }
}

/// What a page that was made of a domain is made of, spans of time aside. As long as it stays, so does the
/// page.
pub(super) struct Seen {
    need: Arc<RenewalNeed>,
    live: Option<Arc<LiveSet>>,
    workers: usize,
    renewal: Option<Arc<Renewal>>,
    unsaved: Option<Loss>,
}

impl Seen {
    pub fn of(domain: &Domain<'_>) -> Self {
        Seen {
            need: domain.need.clone(),
            live: domain.live.clone(),
            workers: domain.workers,
            renewal: domain.renewal.clone(),
            unsaved: domain.unsaved,
        }
    }

    pub fn is_of(&self, domain: &Domain<'_>) -> bool {
        Arc::ptr_eq(&self.need, &domain.need)
            && self.unsaved == domain.unsaved
            && self.workers == domain.workers
            && same(&self.live, &domain.live)
            && same(&self.renewal, &domain.renewal)
    }
}

fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// What was printed of a domain the last time.
#[derive(Default)]
pub(super) struct Printed {
    pub entry: Option<json::Entry>,
    pub row: Option<html::Row>,
    pub lines: Option<text::Entry>,
}

/// What one process knows of all managed domains.
pub struct Snapshots {
    mds: Arc<[Managed]>,
    /// Indices of the MDs in the order of their names.
    sorted: Vec<usize>,
    by_name: HashMap<String, usize>,
    store: Option<WorkStore>,
    kept: Mutex<Kept>,
    /// Somebody has asked since [`keep_up`](Snapshots::keep_up) looked.
    is_asked: AtomicBool,
    /// How many bytes the list of all as JSON takes, about.
    pub(super) list_length: AtomicUsize,
}

struct Kept {
    looked: Looked,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    watched: Watched,
    staged: Staged,
    /// With the set that was live then.
    need: Option<(Option<Arc<LiveSet>>, Arc<RenewalNeed>)>,
    printed: Printed,
}

impl Slot {
    fn domain<'a>(&mut self, managed: &'a Managed, now: Timestamp) -> Domain<'a> {
        let advice = &self.staged.advice;
        let need = match self.need.take() {
            Some((live, need)) if same(&live, &managed.live.load()) => need.as_of(managed, advice, now),
            _ => Arc::new(RenewalNeed::new(managed, advice, now)),
        };
        let domain = Domain::new(managed, &self.staged, need);
        self.need = Some((domain.live.clone(), domain.need.clone()));
        domain
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
        Snapshots { mds, sorted, by_name, store, kept, is_asked, list_length }
    }

    /// All managed domains, by name.
    pub fn all(&self, now: Timestamp) -> Vec<Domain<'_>> {
        let mut kept = self.asked(now);
        let domain = |index: &usize| {
            let (managed, slot) = (self.mds.get(*index)?, kept.slots.get_mut(*index)?);
            Some(slot.domain(managed, now))
        };
        self.sorted.iter().filter_map(domain).collect()
    }

    /// One managed domain, by its place in the configuration.
    pub fn one(&self, index: usize, now: Timestamp) -> Option<Domain<'_>> {
        let managed = self.mds.get(index)?;
        Some(self.asked(now).slots.get_mut(index)?.domain(managed, now))
    }

    /// Hands over each managed domain, by name, with what was printed of it the last time.
    pub(super) fn each_printed(&self, now: Timestamp, mut show: impl FnMut(&Domain<'_>, &mut Printed)) {
        let mut kept = self.asked(now);
        for index in &self.sorted {
            if let (Some(managed), Some(slot)) = (self.mds.get(*index), kept.slots.get_mut(*index)) {
                show(&slot.domain(managed, now), &mut slot.printed);
            }
        }
    }

    /// What is known, for somebody who waits for it. It is read first only where nobody has kept it up.
    fn asked(&self, now: Timestamp) -> MutexGuard<'_, Kept> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.look(Looked::fresh(self.mds.len()) * 2, now)
    }

    /// Reads ahead what has changed, where somebody has asked since the last time: who asks often does not
    /// wait for that.
    pub fn keep_up(&self, now: Timestamp) {
        if self.is_asked.load(Ordering::Relaxed) {
            let fresh = Looked::fresh(self.mds.len());
            if self.look(fresh, now).looked.is_of(now) {
                self.is_asked.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Reads what has changed since the last look, if that is older than `fresh`.
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
                slot.need = None;
            }
        }
        kept
    }
}

/// What cannot be read shows as none; the renewing child reports it and begins it anew.
fn read(managed: &Managed, store: &WorkStore) -> Staged {
    let staging = Staging::new(store, &managed.md.name);
    let advice = staging.ari().unwrap_or_default();
    Staged { renewal: read_renewal(managed, staging).map(Arc::new), advice }
}

fn read_renewal(managed: &Managed, staging: Staging<'_>) -> Option<Renewal> {
    let job = staging.job().ok().flatten().filter(Job::is_begun)?;
    let certificate = |spec: &KeySpec| {
        let chain = staging.chain(spec).ok().flatten();
        chain.map(|chain| CertInfo::from_chain(&chain))
    };
    // It may have been ordered for other keys than are configured now.
    let ordered = staging.md().ok().flatten().filter(|_| job.finished);
    let keys = ordered.map_or_else(|| managed.md.keys(), |md| md.keys());
    let staged: Vec<KeyedCert> = keys.into_iter().map(|spec| (spec.clone(), certificate(&spec))).collect();
    // The C module leaves finished jobs that have only told of something.
    let has_any = job.valid_from.is_some() || job.errors > 0 || staged.iter().any(|(_, cert)| cert.is_some());
    let is_renewal = !job.finished || has_any || staging.has_chain();
    is_renewal.then_some(Renewal { job, staged })
}
