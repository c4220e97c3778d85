// SPDX-License-Identifier: Apache-2.0
//! Nodes that renew, roll back, look and publish in any order, on an engine that loses data: in the end all
//! have the same set.

use super::rank::{Rank, next_generation};
use super::reconcile::{On, Sides, Verdict, reconcile};
use super::recorded::Recorded;
use super::withdrawing::withdrawing;
use crate::crypto::CertInfo;
use crate::fleet::engine::Revision;
use crate::fleet::record;
use crate::fleet::view::fixture::{NOW, by, cert, ec, mark, remote};
use crate::fleet::view::{Item, KnownSet};
use crate::managed::fixture::md;
use crate::managed::serve::Certs;
use crate::managed::withdrawn::{Entry, Why, Withdrawn};
use crate::model::{KeySpec, Md};
use proptest::prelude::*;

const NODES: usize = 4;

#[derive(Clone, Default)]
struct Engine {
    revision: u64,
    set: Option<Item<KnownSet>>,
    withdrawn: Option<Item<record::Withdrawn>>,
    publications: u32,
}

impl Engine {
    fn holds(&self, on: On) -> bool {
        match on {
            On::Absent => self.set.is_none(),
            On::ChangedAt(at) => self.set.as_ref().is_some_and(|set| set.mark.changed == at),
        }
    }

    fn publish(&mut self, generation: u64, certs: Vec<(KeySpec, CertInfo)>, on: On) -> bool {
        let holds = self.holds(on);
        if holds {
            self.revision += 1;
            self.publications += 1;
            self.set = Some(remote(generation, certs, self.revision));
        }
        holds
    }
}

struct Node {
    md: Md,
    certs: Certs,
    recorded: Option<Recorded>,
    highest: u64,
    withdrawn: Withdrawn,
    earlier: Vec<CertInfo>,
    /// Decided on what the engine had, and not yet carried out.
    verdict: Option<(Verdict, Option<Item<KnownSet>>)>,
}

impl Node {
    fn new(keys: &[KeySpec]) -> Self {
        Node {
            md: Md { key_specs: keys.to_vec(), ..md(&["a.test"]) },
            certs: Certs::default(),
            recorded: None,
            highest: 0,
            withdrawn: Withdrawn::default(),
            earlier: Vec::new(),
            verdict: None,
        }
    }

    fn current(&self) -> Vec<(KeySpec, CertInfo)> {
        self.certs.keyed.iter().filter_map(|(spec, cert)| Some((spec.clone(), cert.clone()?))).collect()
    }

    fn use_certs(&mut self, certs: Vec<(KeySpec, CertInfo)>) {
        self.earlier.extend(self.certs.all().cloned());
        self.certs = Certs::arrange(&self.md.keys(), certs);
    }

    fn record(&mut self, rank: Rank) {
        self.highest = self.highest.max(rank.generation);
        let certs = self.certs.all().map(|cert| cert.fingerprint.clone()).collect();
        self.recorded = Some(Recorded { rank, certs });
    }

    /// What is withdrawn goes both ways, then sets are compared.
    fn decide(&mut self, engine: &mut Engine) {
        let found = withdrawing(&self.withdrawn, None, engine.withdrawn.as_ref(), None, NOW);
        self.withdrawn = found.all;
        if found.publish.is_some() {
            engine.revision += 1;
            let value = record::Withdrawn { record: self.withdrawn.to_json() };
            engine.withdrawn = Some(Item { value, by: by("n"), mark: mark(engine.revision) });
        }
        let seen = engine.set.as_ref().map_or(0, |set| set.value.generation);
        let sides = Sides {
            md: &self.md,
            certs: &self.certs,
            recorded: self.recorded.as_ref(),
            remote: engine.set.as_ref(),
            unread: None,
            highest: self.highest,
            withdrawn: &self.withdrawn,
        };
        self.verdict = Some((reconcile(&sides, NOW), engine.set.clone()));
        self.highest = self.highest.max(seen);
    }

    /// Whether anything came of it.
    fn carry_out(&mut self, engine: &mut Engine) -> bool {
        match self.verdict.take() {
            None | Some((Verdict::Nothing | Verdict::Refuse(_), _)) => false,
            Some((Verdict::Record(recorded), _)) => {
                self.recorded = Some(recorded);
                true
            }
            Some((Verdict::Apply { usable, rank }, set)) => {
                let set = set.map(|set| set.value.certs).unwrap_or_default();
                let certs =
                    usable.certs.iter().filter_map(|(at, key)| Some((key.clone(), set.get(*at)?.1.clone())));
                self.use_certs(certs.collect());
                self.record(rank);
                true
            }
            Some((Verdict::Publish { rank, on }, _)) => {
                // What came into use since it was decided is looked at anew.
                let is_same = Rank::new(rank.generation, self.certs.all()).as_ref() == Some(&rank);
                let is_published = is_same && engine.publish(rank.generation, self.current(), on);
                if is_published {
                    self.record(rank);
                }
                is_published
            }
        }
    }

    fn renew(&mut self, new: CertInfo, engine: &mut Engine) {
        let on = engine.set.as_ref().map_or(On::Absent, |set| On::ChangedAt(set.mark.changed));
        let generation = next_generation(engine.set.as_ref().map(|set| set.value.generation), self.highest);
        let certs: Vec<_> = self.md.keys().into_iter().map(|key| (key, new.clone())).collect();
        if engine.publish(generation, certs.clone(), on) {
            self.use_certs(certs);
            self.record(Rank::new(generation, [&new]).unwrap());
            self.verdict = None;
        }
    }

    fn solo(&mut self, new: CertInfo) {
        self.use_certs(self.md.keys().into_iter().map(|key| (key, new.clone())).collect());
        self.verdict = None;
    }

    fn roll_back(&mut self) {
        let is_good = |cert: &CertInfo| !self.withdrawn.has_any_of([cert].into_iter());
        let is_other = |cert: &CertInfo| self.certs.all().all(|own| own.fingerprint != cert.fingerprint);
        let target = self.earlier.iter().rev().find(|cert| is_good(cert) && is_other(cert)).cloned();
        if let Some(target) = target {
            for cert in self.certs.all() {
                self.withdrawn.add(Entry {
                    why: Why::Replaced,
                    issuer: cert.issuer_name.clone(),
                    serial: cert.serial.clone(),
                    key: None,
                    since: NOW,
                    until: cert.not_after,
                });
            }
            self.solo(target);
        }
    }

    fn has(&self, set: &KnownSet) -> bool {
        let own: Vec<_> = self.certs.all().map(|cert| &cert.fingerprint).collect();
        own == set.certs.iter().map(|(_, cert)| &cert.fingerprint).collect::<Vec<_>>()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Decide(usize),
    CarryOut(usize),
    Renew(usize),
    Solo(usize),
    RollBack(usize),
    /// The engine loses everything.
    Wipe,
    /// The engine is as it was when it was remembered.
    Remember,
    FailOver,
}

fn events() -> impl Strategy<Value = Vec<(Event, u32)>> {
    let node = || 0..NODES;
    let event = prop_oneof![
        6 => node().prop_map(Event::Decide),
        6 => node().prop_map(Event::CarryOut),
        2 => node().prop_map(Event::Renew),
        2 => node().prop_map(Event::Solo),
        1 => node().prop_map(Event::RollBack),
        1 => Just(Event::Wipe),
        1 => Just(Event::Remember),
        1 => Just(Event::FailOver),
    ];
    prop::collection::vec((event, 0..20_u32), 1..120)
}

/// Every node looks until nothing comes of it.
fn settle(nodes: &mut [Node], engine: &mut Engine) -> bool {
    for _ in 0..50 {
        let mut is_changed = false;
        for node in nodes.iter_mut() {
            node.decide(engine);
            is_changed |= node.carry_out(engine);
        }
        if !is_changed {
            return true;
        }
    }
    false
}

fn play(events: &[(Event, u32)]) -> (Vec<Node>, Engine) {
    let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new(&[ec()])).collect();
    let (mut engine, mut remembered) = (Engine::default(), Engine::default());
    for (serial, (event, age)) in events.iter().enumerate() {
        let new = || cert(&format!("{serial:X}"), *age);
        match event {
            Event::Decide(node) => nodes[*node].decide(&mut engine),
            Event::CarryOut(node) => drop(nodes[*node].carry_out(&mut engine)),
            Event::Renew(node) => nodes[*node].renew(new(), &mut engine),
            Event::Solo(node) => nodes[*node].solo(new()),
            Event::RollBack(node) => nodes[*node].roll_back(),
            Event::Wipe => engine = Engine { revision: engine.revision + 1, ..Engine::default() },
            Event::Remember => remembered = engine.clone(),
            Event::FailOver => engine = Engine { revision: engine.revision + 1, ..remembered.clone() },
        }
    }
    (nodes, engine)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn all_nodes_end_with_the_same_set(events in events()) {
        let (mut nodes, mut engine) = play(&events);
        prop_assert!(settle(&mut nodes, &mut engine), "they go on for ever");
        for late in 0..NODES {
            // A node that has seen more than is left, or whose set is withdrawn, renews in its time.
            let set = engine.set.clone();
            let is_good = set.as_ref().is_some_and(|set| {
                nodes[late].has(&set.value) && !nodes[late].withdrawn.has_any_of(nodes[late].certs.all())
            });
            if !is_good {
                let is_explained = set.as_ref().is_none_or(|set| {
                    let is_withdrawn = |cert: &CertInfo| nodes[late].withdrawn.has_any_of([cert].into_iter());
                    set.value.generation < nodes[late].highest || set.value.certs.iter().any(|(_, cert)| is_withdrawn(cert))
                });
                prop_assert!(is_explained, "node {late}");
                nodes[late].renew(cert(&format!("F{late}"), 0), &mut engine);
                prop_assert!(settle(&mut nodes, &mut engine));
            }
        }
        let set = engine.set.clone().unwrap();
        for node in &nodes {
            prop_assert!(node.has(&set.value));
            prop_assert!(!node.withdrawn.has_any_of(node.certs.all()));
            prop_assert_eq!(node.recorded.as_ref().unwrap().rank.generation, set.value.generation);
        }
    }

    #[test]
    fn no_node_ever_takes_a_set_of_a_lower_generation_or_one_that_it_knows_to_be_withdrawn(events in events()) {
        for end in 1..=events.len() {
            if !matches!(events[end - 1].0, Event::CarryOut(_)) {
                continue;
            }
            let Event::CarryOut(at) = events[end - 1].0 else { continue };
            let (mut before, mut engine) = play(&events[..end - 1]);
            let is_taken = matches!(before[at].verdict, Some((Verdict::Apply { .. }, _)));
            let recorded = before[at].recorded.clone().map_or(0, |recorded| recorded.rank.generation);
            let is_worth = !before[at].withdrawn.has_any_of(before[at].certs.all());
            before[at].carry_out(&mut engine);
            if is_taken {
                prop_assert!(before[at].recorded.as_ref().unwrap().rank.generation >= recorded || !is_worth);
                prop_assert!(!before[at].withdrawn.has_any_of(before[at].certs.all()));
            }
        }
    }
}

#[test]
fn nodes_with_different_keys_do_not_take_turns() {
    let rsa = KeySpec::Rsa(2048);
    let mut nodes = vec![Node::new(std::slice::from_ref(&rsa)), Node::new(&[ec()])];
    nodes[0].solo(cert("0A", 3));
    nodes[1].solo(cert("0B", 2));
    let mut engine = Engine::default();
    for _ in 0..20 {
        assert!(settle(&mut nodes, &mut engine));
    }
    assert!(engine.publications <= 2, "{}", engine.publications);
    assert!(nodes[0].has(&remote(0, vec![(rsa, cert("0A", 3))], 0).value), "each serves its own");
    assert!(nodes[1].has(&remote(0, vec![(ec(), cert("0B", 2))], 0).value));
    assert_eq!(engine.revision, u64::from(engine.publications));
    assert!(engine.set.is_some_and(|set| set.mark.changed <= Revision(2)));
}
