// SPDX-License-Identifier: Apache-2.0
//! What readers of the module's lock-free parts rely on, in every order of steps that their orderings allow;
//! and that no ordering can be weaker: with each of them one step weaker, some model finds a reader that is
//! misled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use loom::thread;
use orderings::counters::Counters;
use orderings::live::first_read::{PATIENCE, Reading};
use orderings::live::roster::Roster;
use orderings::live::signals::Signals;
use orderings::managed::live_set::LiveSet;
use orderings::managed::slot::{Slot, Source};
use orderings::sites::{self, Order, Site};
use orderings::sync::atomic::{AtomicU64, Ordering};
use orderings::time::{StopFlag, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

type Model = (&'static str, fn());

const MODELS: &[Model] = &[
    ("signal", signal),
    ("refusal", refusal),
    ("place", place),
    ("signalled_set", signalled_set),
    ("set_read_by_another", set_read_by_another),
    ("first_sets", first_sets),
    ("end_of_work", end_of_work),
    ("last_words", last_words),
];

fn shared(count: usize) -> Arc<dyn Counters> {
    Arc::new((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>())
}

/// What the store has, as far as a model tells: nothing but signals orders it.
fn file() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}

/// A process that takes a signal reads what it is about, and no signal is lost.
fn signal() {
    let (counters, file) = (shared(Signals::size(1)), file());
    let raising = Signals::new(counters.clone(), 1);
    let taking = Signals::new(counters, 1);
    let written = file.clone();
    let thread = thread::spawn(move || {
        written.store(1, Ordering::Relaxed);
        raising.raise(0);
    });
    let taken = taking.take();
    assert!(taken.is_empty() || file.load(Ordering::Relaxed) == 1, "the change is read");
    let is_known = taking.generation() == 1;
    assert!(!is_known || !taken.is_empty(), "who knows the generation has taken the topic");
    thread.join().unwrap();
    let later = if taking.is_pending() { taking.take() } else { Vec::new() };
    assert_eq!([taken, later].concat(), [0], "taken once");
}

const NOW: Timestamp = Timestamp(1_000_000);
const LATER: Timestamp = Timestamp(1_006_000);

/// A process that could not use a set does not count for it at any moment.
fn refusal() {
    let counters = shared(Roster::size(1, 1));
    let (one, other) = (Roster::new(counters.clone(), 1, 1), Roster::new(counters, 1, 1));
    one.sign_in(0, NOW);
    one.publish(0, 1);
    let thread = thread::spawn(move || {
        one.set_refused(0, true);
        one.sign_in(1, NOW);
    });
    assert_eq!(other.serving(0, NOW), 0);
    thread.join().unwrap();
}

/// A process that takes over a place counts for nothing that the one before served.
fn place() {
    let counters = shared(Roster::size(1, 1));
    let [before, one, other] = [0; 3].map(|_| Roster::new(counters.clone(), 1, 1));
    before.publish(0, 9);
    before.sign_in(9, NOW);
    let thread = thread::spawn(move || one.sign_in(0, LATER));
    assert_eq!(other.serving(0, LATER), 0);
    thread.join().unwrap();
}

struct Store(Arc<AtomicU64>);

impl Source for Store {
    fn fill(&self, _: usize, slot: &Slot) {
        slot.store(LiveSet { since: self.0.load(Ordering::Relaxed) });
    }

    fn serving(&self, _: usize) -> usize {
        0
    }
}

fn connected(file: &Arc<AtomicU64>) -> (Arc<dyn Source>, Slot) {
    let (source, slot): (Arc<dyn Source>, _) = (Arc::new(Store(file.clone())), Slot::default());
    let weak: Weak<dyn Source> = Arc::downgrade(&source);
    slot.connect(weak, 0);
    (source, slot)
}

fn since(slot: &Slot) -> u64 {
    slot.load().as_ref().map_or(0, |set| set.since)
}

/// A slot that is not behind has the set that it was signalled last.
fn signalled_set() {
    let file = file();
    let (_source, slot) = connected(&file);
    let signalling = slot.clone();
    let thread = thread::spawn(move || {
        for set in 1..=2 {
            file.store(set, Ordering::Relaxed);
            signalling.signal();
        }
    });
    slot.catch_up();
    thread.join().unwrap();
    slot.catch_up();
    assert_eq!((slot.is_behind(), since(&slot)), (false, 2));
}

/// A thread for which a slot is not behind gets the set from it, whoever has read that.
fn set_read_by_another() {
    let file = file();
    let (_source, slot) = connected(&file);
    file.store(1, Ordering::Relaxed);
    slot.signal();
    let other = slot.clone();
    let thread = thread::spawn(move || other.catch_up());
    if !slot.is_behind() {
        assert_eq!(since(&slot), 1);
    }
    thread.join().unwrap();
}

/// A child that goes on to serve has the sets that it has waited for.
fn first_sets() {
    let file = file();
    let pairs = [0; 2].map(|_| connected(&file));
    file.store(1, Ordering::Relaxed);
    let [needed, other] = pairs.each_ref().map(|(_, slot)| slot.clone());
    needed.signal();
    other.signal();
    let reading = Arc::new(Reading::new(vec![needed.clone()], vec![other.clone()]));
    let reads = reading.clone();
    let thread = thread::spawn(move || reads.read_all(&StopFlag::default()));
    if reading.is_enough(PATIENCE.all, &PATIENCE) {
        assert_eq!(since(&needed), 1);
    }
    if reading.is_enough(Duration::ZERO, &PATIENCE) {
        assert_eq!((since(&needed), since(&other)), (1, 1));
    }
    thread.join().unwrap();
}

/// After the flag is raised, a process in which nothing is at work has seen the end of all work.
fn end_of_work() {
    for look in [StopFlag::is_quiet, |flag: &StopFlag| flag.wait_for_all(Duration::ZERO)] {
        let (flag, work) = (StopFlag::default(), file());
        let (working, done) = (flag.clone(), work.clone());
        let thread = thread::spawn(move || {
            let at_work = working.enter();
            let has_begun = at_work.is_some();
            if has_begun {
                done.store(1, Ordering::Relaxed);
            }
            drop(at_work);
            has_begun
        });
        flag.raise();
        let (is_over, is_done) = (look(&flag), work.load(Ordering::Relaxed) == 1);
        assert!(!thread.join().unwrap() || !is_over || is_done);
    }
}

/// A thread that sees the flag raised sees what was written before that.
fn last_words() {
    let (flag, words) = (StopFlag::default(), file());
    let (ending, said) = (flag.clone(), words.clone());
    let thread = thread::spawn(move || {
        said.store(1, Ordering::Relaxed);
        ending.raise();
    });
    assert!(!flag.is_raised() || words.load(Ordering::Relaxed) == 1);
    thread.join().unwrap();
}

/// Runs a model in a thread of its own, so that the next one finds nothing of it. `Err`: a reader was misled.
fn run(model: fn(), weakened: Option<(Site, Order)>) -> Result<BTreeSet<Site>, ()> {
    let run = move || {
        if let Some((site, order)) = weakened {
            sites::weaken(site, order);
        }
        let mut explored = loom::model::Builder::new();
        explored.preemption_bound = Some(3);
        explored.check(model);
        sites::seen()
    };
    std::thread::Builder::new().name("model".into()).spawn(run).unwrap().join().map_err(|_| ())
}

#[test]
fn readers_get_what_they_rely_on_and_no_ordering_can_be_weaker() {
    // What a weakened model says of its failure is no news.
    let hook = std::panic::take_hook();
    let mut seen: BTreeMap<Site, Vec<Model>> = BTreeMap::new();
    for (name, model) in MODELS {
        let sites = run(*model, None).unwrap_or_else(|()| panic!("{name}: a reader is misled"));
        for site in sites {
            seen.entry(site).or_default().push((*name, *model));
        }
    }
    std::panic::set_hook(Box::new(|_| {}));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut strong = Vec::new();
    for (site, models) in &seen {
        for weaker in site.ordering.weaker(site.kind) {
            let failing =
                models.iter().find(|(_, model)| run(*model, Some((site.clone(), *weaker))).is_err());
            match failing {
                Some((name, _)) => _ = found.entry(code(site)).or_default().insert((*name).into()),
                None => {
                    strong.push(format!("{}:{}: {weaker:?} does for {}", site.file, site.line, code(site)))
                }
            }
        }
    }
    std::panic::set_hook(hook);
    assert_eq!(strong, [""; 0], "orderings that are stronger than any model needs");
    assert_eq!(found, documented(), "docs/orderings.md has what is found");
}

fn read(file: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read_to_string(format!("{root}{file}")).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// File and line of code.
fn code(site: &Site) -> String {
    let text = read(&format!("src/{}", site.file));
    format!("{}: {}", site.file, text.lines().nth(site.line as usize - 1).unwrap_or_default().trim())
}

/// Lines of code, and the models that show what their orderings are for.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let (page, mut file, mut found) = (read("docs/orderings.md"), "", BTreeMap::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading.strip_prefix("`src/").and_then(|rest| rest.strip_suffix('`')).unwrap_or_default();
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [use_of, _, _, shown] = cells.as_slice() else { continue };
        let (Some(use_of), Some(shown)) = (unquoted(use_of), unquoted(shown)) else { continue };
        let text = read(&format!("src/{file}"));
        let line = text.lines().find(|line| line.contains(use_of));
        let line = line.unwrap_or_else(|| panic!("{file} has no {use_of}")).trim();
        let models: &mut BTreeSet<String> = found.entry(format!("{file}: {line}")).or_default();
        models.insert(shown.to_string());
    }
    found
}

fn unquoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}
