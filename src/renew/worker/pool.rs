// SPDX-License-Identifier: Apache-2.0
//! Which jobs run: looks at every beat for those that are due, runs each in a thread, as many as there are
//! [`Slots`], and ends them all when the process stops. A thread that is done with a job goes on with the
//! next one that is due. A job that panics ends as an error of that job.

use super::check;
use super::limits::Slots;
use super::neighbour::Neighbour;
use super::queue::{Next, Queue};
use crate::renew::attempt::context::{Context, Pause};
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
    context: Arc<Context>,
    stop: StopFlag,
    queue: Mutex<Queue>,
}

impl Driver {
    /// Every job is looked at `MDInitialDelay` from now.
    /// `stop` is the flag that the context's clock and transports follow.
    pub fn new(context: Arc<Context>, stop: StopFlag) -> Self {
        let first = context.clock.now().plus(context.settings.initial_delay);
        let jobs = context.targets.iter().map(|t| if t.watched { Next::At(first) } else { Next::Never });
        let queue = Mutex::new(Queue::new(jobs));
        Driver { jobs: Arc::new(Jobs { context, stop, queue }), threads: Vec::new(), neighbour: None }
    }

    /// Looks for another httpd that renews in the store as well.
    #[must_use]
    pub fn beside(self, neighbour: Neighbour) -> Self {
        Driver { neighbour: Some(neighbour), ..self }
    }

    /// Starts what is due and has a place.
    pub fn beat(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
        let (context, now) = (&self.jobs.context, self.jobs.context.clock.now());
        self.jobs.queue().follow_clock(now);
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.look(now);
        }
        let mut is_first = true;
        while let Some(index) = self.jobs.begin() {
            if std::mem::take(&mut is_first) {
                let count = context.targets.iter().filter(|t| t.watched).count();
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
                    self.jobs.queue().ended(index, Next::At(now.plus(Duration::from_secs(30))));
                }
            }
        }
    }

    /// Something is new about the MD of this index: the next beat looks at it, unless it is being looked at.
    pub fn look_at(&mut self, index: usize) {
        let context = &self.jobs.context;
        if context.targets.get(index).is_some_and(|target| target.watched) {
            self.jobs.queue().look_at(index, context.clock.now());
        }
    }

    /// Stops every job where it is and waits for it; what it did is on disk.
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
        let mut job = Some(index);
        while let Some(index) = job {
            let next = mine.run(index);
            mine.queue().ended(index, next);
            job = mine.begin();
        }
    })
}

impl Jobs {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job that comes next, if there is a place for one more.
    fn begin(&self) -> Option<usize> {
        if self.stop.is_raised() {
            return None;
        }
        let mut queue = self.queue();
        let mut places = Slots::new(self.context.settings.parallel);
        for index in queue.running() {
            match self.context.pause_of(index) {
                Some(Pause::Rest) => places.take_resting(),
                Some(Pause::Command) => places.take_in_command(),
                None => drop(places.take(&self.context.ca_of(index))),
            }
        }
        if places.is_full() {
            return None;
        }
        queue.begin(self.context.clock.now(), |index| places.has_one(&self.context.ca_of(index)))
    }

    fn run(&self, index: usize) -> Next {
        let context = &self.context;
        let guarded = |job: &dyn Fn() -> Next| catch_unwind(AssertUnwindSafe(job));
        let run = guarded(&|| check::run(context, index));
        let recorded = run.or_else(|_| guarded(&|| check::record_panic(context, index)));
        recorded.unwrap_or_else(|_| Next::At(context.clock.now().plus(due::RETRY_MAX)))
    }
}
