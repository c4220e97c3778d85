// SPDX-License-Identifier: Apache-2.0
//! A fleet in memory: what its nodes share, and when a node loses what it has. Challenge answers are put into
//! the stores of all nodes, as their replicators do it.

use crate::clock::VirtualClock;
use mod_md::challenge::answers::Folder;
use mod_md::crypto::PrivateKey;
use mod_md::managed::Managed;
use mod_md::managed::bundle::{self, Bundle};
use mod_md::managed::peers::{
    Lost, Need, NotNow, Peers, Registering, SharedAccount, SharedAnswer, SharedJob, SharedSet, Turn,
};
use mod_md::managed::staging::Staging;
use mod_md::model::{Job, Md, RateLimit};
use mod_md::store::{WorkGroup, WorkStore};
use mod_md::time::{Clock, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// When a node looks again whether another one still renews.
const AGAIN: Duration = Duration::from_secs(5);

pub struct Fleet {
    clock: Arc<VirtualClock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<NodeState>,
    is_unready: bool,
    /// The engine is away: every renewal is solo.
    is_away: bool,
    /// By MD: who renews, and since which token.
    locks: HashMap<String, (usize, u64)>,
    tokens: u64,
    jobs: HashMap<String, SharedJob>,
    sets: HashMap<String, (SharedSet, u64)>,
    accounts: HashMap<(String, Option<String>), SharedAccount>,
    answers: Vec<(usize, SharedAnswer)>,
    holds: Vec<(RateLimit, Option<String>)>,
    renew_at: HashMap<String, Timestamp>,
    /// The number of the call that finds the lock lost, of those that count.
    lose_at: Option<usize>,
    counted: usize,
    /// How often a request to the CA was allowed.
    granted: usize,
    needs: Vec<Need>,
    /// Names of files with responses, and the responses.
    responses: Vec<(String, Vec<u8>)>,
}

struct NodeState {
    store: WorkStore,
    mds: HashMap<String, Md>,
    /// The generations of the sets it has.
    applied: HashMap<String, u64>,
    news: Vec<String>,
    is_live: bool,
    on_begin: Option<Box<dyn FnOnce() + Send>>,
}

impl Fleet {
    pub fn new(clock: Arc<VirtualClock>) -> Arc<Fleet> {
        Arc::new(Fleet { clock, inner: Mutex::default() })
    }

    /// One more node, which has these MDs.
    pub fn join(&self, store: WorkStore, mds: &[Managed]) {
        let mds = mds.iter().map(|managed| (managed.md.name.clone(), managed.md.clone())).collect();
        let (applied, news) = Default::default();
        let node = NodeState { store, mds, applied, news, is_live: true, on_begin: None };
        self.lock().nodes.push(node);
    }

    /// What the node of this index calls.
    pub fn node(self: &Arc<Self>, index: usize) -> Arc<Node> {
        Arc::new(Node { fleet: self.clone(), index })
    }

    /// The MDs that something is new about.
    pub fn take_news(&self, node: usize) -> Vec<String> {
        std::mem::take(&mut self.lock().nodes[node].news)
    }

    /// The engine has lost what it knew of this renewal.
    pub fn forget_job(&self, name: &str) {
        self.lock().jobs.remove(name);
    }

    /// Happens once, when this node begins a renewal.
    pub fn on_begin(&self, node: usize, act: impl FnOnce() + Send + 'static) {
        self.lock().nodes[node].on_begin = Some(Box::new(act));
    }

    pub fn is_unready(&self, is_unready: bool) {
        self.lock().is_unready = is_unready;
    }

    pub fn is_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    /// The lock is lost at the call of this number from now on, counted from 1, that asks whether it is held.
    pub fn lose_at(&self, call: usize) {
        let mut inner = self.lock();
        inner.lose_at = Some(inner.counted + call);
    }

    /// How often a node has asked whether it may still ask the CA, save or publish.
    pub fn counted(&self) -> usize {
        self.lock().counted
    }

    /// How often a node was told that it may ask the CA.
    pub fn granted(&self) -> usize {
        self.lock().granted
    }

    /// The node has died, and its lease has ended.
    pub fn expire(&self, node: usize) {
        let mut inner = self.lock();
        inner.nodes[node].is_live = false;
        let gone: Vec<String> =
            inner.locks.iter().filter(|(_, lock)| lock.0 == node).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| inner.unlock(name, node));
        // Files with answers stay while an order is under way: the CA may come for them.
        let under_way: HashSet<String> =
            inner.jobs.iter().filter(|(_, job)| job.order.is_some()).map(|(name, _)| name.clone()).collect();
        let owners: HashSet<String> = inner
            .answers
            .iter()
            .filter(|(by, answer)| *by == node && !under_way.contains(&answer.owner))
            .map(|(_, answer)| answer.owner.clone())
            .collect();
        owners.iter().for_each(|owner| inner.withdraw(node, owner));
        inner.answers.retain(|(by, _)| *by != node);
    }

    pub fn job(&self, name: &str) -> Option<SharedJob> {
        self.lock().jobs.get(name).cloned()
    }

    pub fn set(&self, name: &str) -> Option<SharedSet> {
        self.lock().sets.get(name).map(|(set, _)| set.clone())
    }

    pub fn account_count(&self) -> usize {
        self.lock().accounts.len()
    }

    /// The answers that nodes give now.
    pub fn answers(&self) -> Vec<SharedAnswer> {
        self.lock().answers.iter().map(|(_, answer)| answer.clone()).collect()
    }

    pub fn renew_at(&self, name: &str) -> Option<Timestamp> {
        self.lock().renew_at.get(name).copied()
    }

    /// The OCSP responses that were shared, with the names of their files.
    pub fn responses(&self) -> Vec<(String, Vec<u8>)> {
        self.lock().responses.clone()
    }

    /// What renewals that began were about.
    pub fn needs(&self) -> Vec<Need> {
        self.lock().needs.clone()
    }

    /// A node of elsewhere publishes a set.
    pub fn publish(&self, name: &str, set: SharedSet) {
        let mut inner = self.lock();
        inner.publish(name, set);
        inner.tell(name, usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn stage(store: &WorkStore, md: &Md, set: &SharedSet) {
    let staging = Staging::new(store, &md.name);
    staging.reset().unwrap();
    let mut ordered = Md { domains: set.names.clone(), ..md.clone() };
    ordered.ca.url = Some(set.ca.clone());
    ordered.key_specs = set.certs.iter().map(|cert| cert.spec.clone()).collect();
    let mut bundles = Vec::new();
    for cert in &set.certs {
        staging.save_key(&cert.spec, &cert.key).unwrap();
        staging.save_chain(&cert.spec, &cert.chain).unwrap();
        bundles.push(Bundle::from_sent(cert.spec.clone(), cert.key.clone(), cert.chain.clone()).unwrap().0);
    }
    staging.save_md(&ordered).unwrap();
    let auth = bundle::vouch(store, &md.name, &ordered, &bundles, false).unwrap();
    let valid_from = bundles.iter().map(|bundle| bundle.info.not_before).max();
    let (finished, notified, notified_renewed) = (true, true, true);
    let job =
        Job { finished, notified, notified_renewed, valid_from, auth: Some(auth), ..Job::new(&md.name) };
    staging.save_job(&job).unwrap();
}

impl Inner {
    fn unlock(&mut self, name: &str, by: usize) {
        self.locks.remove(name);
        self.tell(name, by);
    }

    fn tell(&mut self, name: &str, by: usize) {
        let others = self.nodes.iter_mut().enumerate().filter(|(index, _)| *index != by);
        others.for_each(|(_, node)| node.news.push(name.into()));
    }

    fn publish(&mut self, name: &str, set: SharedSet) {
        let generation = self.sets.get(name).map_or(0, |(_, generation)| *generation) + 1;
        self.sets.insert(name.into(), (set, generation));
        self.jobs.remove(name);
    }

    /// Whether a node does not have the set in force.
    fn is_pending(&self, name: &str, node: usize) -> bool {
        self.generation(name) > self.nodes[node].applied.get(name).copied().unwrap_or_default()
    }

    fn generation(&self, name: &str) -> u64 {
        self.sets.get(name).map_or(0, |(_, generation)| *generation)
    }

    fn withdraw(&mut self, node: usize, owner: &str) {
        let (gone, left) = std::mem::take(&mut self.answers)
            .into_iter()
            .partition(|(by, answer): &(usize, SharedAnswer)| *by == node && answer.owner == owner);
        self.answers = left;
        for (_, answer) in gone {
            for (_, other) in self.nodes.iter().enumerate().filter(|(index, _)| *index != node) {
                other.folder(&answer).remove(owner).unwrap();
            }
        }
    }

    /// Whether the lock is held, unless the test has it lost now.
    fn check(&mut self, name: &str, token: u64) -> Result<(), Lost> {
        self.counted += 1;
        if self.lose_at == Some(self.counted) {
            let by = self.locks.get(name).map_or(usize::MAX, |lock| lock.0);
            self.unlock(name, by);
        }
        match self.holds(name, token) {
            true => Ok(()),
            false => Err(Lost("its lease has ended".into())),
        }
    }

    fn holds(&self, name: &str, token: u64) -> bool {
        self.locks.get(name).is_some_and(|lock| lock.1 == token)
    }
}

impl NodeState {
    fn folder<'a>(&'a self, answer: &'a SharedAnswer) -> Folder<'a, mod_md::store::Work> {
        Folder { store: &self.store, group: WorkGroup::Challenges, name: &answer.dns_name }
    }
}

pub struct Node {
    fleet: Arc<Fleet>,
    index: usize,
}

struct OneTurn {
    fleet: Arc<Fleet>,
    name: String,
    node: usize,
    token: u64,
    generation: u64,
    job: Option<SharedJob>,
    is_solo: bool,
    is_kept: bool,
}

impl Turn for OneTurn {
    fn is_solo(&self) -> bool {
        self.is_solo
    }

    fn job(&self) -> Option<&SharedJob> {
        self.job.as_ref()
    }

    fn may_ask(&self) -> Result<(), Lost> {
        if self.is_solo {
            return Ok(());
        }
        let mut inner = self.fleet.lock();
        inner.check(&self.name, self.token)?;
        inner.granted += 1;
        Ok(())
    }

    fn check(&self) -> Result<(), Lost> {
        if self.is_solo || self.fleet.lock().holds(&self.name, self.token) {
            return Ok(());
        }
        Err(Lost("its lease has ended".into()))
    }

    fn save(&self, job: &SharedJob) -> Result<(), Lost> {
        if !self.is_solo {
            let mut inner = self.fleet.lock();
            inner.check(&self.name, self.token)?;
            inner.jobs.insert(self.name.clone(), job.clone());
        }
        Ok(())
    }

    fn publish(&self, set: &SharedSet) -> Result<(), Lost> {
        if self.is_solo {
            return Ok(());
        }
        let mut inner = self.fleet.lock();
        inner.check(&self.name, self.token)?;
        if inner.generation(&self.name) != self.generation {
            return Err(Lost("another set is in force".into()));
        }
        inner.publish(&self.name, set.clone());
        let generation = inner.generation(&self.name);
        inner.nodes[self.node].applied.insert(self.name.clone(), generation);
        Ok(())
    }

    fn keep(mut self: Box<Self>) {
        self.is_kept = true;
    }
}

impl Drop for OneTurn {
    /// A process that has died gives nothing back.
    fn drop(&mut self) {
        if self.is_kept || self.is_solo || std::thread::panicking() {
            return;
        }
        let mut inner = self.fleet.lock();
        if inner.locks.get(&self.name).is_some_and(|lock| lock.1 == self.token) {
            inner.unlock(&self.name, self.node);
        }
    }
}

struct OneRegistering {
    fleet: Arc<Fleet>,
    key: (String, Option<String>),
}

impl Registering for OneRegistering {
    fn account(&self) -> Option<SharedAccount> {
        self.fleet.lock().accounts.get(&self.key).cloned()
    }

    fn may_ask(&self) -> Result<(), Lost> {
        let mut inner = self.fleet.lock();
        inner.counted += 1;
        if inner.lose_at == Some(inner.counted) {
            return Err(Lost("its lease has ended".into()));
        }
        inner.granted += 1;
        Ok(())
    }

    fn publish(&self, account: &SharedAccount) -> Result<(), Lost> {
        self.fleet.lock().accounts.insert(self.key.clone(), account.clone());
        Ok(())
    }
}

impl Peers for Node {
    fn is_ready(&self) -> bool {
        !self.fleet.lock().is_unready
    }

    fn names_of_others(&self, name: &str) -> Vec<String> {
        let inner = self.fleet.lock();
        let others =
            inner.nodes.iter().enumerate().filter(|(index, node)| *index != self.index && node.is_live);
        let names =
            others.flat_map(|(_, node)| node.mds.get(name).map(|md| &md.domains).into_iter().flatten());
        let own = &inner.nodes[self.index].mds[name].domains;
        names.filter(|name| !own.contains(name)).cloned().collect()
    }

    /// The first that lives.
    fn asks(&self, _: &str) -> bool {
        self.fleet.lock().nodes.iter().position(|node| node.is_live) == Some(self.index)
    }

    fn begin(&self, name: &str, need: &Need) -> Result<Box<dyn Turn>, NotNow> {
        let act = self.fleet.lock().nodes[self.index].on_begin.take();
        act.into_iter().for_each(|act| act());
        let (now, mut inner) = (self.fleet.clock.now(), self.fleet.lock());
        let is_solo = inner.is_away;
        if !is_solo {
            if inner.is_pending(name, self.index) {
                return Err(NotNow { until: now, reason: "a set has come".into(), node: None });
            }
            if let Some((node, _)) = inner.locks.get(name).filter(|lock| lock.0 != self.index) {
                let (reason, node) = (format!("node {node} renews"), Some(node.to_string()));
                return Err(NotNow { until: now.plus(AGAIN), reason, node });
            }
            let next_try = inner.jobs.get(name).and_then(|job| job.next_try).filter(|at| *at > now);
            if let Some(until) = next_try.filter(|_| !need.is_asked) {
                let is_own = inner.locks.contains_key(name);
                if !is_own {
                    return Err(NotNow { until, reason: "the last try has failed".into(), node: None });
                }
            }
            inner.tokens += 1;
            let token = inner.tokens;
            inner.locks.insert(name.into(), (self.index, token));
        }
        inner.needs.push(*need);
        Ok(Box::new(OneTurn {
            fleet: self.fleet.clone(),
            name: name.into(),
            node: self.index,
            token: inner.tokens,
            generation: inner.generation(name),
            job: inner.jobs.get(name).cloned(),
            is_solo,
            is_kept: false,
        }))
    }

    fn registering(&self, ca: &str, eab_kid: Option<&str>) -> Result<Box<dyn Registering>, Lost> {
        let key = (ca.into(), eab_kid.map(String::from));
        Ok(Box::new(OneRegistering { fleet: self.fleet.clone(), key }))
    }

    fn account_key(&self, ca: &str, eab_kid: Option<&str>) -> Option<PrivateKey> {
        let key = (ca.to_string(), eab_kid.map(String::from));
        self.fleet.lock().accounts.get(&key).map(|account| account.key.clone())
    }

    fn present(&self, answer: &SharedAnswer) -> Result<(), Lost> {
        let mut inner = self.fleet.lock();
        inner.answers.retain(|(_, known)| known != answer);
        inner.answers.push((self.index, answer.clone()));
        let others =
            inner.nodes.iter().enumerate().filter(|(index, node)| *index != self.index && node.is_live);
        for (_, node) in others {
            node.folder(answer).put_http(&answer.owner, &answer.answer).unwrap();
        }
        Ok(())
    }

    fn await_presented(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn withdraw_answers(&self, name: &str) {
        self.fleet.lock().withdraw(self.index, name);
    }

    fn hold(&self, limit: &RateLimit, name: Option<&str>) {
        self.fleet.lock().holds.push((limit.clone(), name.map(String::from)));
    }

    fn holds(&self, now: Timestamp) -> Vec<(RateLimit, Option<String>)> {
        self.fleet.lock().holds.iter().filter(|(limit, _)| limit.until > now).cloned().collect()
    }

    fn share_renew_at(&self, name: &str, at: Timestamp) {
        self.fleet.lock().renew_at.insert(name.into(), at);
    }

    fn share_response(&self, _: &str, file: &str, response: &[u8]) {
        self.fleet.lock().responses.push((file.into(), response.to_vec()));
    }

    fn bring_in(&self, name: &str) {
        let mut inner = self.fleet.lock();
        if !inner.is_pending(name, self.index) {
            return;
        }
        let (set, generation) = inner.sets[name].clone();
        let node = &mut inner.nodes[self.index];
        stage(&node.store, &node.mds[name], &set);
        node.applied.insert(name.into(), generation);
    }

    fn take_news(&self) -> Vec<String> {
        self.fleet.take_news(self.index)
    }
}
