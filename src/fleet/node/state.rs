// SPDX-License-Identifier: Apache-2.0
//! What this node knows and has under way. Values only, in memory; each change leaves a whole behind.

use super::under_way::{Held, Posted, Store, random_id, random_lease};
use crate::fleet::codec::Codec;
use crate::fleet::decide::alone::Alone;
use crate::fleet::decide::asks;
use crate::fleet::decide::begin::Standing;
use crate::fleet::decide::lease::{self, Boot, Phase};
use crate::fleet::decide::presence::Presence;
use crate::fleet::decide::reconcile::Stored;
use crate::fleet::engine::{LeaseId, Revision};
use crate::fleet::key::Key;
use crate::fleet::record::{Account, Written};
use crate::fleet::view::View;
use crate::managed::peers::{Need, SharedAnswer, SharedSet};
use crate::model::Answer;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How often an MD with a set to bring in is told until its look comes.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long another process may hold the store before renewals here are looked at, and say so.
pub const ELSEWHERE: Duration = Duration::from_secs(60);
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
    /// The value of `meta`, as it was read last.
    pub meta: Option<Vec<u8>>,
    /// While what the fleet has is known and followed.
    pub codec: Option<Codec>,
    pub is_joined: bool,
    /// What the fleet has was read once by this process.
    pub was_joined: bool,
    pub view: View,
    pub presence: Presence,
    /// The first failure after this node has last written that it is there.
    pub failing: Option<Boot>,
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
    pub highest: Arc<BTreeMap<String, u64>>,
    /// The accounts of the fleet by their hash, also those that the engine has lost.
    pub accounts: BTreeMap<String, Account>,
    /// Of those that it has.
    pub thumbprints: HashMap<String, String>,
    /// The latest revision of which all is in the store.
    pub applied: Revision,
    /// By MD: the advice of its CA that the store has.
    pub advised: HashMap<String, Timestamp>,
    /// MDs whose set in the engine or in the store is another one, as far as advice was not looked at since.
    pub unadvised: BTreeSet<String>,
    /// Answers of this node in the store whose lease has ended.
    pub abandoned: Vec<SharedAnswer>,
    /// The other nodes as a process before this one knew them.
    pub former_nodes: Vec<String>,
    /// The instances of the processes before this one that may have written `node/ID` last.
    pub former: Vec<String>,
    /// When this process has written `node/ID`.
    pub told_at: Option<Revision>,
    /// By how many seconds this node's clock is ahead of the engine's.
    pub clock_off: Option<i64>,
    pub refused: BTreeMap<String, String>,
    pub problem: Option<String>,
    /// What people have to mend, by its kind, and when it was logged.
    pub warnings: BTreeMap<&'static str, (String, Boot)>,
    /// When the engine has refused this node something.
    pub denied: Option<Boot>,
    /// To the last request of an operator.
    pub answer: Option<Answer>,
    /// Renewals without the engine, and since when.
    pub solo: BTreeMap<String, Timestamp>,
    /// By MD: how many tries in a row had failed when this node first renewed by itself.
    pub solo_errors: HashMap<String, u32>,
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
            meta: None,
            codec: None,
            is_joined: false,
            was_joined: false,
            view: View::new(own),
            presence: Presence::default(),
            failing: None,
            stored: HashMap::new(),
            is_unsettled: true,
            pending: BTreeMap::new(),
            news: BTreeSet::new(),
            turns: HashMap::new(),
            presented: BTreeMap::new(),
            withdrawn_answers: BTreeSet::new(),
            posted: VecDeque::new(),
            withdrawn: BTreeMap::new(),
            highest: Arc::default(),
            accounts: BTreeMap::new(),
            thumbprints: HashMap::new(),
            applied: Revision::default(),
            advised: HashMap::new(),
            unadvised: BTreeSet::new(),
            abandoned: Vec::new(),
            former_nodes: Vec::new(),
            former: Vec::new(),
            told_at: None,
            clock_off: None,
            refused: BTreeMap::new(),
            problem: None,
            warnings: BTreeMap::new(),
            denied: None,
            answer: None,
            solo: BTreeMap::new(),
            solo_errors: HashMap::new(),
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
        lease::away_since(self.presence.written.unwrap_or(self.began), self.failing, boot)
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

    /// Whether the lease may have ended since this process has had it.
    pub fn has_lost_lease(&self, boot: Boot) -> bool {
        (self.kept.is_some() || self.was_joined) && self.phase(boot) == Phase::Over
    }

    /// The engine has another history than this node has followed: no revision of before proves anything.
    pub fn history_is_lost(&mut self) {
        self.lease_is_over();
        self.applied = Revision::default();
        self.forget_view();
    }

    /// What this node had under an earlier lease, as the listing shows: answers that are gone, locks that are
    /// kept and another's. Of what a renewal has written since the listing it shows nothing.
    pub fn forget_ended(&mut self) {
        let view = &self.view;
        let (presented, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.presented)
            .into_iter()
            .partition(|(key, (_, at))| *at > view.revision() || view.mark(key).is_some());
        self.presented = presented;
        self.abandoned.extend(gone.into_values().map(|(answer, _)| answer));
        let is_there = |name: &String, held: &Held| {
            let key = Key::Lock(name.clone());
            held.kept_until.is_none()
                || held.token > view.revision()
                || view.mark(&key).is_some() && view.may_be_lock_of(&key, held.token, &self.me)
        };
        self.turns.retain(|name, held| is_there(name, held));
    }

    /// Another process has this node's id.
    pub fn become_another(&mut self) {
        self.me = random_id();
        (self.former, self.told_at) = (Vec::new(), None);
        self.is_joined = false;
        self.lease_is_over();
    }

    fn forget_view(&mut self) {
        self.view = View::new(self.view.own().map(String::from).collect::<Vec<_>>());
        self.thumbprints.clear();
    }

    /// Leaves something to write to the thread that replicates, in the place of what it replaces.
    pub fn post(&mut self, posted: Posted) {
        self.posted.retain(|other| !other.is_replaced_by(&posted));
        self.posted.push_back(posted);
    }

    /// What could not be written is the next once more, unless there is something newer by now.
    pub fn post_again(&mut self, posted: Posted) {
        if !self.posted.iter().any(|newer| posted.is_replaced_by(newer)) {
            self.posted.push_front(posted);
        }
    }

    pub fn is_by_this(&self, by: Option<&Written>) -> bool {
        by.is_some_and(|by| by.node == self.me)
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
}

impl State {
    /// The other nodes that have the MD, or may have it, by id, as far as this node has ever known.
    pub fn known_nodes(&self, name: &str) -> Vec<String> {
        if !self.was_joined {
            return self.former_nodes.clone();
        }
        let others = self.view.nodes().filter(|node| node.id != self.me && node.may_have(name));
        others.map(|node| node.id.clone()).collect()
    }

    /// This node among those that have the MD, while each is by itself.
    pub fn alone(&self, name: &str, need: &Need) -> Alone {
        let (known, has_joined) = (self.known_nodes(name), !self.epoch.is_empty());
        let place = asks::place(known.iter().map(String::as_str), has_joined, &self.me, name);
        let before = self.solo_errors.get(name);
        Alone {
            place,
            nodes: if has_joined {
                u32::try_from(known.len()).unwrap_or(u32::MAX).saturating_add(1)
            } else {
                1
            },
            failures: before.map_or(0, |before| need.errors.saturating_sub(*before)),
            failed_at: need.failed_at,
        }
    }

    /// Those that were live last.
    pub fn other_nodes(&self) -> Vec<String> {
        match self.was_joined {
            true => self.view.nodes().map(|node| node.id.clone()).filter(|id| *id != self.me).collect(),
            false => self.former_nodes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::record::Record;
    use crate::fleet::view::fixture::{challenge, lock, view};

    /// An answer that a node has given, and its key.
    fn answer(revision: u64) -> (Key, SharedAnswer) {
        let put = challenge("n1", revision);
        match put.record {
            Record::Challenge(challenge) => (put.key, challenge.0),
            _ => panic!("no challenge"),
        }
    }

    #[test]
    fn what_a_renewal_has_written_since_a_listing_is_not_gone() {
        let (key, given) = answer(6);
        for (at, is_kept) in [(5, false), (6, true)] {
            let mut state = State::new(["a.test".to_string()], Boot::ZERO);
            state.view = view(vec![], 5);
            state.presented.insert(key.clone(), (given.clone(), Revision(at)));
            let held = Held { token: Revision(at), kept_until: Some(Timestamp::default()) };
            state.turns.insert("a.test".into(), held);
            state.forget_ended();
            assert_eq!(
                (state.presented.len(), state.abandoned.len()),
                (usize::from(is_kept), usize::from(!is_kept))
            );
            assert_eq!(state.turns.len(), usize::from(is_kept), "{at}");
        }
    }

    #[test]
    fn what_the_listing_has_goes_on() {
        let (key, given) = answer(3);
        let mut state = State::new(["a.test".to_string()], Boot::ZERO);
        state.me = "n1".into();
        state.view = view(vec![challenge("n1", 3), lock("n1", 4)], 5);
        state.presented.insert(key, (given, Revision(3)));
        let held = Held { token: Revision(4), kept_until: Some(Timestamp::default()) };
        state.turns.insert("a.test".into(), held);
        state.forget_ended();
        assert_eq!((state.presented.len(), state.turns.len(), state.abandoned.len()), (1, 1, 0));
    }
}
