// SPDX-License-Identifier: Apache-2.0
//! Which jobs run: looks at every beat for those that are due, runs each in a thread, as many as there are
//! [`Slots`], and ends them all when the process stops. A thread that is done with a job goes on with the
//! next one that is due. A job that panics ends as an error of that job.

use super::check::{Engine, Next};
use super::limits::{Pause, Slots};
use super::neighbour::Neighbour;
use super::queue::Schedule;
use crate::renew::decide::due;
use crate::time::StopFlag;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Driver {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
    neighbour: Option<Neighbour>,
}

/// What all threads share.
struct Jobs {
    engine: Arc<Engine>,
    stop: StopFlag,
    schedule: Mutex<Schedule>,
}

impl Driver {
    /// Every job is looked at `MDInitialDelay` from now.
    /// `stop` is the flag that the engine's clock and transports heed.
    pub fn new(engine: Arc<Engine>, stop: StopFlag) -> Self {
        let first = engine.clock().now().plus(engine.settings().initial_delay);
        let jobs = engine.targets().iter().map(|t| if t.watched { Next::At(first) } else { Next::Never });
        let schedule = Mutex::new(Schedule::new(jobs));
        Driver { jobs: Arc::new(Jobs { engine, stop, schedule }), threads: Vec::new(), neighbour: None }
    }

    /// Looks for another httpd that renews in the store as well.
    #[must_use]
    pub fn beside(self, neighbour: Neighbour) -> Self {
        Driver { neighbour: Some(neighbour), ..self }
    }

    /// Starts what is due and has a place.
    pub fn beat(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
        let (engine, now) = (&self.jobs.engine, self.jobs.engine.clock().now());
        self.jobs.schedule().heed_clock(now);
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.look(now);
        }
        let mut is_first = true;
        while let Some(index) = self.jobs.begin() {
            if std::mem::take(&mut is_first) {
                let count = engine.targets().iter().filter(|t| t.watched).count();
                crate::log!(Debug, "AH10055: md watchdog run, auto drive {count} mds");
            }
            match start(&self.jobs, index) {
                Ok(Some(thread)) => self.threads.push(thread),
                Ok(None) => return,
                Err(error) => {
                    crate::log!(
                        Error,
                        status = error.raw_os_error().unwrap_or(0),
                        "a renewal cannot start its thread and is tried again in 30 seconds: {}. Raise the limit of threads (ulimit -u, \
                         TasksMax of the service).",
                        crate::log::plain(&error)
                    );
                    self.jobs.schedule().ended(index, Next::At(now.plus(Duration::from_secs(30))));
                }
            }
        }
    }

    /// Something is new about the MD of this index: it is looked at by the next beat, unless that is under
    /// way.
    pub fn look_at(&mut self, index: usize) {
        let engine = &self.jobs.engine;
        if engine.targets().get(index).is_some_and(|target| target.watched) {
            self.jobs.schedule().look_at(index, engine.clock().now());
        }
    }

    /// Tells every job to stop where it is and waits for it; what it did is on disk.
    pub fn stop(self) {
        self.jobs.stop.raise();
        for thread in self.threads {
            // A panic at this point changes nothing for the next child.
            let _ = thread.join();
        }
    }
}

/// `None`: the process is stopping.
fn start(jobs: &Arc<Jobs>, index: usize) -> std::io::Result<Option<JoinHandle<()>>> {
    let mine = jobs.clone();
    jobs.stop.spawn("md-renew", move || {
        let mut turn = Some(index);
        while let Some(index) = turn {
            let next = mine.run(index);
            mine.schedule().ended(index, next);
            turn = mine.begin();
        }
    })
}

impl Jobs {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job whose turn it is, if there is a place for one more.
    fn begin(&self) -> Option<usize> {
        if self.stop.is_raised() {
            return None;
        }
        let mut schedule = self.schedule();
        let mut places = Slots::new(self.engine.settings().parallel);
        for index in schedule.running() {
            match self.engine.pause_of(index) {
                Some(Pause::Rest) => places.take_resting(),
                Some(Pause::Command) => places.take_in_command(),
                None => drop(places.take(&self.engine.ca_of(index))),
            }
        }
        if places.is_full() {
            return None;
        }
        schedule.begin(self.engine.clock().now(), |index| places.has_one(&self.engine.ca_of(index)))
    }

    fn run(&self, index: usize) -> Next {
        let engine = &self.engine;
        let guarded = |job: &dyn Fn() -> Next| catch_unwind(AssertUnwindSafe(job));
        let run = guarded(&|| engine.run(index));
        let recorded = run.or_else(|_| guarded(&|| Next::At(engine.record_panic(index))));
        recorded.unwrap_or_else(|_| Next::At(engine.clock().now().plus(due::RETRY_MAX)))
    }
}
