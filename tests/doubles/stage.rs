// SPDX-License-Identifier: Apache-2.0
//! Threads on virtual time, of which one runs at a time: the next is the one that sleeps the shortest. So ten
//! nodes with several threads each do the same in each run, and a day of them passes in seconds.
//!
//! A thread that keeps a lock while it sleeps, and another that waits for that lock, end the test after two minutes.

use mod_md::time::{Clock, StopFlag, Stopped, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a thread may run without a sleep.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of virtual time that passes: others have had as many turns then as fit into their patience.
const STRIDE: Duration = Duration::from_secs(60);

thread_local! {
    static OWN: RefCell<Option<Arc<Actor>>> = const { RefCell::new(None) };
}

struct Actor {
    name: String,
    number: u64,
    has_turn: Mutex<bool>,
    turned: Condvar,
    is_frozen: AtomicBool,
}

impl Actor {
    fn give_turn(&self) {
        *self.has_turn.lock().unwrap() = true;
        self.turned.notify_one();
    }

    fn take_turn(&self) {
        let has_turn = self.has_turn.lock().unwrap();
        let waited = self.turned.wait_timeout_while(has_turn, PATIENCE * 2, |has_turn| !*has_turn);
        let (mut has_turn, timeout) = waited.unwrap();
        while self.is_frozen.load(Ordering::SeqCst) {
            thread::park();
        }
        assert!(!timeout.timed_out(), "{} was never given its turn: another waits for a lock", self.name);
        *has_turn = false;
    }
}

#[derive(Default)]
struct Plan {
    now: Timestamp,
    count: u64,
    sleeping: BTreeMap<(Timestamp, u64), Arc<Actor>>,
    /// Where those sleep who can be roused, by number.
    places: HashMap<u64, (Timestamp, u64)>,
    /// Who is not to sleep the next time, because something has happened.
    roused: Vec<u64>,
    alive: usize,
    panicked: Vec<String>,
}

impl Plan {
    fn sleep(&mut self, actor: Arc<Actor>, until: Timestamp, can_be_roused: bool) {
        self.count += 1;
        let place = (until, self.count);
        if can_be_roused {
            self.places.insert(actor.number, place);
        }
        self.sleeping.insert(place, actor);
    }

    fn rouse(&mut self, number: u64) {
        match self.places.get(&number).and_then(|place| self.sleeping.remove(place)) {
            Some(actor) => {
                self.places.remove(&number);
                self.sleep(actor, self.now, false);
            }
            None if self.roused.contains(&number) => {}
            None => self.roused.push(number),
        }
    }

    /// Gives the turn to the next.
    fn turn(&mut self) {
        let Some((place, actor)) = self.sleeping.pop_first() else { return };
        self.places.remove(&actor.number);
        self.now = self.now.max(place.0);
        actor.give_turn();
    }
}

/// The virtual time, for those who have a turn.
#[derive(Clone, Default)]
pub struct Stage(Arc<Mutex<Plan>>);

/// Ends the sleep of a thread, the next one where it does not sleep now.
#[derive(Clone)]
pub struct Rouser {
    stage: Stage,
    number: u64,
}

impl Rouser {
    pub fn rouse(&self) {
        self.stage.0.lock().unwrap().rouse(self.number);
    }
}

impl Stage {
    /// The calling thread has the turn.
    pub fn at(now: Timestamp) -> Stage {
        let stage = Stage::default();
        stage.0.lock().unwrap().now = now;
        let actor = stage.actor("the test");
        OWN.with(|own| *own.borrow_mut() = Some(actor));
        stage
    }

    fn actor(&self, name: &str) -> Arc<Actor> {
        let mut plan = self.0.lock().unwrap();
        plan.count += 1;
        let (has_turn, turned, is_frozen) = Default::default();
        Arc::new(Actor { name: name.into(), number: plan.count, has_turn, turned, is_frozen })
    }

    pub fn now(&self) -> Timestamp {
        self.0.lock().unwrap().now
    }

    /// Starts a thread, which has its first turn once the others sleep.
    pub fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> (JoinHandle<()>, Rouser) {
        let actor = self.actor(name);
        let rouser = Rouser { stage: self.clone(), number: actor.number };
        {
            let mut plan = self.0.lock().unwrap();
            let now = plan.now;
            plan.alive += 1;
            plan.sleep(actor.clone(), now, false);
        }
        let stage = self.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            OWN.with(|own| *own.borrow_mut() = Some(actor.clone()));
            actor.take_turn();
            let result = panic::catch_unwind(AssertUnwindSafe(run));
            let mut plan = stage.0.lock().unwrap();
            if result.is_err() {
                plan.panicked.push(actor.name.clone());
            }
            plan.alive -= 1;
            plan.turn();
        });
        (thread.unwrap(), rouser)
    }

    /// Until so much time has passed, or the thread is roused.
    pub fn sleep(&self, time: Duration) {
        self.pause(time, true);
    }

    /// `can_be_roused`: by what has happened before as well, if no sleep ended by it.
    fn pause(&self, time: Duration, can_be_roused: bool) {
        let actor = OWN.with(|own| own.borrow().clone()).expect("only who is on the stage sleeps");
        {
            let mut plan = self.0.lock().unwrap();
            let roused = plan.roused.iter().position(|number| can_be_roused && *number == actor.number);
            let time = roused.map_or(time, |index| {
                plan.roused.swap_remove(index);
                Duration::ZERO
            });
            let until = plan.now.plus(time);
            plan.sleep(actor.clone(), until, can_be_roused);
            plan.turn();
        }
        actor.take_turn();
    }

    /// Lets time pass until `look` sees something. None: not within `most`.
    pub fn wait<T>(&self, most: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
        self.wait_by(Duration::from_millis(50), most, look)
    }

    /// The same with so much time between two looks. Most of what hours of virtual time cost is turns.
    pub fn wait_by<T>(
        &self,
        step: Duration,
        most: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let end = self.now().plus(most);
        loop {
            self.assert_none_panicked();
            if let Some(seen) = look() {
                return Some(seen);
            }
            if self.now() >= end {
                return None;
            }
            self.sleep(step);
        }
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        let end = self.now().plus(time);
        while self.now() < end {
            self.sleep(end.since(self.now()).min(STRIDE));
            self.assert_none_panicked();
        }
    }

    fn assert_none_panicked(&self) {
        let panicked = self.0.lock().unwrap().panicked.clone();
        assert!(panicked.is_empty(), "{panicked:?}");
    }

    /// The threads of these names never have a turn again, as after `kill -9`: nothing of them is dropped.
    pub fn freeze(&self, is_frozen: impl Fn(&str) -> bool) {
        let mut plan = self.0.lock().unwrap();
        let before = plan.sleeping.len();
        plan.sleeping.retain(|_, actor| {
            let is_frozen = is_frozen(&actor.name);
            actor.is_frozen.store(is_frozen, Ordering::SeqCst);
            !is_frozen
        });
        plan.alive -= before - plan.sleeping.len();
        let asleep: Vec<u64> = plan.sleeping.values().map(|actor| actor.number).collect();
        plan.places.retain(|number, _| asleep.contains(number));
    }

    /// So much time passes in which nobody does anything, as while a machine is suspended.
    pub fn leap(&self, time: Duration) {
        let mut plan = self.0.lock().unwrap();
        plan.now = plan.now.plus(time);
    }

    /// Waits for the threads, which have been told to stop.
    pub fn end(&self) {
        let is_over = self.wait(PATIENCE, || (self.0.lock().unwrap().alive == 0).then_some(()));
        assert!(is_over.is_some(), "a thread does not stop");
    }

    /// The clock of one process.
    pub fn clock(&self, stop: &StopFlag) -> Arc<StageClock> {
        Arc::new(StageClock { stage: self.clone(), stop: stop.clone(), ahead: Duration::ZERO })
    }
}

pub struct StageClock {
    stage: Stage,
    stop: StopFlag,
    /// Of the true time.
    pub ahead: Duration,
}

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        self.stage.now().plus(self.ahead)
    }

    fn sleep(&self, d: Duration) -> Result<(), Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        self.stage.pause(d, false);
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }

    fn boot(&self) -> Duration {
        self.stage.now().since(Timestamp::default())
    }
}
