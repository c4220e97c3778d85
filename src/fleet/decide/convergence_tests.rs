// SPDX-License-Identifier: Apache-2.0
//! Nodes that renew, roll back, look and publish in any order, on an engine that loses data: in the end all
//! have the same set.

use super::rank::next_generation;
use super::reconcile::{On, Sides, Stored, Verdict, generation_here, reconcile};
use super::withdrawing::withdrawing;
use crate::crypto::CertInfo;
use crate::fleet::record;
use crate::fleet::view::fixture::{NOW, by, cert, ec, mark, remote};
use crate::fleet::view::{Item, KnownSet};
use crate::managed::withdrawn::{Entry, Why, Withdrawn};
use proptest::prelude::*;

const NODES: usize = 4;

#[derive(Clone, Default)]
struct Engine {
    revision: u64,
    set: Option<Item<KnownSet>>,
    withdrawn: Option<Item<record::Withdrawn>>,
}

impl Engine {
    fn holds(&self, on: On) -> bool {
        match on {
            On::Absent => self.set.is_none(),
            On::ChangedAt(at) => self.set.as_ref().is_some_and(|set| set.mark.changed == at),
        }
    }

    fn publish(&mut self, stored: &Stored, on: On) -> bool {
        let holds = self.holds(on);
        if holds {
            self.revision += 1;
            let certs = stored.certs.iter().map(|cert| (ec(), cert.clone())).collect();
            self.set = Some(remote(stored.rank.generation, certs, self.revision));
        }
        holds
    }
}

#[derive(Default)]
struct Node {
    /// The set of the fleet as it is kept in the store.
    kept: Option<Stored>,
    /// In use, with or without the fleet.
    in_use: Option<CertInfo>,
    highest: u64,
    withdrawn: Withdrawn,
    earlier: Vec<CertInfo>,
    /// Decided on what the engine had, and not yet carried out.
    verdict: Option<(Verdict, Option<Item<KnownSet>>)>,
}

impl Node {
    fn take_into_use(&mut self, cert: CertInfo) {
        self.earlier.extend(self.in_use.take());
        self.in_use = Some(cert);
    }

    fn keep(&mut self, stored: Stored) {
        self.highest = self.highest.max(stored.rank.generation);
        self.kept = Some(stored);
    }

    /// As each start does: what came into use without the fleet is kept with the next generation.
    fn start(&mut self) {
        let is_withdrawn =
            self.kept.as_ref().is_some_and(|kept| self.withdrawn.has_any_of(kept.certs.iter()));
        let in_use: Vec<CertInfo> = self.in_use.iter().cloned().collect();
        if let Some(generation) = generation_here(self.kept.as_ref(), is_withdrawn, &in_use) {
            self.keep(Stored::new(generation, in_use).unwrap());
            self.verdict = None;
        } else if let Some(kept) = &self.kept {
            // Nobody replaces a set by an older one without withdrawing it.
            self.in_use = kept.certs.first().cloned();
        }
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
        let remote = engine.set.as_ref();
        self.highest = self.highest.max(remote.map_or(0, |set| set.value.generation));
        let sides = Sides {
            stored: self.kept.as_ref(),
            remote,
            changed: remote.map(|set| set.mark.changed),
            highest: self.highest,
            withdrawn: &self.withdrawn,
        };
        self.verdict = Some((reconcile(&sides, NOW), engine.set.clone()));
    }

    /// Whether anything came of it.
    fn carry_out(&mut self, engine: &mut Engine) -> bool {
        match self.verdict.take() {
            None | Some((Verdict::Nothing | Verdict::Refuse(_), _)) => false,
            Some((Verdict::Bring, set)) => {
                let set = set.unwrap().value;
                self.take_into_use(set.certs[0].1.clone());
                self.keep(Stored::new(set.generation, vec![set.certs[0].1.clone()]).unwrap());
                true
            }
            Some((Verdict::Publish(on), _)) => {
                let stored = self.kept.clone();
                stored.is_some_and(|stored| engine.publish(&stored, on))
            }
        }
    }

    fn renew(&mut self, new: CertInfo, engine: &mut Engine) {
        let on = engine.set.as_ref().map_or(On::Absent, |set| On::ChangedAt(set.mark.changed));
        let in_force = engine.set.as_ref().map(|set| set.value.generation);
        let stored = Stored::new(next_generation(in_force, self.highest), vec![new.clone()]).unwrap();
        if engine.publish(&stored, on) {
            self.take_into_use(new);
            self.keep(stored);
            self.verdict = None;
        }
    }

    /// Without the fleet; the start notices it.
    fn change(&mut self, new: CertInfo) {
        self.take_into_use(new);
        self.start();
    }

    fn roll_back(&mut self) {
        let is_good = |cert: &&CertInfo| !self.withdrawn.has_any_of([*cert].into_iter());
        let is_other = |cert: &&CertInfo| self.in_use.as_ref().is_some_and(|own| own != *cert);
        let target = self.earlier.iter().rev().filter(is_good).find(is_other).cloned();
        let (Some(target), Some(cert)) = (target, self.in_use.clone()) else { return };
        self.withdrawn.add(Entry {
            why: Why::Replaced,
            issuer: cert.issuer_name.clone(),
            serial: cert.serial.clone(),
            key: None,
            since: NOW,
            until: cert.not_after,
        });
        self.change(target);
    }

    fn has(&self, set: &KnownSet) -> bool {
        self.in_use.as_ref() == set.certs.first().map(|(_, cert)| cert)
    }

    fn is_withdrawn(&self) -> bool {
        self.withdrawn.has_any_of(self.in_use.iter())
    }
}

#[derive(Clone, Debug)]
enum Event {
    Decide(usize),
    CarryOut(usize),
    Renew(usize),
    Change(usize),
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
        2 => node().prop_map(Event::Change),
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
    let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::default()).collect();
    let (mut engine, mut remembered) = (Engine::default(), Engine::default());
    for (serial, (event, age)) in events.iter().enumerate() {
        let new = || cert(&format!("{serial:X}"), *age);
        match event {
            Event::Decide(node) => nodes[*node].decide(&mut engine),
            Event::CarryOut(node) => drop(nodes[*node].carry_out(&mut engine)),
            Event::Renew(node) => nodes[*node].renew(new(), &mut engine),
            Event::Change(node) => nodes[*node].change(new()),
            Event::RollBack(node) => nodes[*node].roll_back(),
            Event::Wipe => engine = Engine { revision: engine.revision + 1, ..Engine::default() },
            Event::Remember => remembered = engine.clone(),
            Event::FailOver => engine = Engine { revision: engine.revision + 1, ..remembered.clone() },
        }
    }
    (nodes, engine)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_end_with_the_same_set(events in events()) {
        let (mut nodes, mut engine) = play(&events);
        prop_assert!(settle(&mut nodes, &mut engine), "they go on for ever");
        for late in 0..NODES {
            // A node that has seen more than is left, or whose set is withdrawn, renews in its time.
            let set = engine.set.clone();
            let node = &nodes[late];
            if set.as_ref().is_none_or(|set| !node.has(&set.value) || node.is_withdrawn()) {
                let is_explained = set.as_ref().is_none_or(|set| {
                    let mut certs = set.value.certs.iter().map(|(_, cert)| cert);
                    set.value.generation < node.highest || certs.any(|cert| node.withdrawn.has_any_of([cert].into_iter()))
                });
                prop_assert!(is_explained, "node {late}");
                nodes[late].renew(cert(&format!("F{late}"), 0), &mut engine);
                prop_assert!(settle(&mut nodes, &mut engine));
            }
        }
        let set = engine.set.clone().unwrap();
        for node in &nodes {
            prop_assert!(node.has(&set.value) && !node.is_withdrawn());
            prop_assert_eq!(node.kept.as_ref().unwrap().rank.generation, set.value.generation);
        }
    }

    #[test]
    fn a_node_takes_nothing_below_what_it_has_seen_and_nothing_that_it_knows_to_be_withdrawn(events in events()) {
        for end in 0..events.len() {
            let Event::CarryOut(at) = events[end].0 else { continue };
            let (mut nodes, mut engine) = play(&events[..end]);
            let node = &mut nodes[at];
            let Some((Verdict::Bring, Some(set))) = node.verdict.clone() else { continue };
            prop_assert!(set.value.generation >= node.kept.as_ref().map_or(0, |kept| kept.rank.generation));
            node.carry_out(&mut engine);
            prop_assert!(!node.is_withdrawn());
        }
    }
}
