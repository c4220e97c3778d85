// SPDX-License-Identifier: Apache-2.0
//! Runs due jobs, each in a thread and as many at once as their kind admits, and ends them all when the
//! process stops. A thread that has finished a job continues with the next due one. A job that panics ends as
//! an error of that job.

use super::queue::{Due, Queue};
use crate::sync::lock;
use crate::time::{DAY, StopFlag, Timestamp};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Says of a job whether it has a place.
pub type HasPlace<'a> = Box<dyn Fn(usize) -> bool + 'a>;

/// The work of a thread.
type Work = Box<dyn FnOnce() + Send>;

/// A kind of jobs, known by their index.
pub trait Jobs: Send + Sync + 'static {
    /// The name of their threads.
    const THREAD: &'static str;

    fn now(&self) -> Timestamp;

    /// Which jobs may begin beside those that run. `None`: no place is left.
    fn places(&self, running: &mut dyn Iterator<Item = usize>, now: Timestamp) -> Option<HasPlace<'_>>;

    /// Called before the first job of a beat begins.
    fn beginning(&self) {}

    /// Runs a job. The answer is when it is due again.
    fn run(&self, job: usize) -> Due;

    /// A job has panicked, which is a bug.
    fn panicked(&self, job: usize) -> Due;

    /// There can be no other thread now. The answer is for how long none is started; those that run go on.
    fn cannot_start(&self, error: &io::Error) -> Duration;
}

/// Whether a pool has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Jobs run. What they leave, others may need.
    Busy,
    Until(Timestamp),
    Always,
}

impl Idle {
    /// For how long at most nobody has to look, between `shortest` and `longest`.
    pub fn pause(self, now: Timestamp, shortest: Duration, longest: Duration) -> Duration {
        match self {
            Idle::Busy => shortest,
            Idle::Until(at) => at.since(now).clamp(shortest, longest),
            Idle::Always => longest,
        }
    }
}

pub struct Pool<J: Jobs> {
    shared: Arc<Shared<J>>,
    threads: Vec<JoinHandle<()>>,
    /// Since when, and for how long, no thread is started.
    pause: Option<(Instant, Duration)>,
}

struct Shared<J> {
    jobs: Arc<J>,
    stop: StopFlag,
    queue: Mutex<Queue>,
}

impl<J: Jobs> Pool<J> {
    /// `due`: the jobs there are. `stop` is the flag that their clock and transports end with.
    pub fn new(jobs: Arc<J>, due: impl Iterator<Item = Due>, stop: StopFlag) -> Self {
        let queue = Mutex::new(Queue::new(due));
        Pool { shared: Arc::new(Shared { jobs, stop, queue }), threads: Vec::new(), pause: None }
    }

    pub fn jobs(&self) -> &Arc<J> {
        &self.shared.jobs
    }

    /// Adds a job, which gets the next index.
    pub fn add(&self, due: Due) -> usize {
        lock(&self.shared.queue).add(due)
    }

    pub fn follow_clock(&self, now: Timestamp) {
        lock(&self.shared.queue).follow_clock(now);
    }

    /// Makes a job due. `false`: it is running.
    pub fn wake(&self, job: usize) -> bool {
        lock(&self.shared.queue).wake(job, self.shared.jobs.now())
    }

    /// Starts the jobs that are due and have a place.
    pub fn start_due(&mut self) {
        self.start_due_by(|stop, work| stop.spawn(J::THREAD, work));
    }

    fn start_due_by(&mut self, spawn: impl Fn(&StopFlag, Work) -> io::Result<Option<JoinHandle<()>>>) {
        self.threads.retain(|thread| !thread.is_finished());
        if self.pause.is_some_and(|(begin, length)| begin.elapsed() < length) {
            return;
        }
        let mut is_first = true;
        while let Some(job) = self.shared.begin() {
            if std::mem::take(&mut is_first) {
                self.shared.jobs.beginning();
            }
            let shared = self.shared.clone();
            match spawn(&self.shared.stop, Box::new(move || shared.run_from(job))) {
                Ok(Some(thread)) => self.threads.push(thread),
                // The process is stopping.
                Ok(None) => return,
                Err(error) => {
                    // A thread that is done with another job may take it; the next would fail likewise.
                    lock(&self.shared.queue).ended(job, Some(self.shared.jobs.now()));
                    self.pause = Some((Instant::now(), self.shared.jobs.cannot_start(&error)));
                    return;
                }
            }
        }
    }

    /// Until when there is nothing to start and nobody to wait for, if jobs are left.
    pub fn idle_until(&self) -> Idle {
        let queue = lock(&self.shared.queue);
        match queue.running().next() {
            Some(_) => Idle::Busy,
            None => queue.first_due().map_or(Idle::Always, Idle::Until),
        }
    }

    /// Runs the jobs that are due in this thread, one after the other: for tests with a clock of their own.
    pub fn run_due(&self) {
        if let Some(job) = self.shared.begin() {
            self.shared.run_from(job);
        }
    }

    /// Signals every job to stop, and waits for it.
    pub fn stop(self) {
        self.shared.stop.raise();
        for thread in self.threads {
            // A panic at this point changes nothing for the next child.
            let _ = thread.join();
        }
    }
}

impl<J: Jobs> Shared<J> {
    /// The job that is next, if there is a place for one more.
    fn begin(&self) -> Option<usize> {
        if self.stop.is_raised() {
            return None;
        }
        let mut queue = lock(&self.queue);
        let now = self.jobs.now();
        let has_place = self.jobs.places(&mut queue.running(), now)?;
        queue.begin(now, has_place)
    }

    /// Runs this job, and then others that are due, until there is none.
    fn run_from(&self, job: usize) {
        let mut next = Some(job);
        while let Some(job) = next {
            let due = self.run(job);
            lock(&self.queue).ended(job, due);
            next = self.begin();
        }
    }

    fn run(&self, job: usize) -> Due {
        let guarded = |work: &dyn Fn() -> Due| catch_unwind(AssertUnwindSafe(work));
        let run = guarded(&|| self.jobs.run(job)).or_else(|_| guarded(&|| self.jobs.panicked(job)));
        run.unwrap_or_else(|_| Some(self.jobs.now().plus(DAY)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    /// Two at once; even ones are done after a run, odd ones panic and are due again later.
    #[derive(Default)]
    struct Numbers {
        ran: Mutex<Vec<usize>>,
        running: AtomicUsize,
        most: AtomicUsize,
        failed_starts: AtomicUsize,
    }

    impl Jobs for Numbers {
        const THREAD: &'static str = "test";

        fn now(&self) -> Timestamp {
            NOW
        }

        fn places(&self, running: &mut dyn Iterator<Item = usize>, _: Timestamp) -> Option<HasPlace<'_>> {
            (running.count() < 2).then(|| -> HasPlace<'_> { Box::new(|job| job != 9) })
        }

        fn run(&self, job: usize) -> Due {
            self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            lock(&self.ran).push(job);
            std::thread::yield_now();
            self.running.fetch_sub(1, Ordering::SeqCst);
            assert!(job.is_multiple_of(2), "injected for a test");
            None
        }

        fn panicked(&self, job: usize) -> Due {
            assert_ne!(job, 7, "injected for a test");
            Some(NOW.plus(Duration::from_secs(60)))
        }

        fn cannot_start(&self, _: &io::Error) -> Duration {
            self.failed_starts.fetch_add(1, Ordering::SeqCst);
            DAY
        }
    }

    fn pool() -> Pool<Numbers> {
        Pool::new(Arc::default(), (0..10).map(|_| Some(NOW)), StopFlag::default())
    }

    #[test]
    fn all_that_is_due_runs_once_within_the_limit_and_panics_are_errors() {
        let mut pool = pool();
        pool.start_due();
        assert!(pool.threads.len() <= 2);
        let jobs = pool.jobs().clone();
        while lock(&jobs.ran).len() < 9 || lock(&pool.shared.queue).running().next().is_some() {
            std::thread::yield_now();
            pool.start_due();
        }
        let mut ran = lock(&jobs.ran).clone();
        ran.sort_unstable();
        assert_eq!(ran, (0..9).collect::<Vec<_>>(), "one has no place");
        assert!(jobs.most.load(Ordering::SeqCst) <= 2);
        let due = |job: usize| lock(&pool.shared.queue).begin(NOW.plus(DAY), |next| next == job);
        assert_eq!([due(0), due(1), due(7)], [None, Some(1), Some(7)]);
        pool.stop();
    }

    #[test]
    fn after_a_stop_nothing_begins() {
        let mut pool = pool();
        let jobs = pool.jobs().clone();
        pool.shared.stop.raise();
        pool.start_due();
        pool.run_due();
        pool.stop();
        assert!(lock(&jobs.ran).is_empty());
    }

    #[test]
    fn where_no_thread_can_start_the_running_ones_do_all_and_report_it_once() {
        let mut pool = pool();
        let jobs = pool.jobs().clone();
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let waits = Mutex::new(Some(waits));
        // The first thread starts, and works once all others have failed to start.
        let spawn = |stop: &StopFlag, work: Work| match lock(&waits).take() {
            Some(waits) => stop.spawn("test", move || {
                let _ = waits.recv();
                work();
            }),
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        for _ in 0..3 {
            pool.start_due_by(spawn);
        }
        go_on.send(()).unwrap();
        for thread in pool.threads.drain(..) {
            thread.join().unwrap();
        }
        let mut ran = lock(&jobs.ran).clone();
        ran.sort_unstable();
        assert_eq!(ran, (0..9).collect::<Vec<_>>(), "one has no place");
        assert_eq!(jobs.failed_starts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_the_pause_that_follows_a_failed_start_jobs_start_again() {
        let mut pool = pool();
        pool.start_due_by(|_, _| Err(io::ErrorKind::WouldBlock.into()));
        pool.start_due();
        assert!(pool.threads.is_empty());
        pool.pause = Some((Instant::now(), Duration::ZERO));
        pool.start_due();
        assert!(!pool.threads.is_empty());
        pool.stop();
    }
}
