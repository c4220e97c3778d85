// SPDX-License-Identifier: Apache-2.0
//! Processes of one configuration, side by side in the test process: they share only counters and a store.
//! Imports the store fixture of `managed`.

use super::*;
use crate::counters::Counters;
use crate::crypto::Identity;
use crate::crypto::fixture::NOW;
use crate::log::capture;
use crate::managed::bundle::Bundle;
use crate::managed::fixture::{Lab, md};
use crate::managed::gate::Admitted;
use crate::managed::published::Published;
use crate::managed::serve::Certs;
use crate::model::{Job, Md, State};
use crate::time::At;
use std::collections::HashSet;
use std::sync::Condvar;

/// The TLS hosts of a process.
#[derive(Default)]
struct Doubles {
    refuse: AtomicBool,
    /// MDs whose hosts do not answer until they are let go.
    hanging: Mutex<HashSet<usize>>,
    let_go: Condvar,
}

impl Doubles {
    fn hang(&self, mds: impl IntoIterator<Item = usize>) {
        lock(&self.hanging).extend(mds);
    }

    fn let_go(&self) {
        lock(&self.hanging).clear();
        self.let_go.notify_all();
    }
}

impl Hosts for Doubles {
    fn try_out(&self, md: usize, _: &[Identity]) -> Option<Result<(), String>> {
        let hangs = |hanging: &mut HashSet<usize>| hanging.contains(&md);
        drop(self.let_go.wait_while(lock(&self.hanging), hangs).unwrap());
        Some(if self.refuse.load(Ordering::Relaxed) { Err("no".into()) } else { Ok(()) })
    }
}

struct World {
    lab: Lab,
    mds: Vec<Managed>,
    signals: Arc<dyn Counters>,
    roster: Arc<dyn Counters>,
}

const PLACES: usize = 4;

impl World {
    /// MDs with these names, that have started with certificates that are good.
    fn new(names: &[&str]) -> World {
        let lab = Lab::new();
        let managed = |name: &&str| {
            let md = Md { state: State::Complete, ..md(&[name]) };
            let set = lab.set(&[name], &md.keys()[0]);
            let certs = Certs::arrange(&md.keys(), [(set.spec, set.info)]);
            Managed { md, certs, ..Managed::default() }
        };
        let mds: Vec<Managed> = names.iter().map(managed).collect();
        let counters = |count| -> Arc<dyn Counters> {
            Arc::new((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>())
        };
        let (signals, roster) =
            (counters(Signals::size(mds.len())), counters(Roster::size(mds.len(), PLACES)));
        World { lab, mds, signals, roster }
    }

    fn process(&self) -> Process {
        let own = |managed: &Managed| Managed { live: Slot::default(), ..managed.clone() };
        let mds: Arc<[Managed]> = self.mds.iter().map(own).collect();
        mds.iter().for_each(|managed| managed.live.attach());
        let hosts = Arc::new(Doubles::default());
        let context = Context {
            mds: mds.clone(),
            store: self.lab.store.worker(),
            hosts: hosts.clone(),
            staples: None,
            clock: Arc::new(At(NOW)),
        };
        let signals = Signals::new(self.signals.clone(), mds.len());
        let roster = Roster::new(self.roster.clone(), mds.len(), PLACES);
        let live = Distribution::new(context, signals, roster).connect();
        Process { mds, hosts, live }
    }

    /// A new set of an MD.
    fn set(&self, md: usize) -> Bundle {
        let md = &self.mds[md].md;
        let names: Vec<&str> = md.domains.iter().map(String::as_str).collect();
        self.lab.set(&names, &md.keys()[0])
    }

    /// Makes it the live set in the store. Returns the publishing process's value of it, and the fingerprint.
    fn write(&self, md: usize, set: Bundle) -> (LiveSet, String) {
        let (md, fingerprint) = (&self.mds[md].md, set.info.fingerprint.clone());
        let published = Published::new(NOW, md, &Job::new(&md.name), Admitted::untried(vec![set]));
        published.write(&self.lab.store.worker(), &md.name).unwrap();
        (LiveSet::new(&published, &md.keys()).unwrap(), fingerprint)
    }

    fn publish(&self, by: &Process, md: usize) -> String {
        let (set, fingerprint) = self.write(md, self.set(md));
        by.live.publish(md, set);
        fingerprint
    }

    fn file(&self, md: usize) -> std::path::PathBuf {
        self.lab.root().join("staging").join(&self.mds[md].md.name).join(published::FILE)
    }
}

struct Process {
    mds: Arc<[Managed]>,
    hosts: Arc<Doubles>,
    live: Arc<Distribution>,
}

impl Process {
    /// The fingerprint of the live set it serves.
    fn serves(&self, md: usize) -> Option<String> {
        let set = self.mds[md].live.load();
        set.as_ref().map(|set| set.certs.all().next().unwrap().fingerprint.clone())
    }

    /// How many processes serve the newest set, as this one sees it.
    fn serving(&self, md: usize) -> usize {
        self.mds[md].live.serving()
    }
}

fn failures() -> usize {
    capture::take().iter().filter(|text| text.contains("AH10069")).count()
}

#[test]
fn a_published_set_is_taken_up_by_a_process_that_was_signalled() {
    let world = World::new(&["a.test", "b.test"]);
    let (renewing, other) = (world.process(), world.process());
    other.live.take_up();
    let published = world.publish(&renewing, 1);
    renewing.live.take_up();
    assert_eq!(renewing.serves(1).as_ref(), Some(&published), "it has the set at hand");
    assert_eq!((other.serves(1), other.serving(1), other.serving(0)), (None, 1, 2));
    other.live.take_signals();
    assert_eq!((other.serves(1), other.serving(1)), (None, 1), "it knows of the set and has not read it");
    other.live.take_up();
    assert_eq!((other.serves(1), other.serves(0)), (Some(published), None));
    assert_eq!((other.serving(1), renewing.serving(1)), (2, 2));
}

#[test]
fn a_set_left_in_staging_is_published_by_the_next_start() {
    let world = World::new(&["a.test"]);
    let (_, fingerprint) = world.write(0, world.set(0));
    let (one, other) = (world.process(), world.process());
    [&one, &other].iter().for_each(|process| _ = process.live.take_up());
    assert_eq!((one.serves(0), other.serves(0)), (Some(fingerprint.clone()), Some(fingerprint)));
    // The child before has published late: no child here was signalled.
    let late = World::new(&["a.test"]);
    let process = late.process();
    let (_, fingerprint) = late.write(0, late.set(0));
    process.live.take_up();
    assert_eq!(process.serves(0), None);
    process.live.publish_staged();
    process.live.take_up();
    assert_eq!(process.serves(0), Some(fingerprint));
}

#[test]
fn an_unreadable_set_keeps_the_former_one_and_is_logged_once() {
    let world = World::new(&["a.test"]);
    let (renewing, other) = (world.process(), world.process());
    let former = world.publish(&renewing, 0);
    other.live.take_up();
    renewing.live.take_up();
    assert_eq!((other.serves(0).as_ref(), failures()), (Some(&former), 0));
    for logged in [1, 0] {
        let (set, _) = world.write(0, world.set(0));
        std::fs::write(world.file(0), "{}").unwrap();
        renewing.live.publish(0, set);
        renewing.live.take_up();
        other.live.take_up();
        assert_eq!((other.serves(0).as_ref(), failures()), (Some(&former), logged));
        assert_eq!(renewing.serving(0), 1, "the other one does not serve it");
    }
    let good = world.publish(&renewing, 0);
    other.live.take_up();
    renewing.live.take_up();
    assert_eq!((other.serves(0), renewing.serving(0)), (Some(good), 2));
    std::fs::write(world.file(0), "{}").unwrap();
    renewing.live.signals.raise(0);
    other.live.take_up();
    assert_eq!(failures(), 1, "after a good one it is worth a line again");
}

#[test]
fn a_set_that_the_disk_withholds_is_read_as_soon_as_it_can_be() {
    let world = World::new(&["a.test"]);
    let (renewing, other) = (world.process(), world.process());
    let published = world.publish(&renewing, 0);
    let (root, aside) = (world.lab.root(), world.lab.root().with_extension("aside"));
    std::fs::rename(&root, &aside).unwrap();
    for logged in [1, 0] {
        other.live.take_up();
        assert_eq!((other.serves(0), failures()), (None, logged));
    }
    std::fs::rename(&aside, &root).unwrap();
    other.live.take_up();
    assert_eq!(other.serves(0), Some(published), "without another signal");
}

#[test]
fn a_set_that_hosts_refuse_is_not_served_by_that_process_alone() {
    let world = World::new(&["a.test"]);
    let (renewing, other) = (world.process(), world.process());
    let former = world.publish(&renewing, 0);
    other.live.take_up();
    other.hosts.refuse.store(true, Ordering::Relaxed);
    let refused = world.publish(&renewing, 0);
    renewing.live.take_up();
    other.live.take_up();
    assert_eq!((renewing.serves(0).as_ref(), other.serves(0)), (Some(&refused), Some(former)));
    assert_eq!((failures(), renewing.serving(0)), (1, 1));
    other.hosts.refuse.store(false, Ordering::Relaxed);
    let accepted = world.publish(&renewing, 0);
    renewing.live.take_up();
    other.live.take_up();
    assert_eq!((other.serves(0), renewing.serving(0)), (Some(accepted), 2));
}

#[test]
fn a_set_outdone_by_that_of_the_start_is_not_served() {
    let mut world = World::new(&["a.test"]);
    let (_, fewer_names) = world.write(0, world.set(0));
    let wider = md(&["a.test", "b.test"]);
    let set = world.lab.set(&["a.test", "b.test"], &wider.keys()[0]);
    world.mds[0].certs = Certs::arrange(&wider.keys(), [(set.spec, set.info)]);
    let narrow = world.process();
    narrow.live.take_up();
    assert_eq!(narrow.serves(0), Some(fewer_names), "it serves all names that are configured");
    world.mds[0].md = Md { state: State::Complete, ..wider };
    let process = world.process();
    process.live.take_up();
    assert_eq!((process.serves(0), failures()), (None, 0));
}

#[test]
fn a_new_child_reads_the_sets_first_that_it_needs() {
    let names: Vec<String> = (0..9).map(|n| format!("n{n}.test")).collect();
    let mut world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let renewing = world.process();
    let published: Vec<String> = (0..9).map(|md| world.publish(&renewing, md)).collect();
    // More hang than there are threads.
    world.mds[8].md.state = State::Incomplete;
    let child = world.process();
    child.hosts.hang(0..8);
    let patience = Patience { needed: Duration::from_secs(60), all: Duration::ZERO };
    child.live.begin_within(&patience, &StopFlag::default());
    assert_eq!(child.serves(8), Some(published[8].clone()));
    assert_eq!(child.serves(0), None, "it did not wait for those that hang");
    child.hosts.let_go();
}

#[test]
fn a_new_child_serves_though_a_set_it_needs_hangs() {
    let mut world = World::new(&["a.test"]);
    let published = world.publish(&world.process(), 0);
    world.mds[0].md.state = State::Incomplete;
    let (child, stop) = (world.process(), StopFlag::default());
    child.hosts.hang([0]);
    let patience = Patience { needed: Duration::from_millis(20), all: Duration::ZERO };
    child.live.begin_within(&patience, &stop);
    assert_eq!(child.serves(0), None);
    child.hosts.let_go();
    assert!(stop.wait_for_all(Duration::from_secs(60)));
    assert_eq!(child.serves(0), Some(published), "it is read beside serving");
}
