//! Which jobs run: looks at every beat for those that are due, runs each in a thread of its own, as many as
//! there are [`Slots`], and ends them all when the process stops. A job that panics ends as an error
//! of that job.

use super::engine::{Engine, Next};
use super::slots::Slots;
use crate::time::{StopFlag, Timestamp};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

enum Slot {
    Waiting(Timestamp),
    Running(JoinHandle<Next>),
    /// Nothing to do before the configuration changes.
    Done,
}

pub struct Driver {
    engine: Arc<Engine>,
    stop: StopFlag,
    slots: Vec<Slot>,
    latest: Timestamp,
}

/// The clock is believed to have been set back when it shows so much less than before.
const SET_BACK: Duration = Duration::from_secs(60);

impl Driver {
    /// Every job is looked at `MDInitialDelay` from now.
    /// `stop` is the flag that the engine's clock and transports heed.
    pub fn new(engine: Arc<Engine>, stop: StopFlag) -> Self {
        let first = engine.clock().now().plus(engine.settings().initial_delay);
        let slots =
            engine.targets().iter().map(|t| if t.watched { Slot::Waiting(first) } else { Slot::Done });
        Driver { slots: slots.collect(), engine, stop, latest: Timestamp::default() }
    }

    /// Takes in what has ended and starts what is due.
    pub fn beat(&mut self) {
        let now = self.engine.clock().now();
        if now.plus(SET_BACK) < self.latest {
            // Whatever was to happen by the wrong clock is decided again.
            for slot in self.slots.iter_mut().filter(|slot| matches!(slot, Slot::Waiting(_))) {
                *slot = Slot::Waiting(now);
            }
        }
        self.latest = now;
        let mut places = Slots::new(self.engine.settings().parallel);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Running(thread) = slot
                && thread.is_finished()
                && let Slot::Running(thread) = std::mem::replace(slot, Slot::Done)
            {
                *slot = match thread.join() {
                    Ok(Next::At(at)) => Slot::Waiting(at),
                    Ok(Next::Never) => Slot::Done,
                    Err(_) => Slot::Waiting(self.engine.record_panic(index)),
                };
            }
            match slot {
                Slot::Running(_) if self.engine.is_resting(index) => places.take_resting(),
                Slot::Running(_) => drop(places.take(&self.engine.ca_of(index))),
                _ => {}
            }
        }
        let mut started = false;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if places.is_full() {
                return;
            }
            if matches!(slot, Slot::Waiting(at) if *at <= now) && places.take(&self.engine.ca_of(index)) {
                if !std::mem::replace(&mut started, true) {
                    let count = self.engine.targets().iter().filter(|t| t.watched).count();
                    crate::log!(Debug, "AH10055: md watchdog run, auto drive {count} mds");
                }
                *slot = start(&self.engine, index, now);
            }
        }
    }

    /// Something is new about the MD of this index: it is looked at by the next beat, unless that is under way.
    pub fn look_at(&mut self, index: usize) {
        let now = self.engine.clock().now();
        let is_watched = self.engine.targets().get(index).is_some_and(|target| target.watched);
        if let Some(slot @ (Slot::Waiting(_) | Slot::Done)) = self.slots.get_mut(index)
            && is_watched
        {
            *slot = Slot::Waiting(now);
        }
    }

    /// Tells every job to stop where it is and waits for it; what it did is on disk.
    pub fn stop(self) {
        self.stop.raise();
        for slot in self.slots {
            if let Slot::Running(thread) = slot {
                // A panic at this point changes nothing for the next child.
                let _ = thread.join();
            }
        }
    }
}

fn start(engine: &Arc<Engine>, index: usize, now: Timestamp) -> Slot {
    let engine = engine.clone();
    match std::thread::Builder::new().name("md-renew".into()).spawn(move || engine.run(index)) {
        Ok(thread) => Slot::Running(thread),
        Err(error) => {
            crate::log!(
                Error,
                status = error.raw_os_error().unwrap_or(0),
                "a renewal cannot start its thread: {error}"
            );
            Slot::Waiting(now.plus(Duration::from_secs(30)))
        }
    }
}
