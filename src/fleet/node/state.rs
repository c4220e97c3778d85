// SPDX-License-Identifier: Apache-2.0
//! What this node knows and has under way. Values only, in memory; each change leaves a whole behind.

use crate::crypto::{self, CertInfo, jws};
use crate::fleet::codec::Codec;
use crate::fleet::decide::begin::Standing;
use crate::fleet::decide::lease::{self, Boot, Phase};
use crate::fleet::decide::presence::Presence;
use crate::fleet::decide::rank::Rank;
use crate::fleet::decide::reconcile::{Sides, Stored, Verdict, reconcile};
use crate::fleet::engine::{Entry, LeaseId, Revision};
use crate::fleet::key::Key;
use crate::fleet::record::{Hold, Ocsp, Record, Set, Written};
use crate::fleet::view::{Mark, Put, View};
use crate::managed::peers::{SharedAnswer, SharedSet};
use crate::managed::withdrawn::Withdrawn;
use crate::model::Answer;
use crate::time::Timestamp;
use data_encoding::HEXLOWER;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// How often an MD with a set to bring in is told until its look comes.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long another process may hold the store before renewals here are looked at, and say so.
pub const ELSEWHERE: Duration = Duration::from_secs(60);
/// Values that were refused, as far as they are shown.
const REFUSED_MAX: usize = 100;

/// A renewal by this node under the lock of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub token: Revision,
    /// The renewal goes on in a later look. `None`: it is under way.
    pub kept_until: Option<Timestamp>,
}

/// What the thread that replicates is to write for renewals.
#[derive(Clone)]
pub enum Posted {
    Hold(Hold),
    RenewAt { name: String, at: Timestamp },
    Response(Ocsp),
}

/// Whether the store is this process's to replicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    Unknown,
    Ours,
    /// Another process has it since then: its description.
    Others {
        who: String,
        since: Boot,
    },
}

pub struct State {
    /// When this process began.
    pub began: Boot,
    pub store: Store,
    /// This node's id.
    pub me: String,
    /// Of this process.
    pub instance: String,
    pub lease: LeaseId,
    /// When the last answered grant or keepalive was sent.
    pub kept: Option<Boot>,
    pub tried: Option<Boot>,
    pub epoch: String,
    /// While what the fleet has is known and followed.
    pub codec: Option<Codec>,
    pub is_joined: bool,
    /// What the fleet has was read once by this process.
    pub was_joined: bool,
    pub view: View,
    pub presence: Presence,
    /// The sets that the store has, of the fleet and of this node alone.
    pub stored: HashMap<String, Stored>,
    /// Sets may have to be published, or refused ones may be of use.
    pub is_unsettled: bool,
    /// MDs with a set to bring in, and when the next look at each is asked for.
    pub pending: BTreeMap<String, Boot>,
    /// MDs that are to be looked at.
    pub news: BTreeSet<String>,
    pub turns: HashMap<String, Held>,
    /// Answers of this node, with the revision that has each.
    pub presented: BTreeMap<Key, (SharedAnswer, Revision)>,
    /// Those to take back.
    pub withdrawn_answers: BTreeSet<Key>,
    pub posted: VecDeque<Posted>,
    /// What other nodes, and this one, have withdrawn.
    pub withdrawn: BTreeMap<String, Value>,
    /// By MD: the highest generation that was seen.
    pub highest: BTreeMap<String, u64>,
    /// Of the accounts of the fleet, by their hash.
    pub thumbprints: HashMap<String, String>,
    /// The latest revision of which all is in the store.
    pub applied: Revision,
    /// By MD: the advice of its CA that the store has.
    pub advised: HashMap<String, Timestamp>,
    /// Answers of this node in the store whose lease has ended.
    pub abandoned: Vec<SharedAnswer>,
    /// The other nodes as a process before this one knew them.
    pub former_nodes: Vec<String>,
    /// The instance of the process before this one.
    pub former: Option<String>,
    /// When this process has written `node/ID`.
    pub told_at: Option<Revision>,
    /// By how many seconds this node's clock is ahead of the engine's.
    pub clock_off: Option<i64>,
    pub refused: BTreeMap<String, String>,
    pub problem: Option<String>,
    /// The last thing that people have to mend.
    pub warning: Option<String>,
    /// To the last request of an operator.
    pub answer: Option<Answer>,
    /// Renewals without the engine, and since when.
    pub solo: BTreeMap<String, Timestamp>,
    /// Sets in use that the store has no copy of.
    pub unshared: Vec<(String, SharedSet)>,
    pub requests_ok: u64,
    pub requests_failed: u64,
}

impl State {
    pub fn new(own: impl IntoIterator<Item = String>, began: Boot) -> Self {
        State {
            began,
            store: Store::Unknown,
            me: String::new(),
            instance: String::new(),
            lease: LeaseId(0),
            kept: None,
            tried: None,
            epoch: String::new(),
            codec: None,
            is_joined: false,
            was_joined: false,
            view: View::new(own),
            presence: Presence::default(),
            stored: HashMap::new(),
            is_unsettled: true,
            pending: BTreeMap::new(),
            news: BTreeSet::new(),
            turns: HashMap::new(),
            presented: BTreeMap::new(),
            withdrawn_answers: BTreeSet::new(),
            posted: VecDeque::new(),
            withdrawn: BTreeMap::new(),
            highest: BTreeMap::new(),
            thumbprints: HashMap::new(),
            applied: Revision::default(),
            advised: HashMap::new(),
            abandoned: Vec::new(),
            former_nodes: Vec::new(),
            former: None,
            told_at: None,
            clock_off: None,
            refused: BTreeMap::new(),
            problem: None,
            warning: None,
            answer: None,
            solo: BTreeMap::new(),
            unshared: Vec::new(),
            requests_ok: 0,
            requests_failed: 0,
        }
    }

    pub fn phase(&self, now: Boot) -> Phase {
        lease::phase(self.kept, now)
    }

    /// Since when the engine is away.
    pub fn away_since(&self, boot: Boot) -> Option<Boot> {
        lease::away_since(self.presence.written.unwrap_or(self.began), boot)
    }

    /// How the node stands to the engine.
    pub fn standing(&self, now: Timestamp, boot: Boot) -> Standing {
        if let Store::Others { who, .. } = &self.store {
            return Standing::Elsewhere(who.clone());
        }
        match self.away_since(boot) {
            Some(since) => Standing::Away { since: now.minus(boot.saturating_sub(since)) },
            None if self.is_joined => Standing::Joined,
            None => Standing::Syncing,
        }
    }

    /// Whether renewals may be looked at.
    pub fn is_ready(&self, boot: Boot) -> bool {
        let is_elsewhere = matches!(&self.store, Store::Others { since, .. } if boot >= *since + ELSEWHERE);
        self.was_joined || is_elsewhere || self.away_since(boot).is_some()
    }

    /// Whether anything is under way that needs the lease.
    pub fn is_at_work(&self) -> bool {
        !self.turns.is_empty() || !self.presented.is_empty()
    }

    /// Takes an entry that was read by itself.
    pub fn take_entry(&mut self, entry: &Entry, now: Timestamp) {
        let Some(codec) = self.codec.clone() else { return };
        let Some(key) = codec.key(&entry.key) else { return };
        match codec.open(entry) {
            Ok(opened) => {
                let (record, by) = (opened.record, opened.written);
                self.put(Put { key, record, by, mark: mark_of(entry) }, now);
            }
            Err(flaw) => {
                self.refuse(&key, flaw.to_string());
                self.view.put_flawed(key, mark_of(entry), &flaw.to_string());
            }
        }
    }

    /// Takes an entry, and notes what follows for the MD.
    pub fn put(&mut self, put: Put, now: Timestamp) {
        let key = put.key.clone();
        self.note(&put);
        if self.view.put(put)
            && let Key::Set(name) = &key
        {
            self.look_at_set(&name.clone(), now);
        }
    }

    /// What follows from an entry wherever it was read.
    pub fn note(&mut self, put: &Put) {
        match (&put.key, &put.record) {
            (Key::Account(hash), Record::Account(account)) => {
                if let Ok(print) = jws::thumbprint(&account.0.key) {
                    self.thumbprints.insert(hash.clone(), print);
                }
            }
            (Key::Withdrawn(_), _) => self.is_unsettled = true,
            (Key::Set(name), Record::Set(set)) if self.view.has_md(name) => {
                self.is_unsettled = true;
                let highest = self.highest.entry(name.clone()).or_default();
                *highest = set.generation.max(*highest);
            }
            _ => {}
        }
    }

    /// Others may hold this node's locks: whatever it had under its lease is over.
    pub fn lease_is_over(&mut self) {
        self.lease = random_lease();
        (self.kept, self.tried) = (None, None);
        self.turns.clear();
        self.withdrawn_answers.clear();
        let presented = std::mem::take(&mut self.presented).into_values();
        self.abandoned.extend(presented.map(|(answer, _)| answer));
        self.presence.is_told = false;
        self.presence.acknowledged = Revision::default();
    }

    /// Another process has this node's id.
    pub fn become_another(&mut self) {
        self.me = random_id();
        (self.former, self.told_at) = (None, None);
        self.is_joined = false;
        self.lease_is_over();
    }

    /// The engine has other data than before.
    pub fn forget_view(&mut self) {
        self.view = View::new(self.view.own().map(String::from).collect::<Vec<_>>());
        self.thumbprints.clear();
    }

    pub fn is_by_this(&self, by: Option<&Written>) -> bool {
        by.is_some_and(|by| by.node == self.me)
    }

    /// An entry is gone.
    pub fn gone(&mut self, key: &Key, at: Revision) {
        let was_of_other = match key {
            Key::Lock(name) => self.view.lock(name).is_some_and(|lock| lock.value.node != self.me),
            _ => false,
        };
        if self.view.gone(key, at) {
            self.after_gone(key, was_of_other);
        }
    }

    pub fn after_gone(&mut self, key: &Key, was_of_other: bool) {
        match key {
            Key::Set(_) | Key::Withdrawn(_) => self.is_unsettled = true,
            // The next one may begin.
            Key::Lock(name) if was_of_other && self.view.has_md(name) => drop(self.news.insert(name.clone())),
            Key::Account(hash) => drop(self.thumbprints.remove(hash)),
            _ => {}
        }
    }

    /// Which set the MD has from now on, and what is to be done for it.
    pub fn verdict(&self, name: &str, now: Timestamp) -> Verdict {
        let of = |list: Option<&Value>| list.map(|list| Withdrawn::of(list, now)).unwrap_or_default();
        let fleet = self.view.withdrawn(name).map(|item| &item.value.record);
        let sides = Sides {
            stored: self.stored.get(name),
            remote: self.view.set(name),
            changed: self.view.mark(&Key::Set(name.into())).map(|mark| mark.changed),
            highest: self.highest(name),
            withdrawn: &of(fleet).merged(&of(self.withdrawn.get(name))),
        };
        reconcile(&sides, now)
    }

    /// Whether the set of the fleet has to be brought in.
    pub fn look_at_set(&mut self, name: &str, now: Timestamp) {
        let verdict = self.verdict(name, now);
        if verdict == Verdict::Bring {
            self.pending.entry(name.into()).or_insert(Boot::ZERO);
            return;
        }
        self.pending.remove(name);
        match verdict {
            Verdict::Nothing => self.view.forget_keys(name),
            Verdict::Refuse(reason) => self.refuse(&Key::Set(name.into()), reason),
            Verdict::Bring | Verdict::Publish(_) => {}
        }
    }

    /// Of the set that the engine has.
    pub fn rank_in_force(&self, name: &str) -> Option<Rank> {
        let set = &self.view.set(name)?.value;
        Rank::new(set.generation, set.certs.iter().map(|(_, cert)| cert))
    }

    /// The MDs to look at. One with a set to bring in is told until that was done.
    pub fn take_news(&mut self, boot: Boot) -> Vec<String> {
        let mut news = std::mem::take(&mut self.news);
        for (name, next) in &mut self.pending {
            if *next <= boot {
                *next = boot + TOLD_EVERY;
                news.insert(name.clone());
            }
        }
        news.into_iter().collect()
    }

    /// The next look at an MD with a set to bring in is asked for later.
    pub fn defer(&mut self, name: &str, boot: Boot) {
        if let Some(next) = self.pending.get_mut(name) {
            *next = boot + TOLD_EVERY;
        }
    }

    pub fn refuse(&mut self, key: &Key, reason: String) {
        let what = format!("{key:?}");
        if self.refused.len() < REFUSED_MAX
            && self.refused.insert(what.clone(), reason.clone()).as_ref() != Some(&reason)
        {
            crate::log!(Warn, "fleet: the engine's value of {what} is not used: {reason}");
        }
    }
}

impl State {
    /// The other nodes that have the MD, by id, as far as this node has ever known.
    pub fn known_nodes(&self, name: &str) -> Vec<String> {
        if !self.was_joined {
            return self.former_nodes.clone();
        }
        let others = self.view.nodes().filter(|node| node.id != self.me && node.md(name).is_some());
        others.map(|node| node.id.clone()).collect()
    }

    /// Those that were live last.
    pub fn other_nodes(&self) -> Vec<String> {
        match self.was_joined {
            true => self.view.nodes().map(|node| node.id.clone()).filter(|id| *id != self.me).collect(),
            false => self.former_nodes.clone(),
        }
    }

    /// The set in force, with its keys.
    pub fn full_set(&self, name: &str) -> Option<Set> {
        let known = &self.view.set(name)?.value;
        let set = known.full.clone()?;
        Some(Set { set, generation: known.generation, published: known.published })
    }

    /// The store has this set from now on.
    pub fn has_set(&mut self, name: &str, set: &Set, now: Timestamp) {
        if let Some(stored) = Stored::of(set) {
            self.stored.insert(name.into(), stored);
            self.is_unsettled = true;
        }
        self.look_at_set(name, now);
    }

    /// The highest generation of an MD that was seen.
    pub fn highest(&self, name: &str) -> u64 {
        self.highest.get(name).copied().unwrap_or_default()
    }

    /// Whether an operator has withdrawn a certificate of the set, here or elsewhere.
    pub fn is_withdrawn(&self, set: &Set, name: &str, now: Timestamp) -> bool {
        let certs: Vec<CertInfo> =
            set.set.certs.iter().map(|cert| CertInfo::from_chain(&cert.chain)).collect();
        let fleet = self.view.withdrawn(name).map(|item| &item.value.record);
        let lists = fleet.into_iter().chain(self.withdrawn.get(name));
        lists.into_iter().any(|list| Withdrawn::of(list, now).has_any_of(certs.iter()))
    }
}

/// 32 hexadecimal digits. Where there is no randomness, it is empty, and the engine's keys refuse it.
pub fn random_id() -> String {
    crypto::random::<16>().map(|id| HEXLOWER.encode(&id)).unwrap_or_default()
}

pub fn random_lease() -> LeaseId {
    // Positive, for engines with signed numbers, and never none.
    let bytes = crypto::random::<8>().unwrap_or([1; 8]);
    LeaseId((u64::from_be_bytes(bytes) >> 1).max(1))
}

/// When an entry was written, as the engine tells.
pub fn mark_of(entry: &Entry) -> Mark {
    Mark { created: entry.created, changed: entry.changed, lease: entry.lease }
}
