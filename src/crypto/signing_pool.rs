// SPDX-License-Identifier: Apache-2.0
//! The threads that sign requests: few, at low priority, so that signatures do not slow down requests. They
//! are separate threads because a thread cannot raise its priority again, and commands inherit it. They start
//! with the first signature and end after an idle time; each counts as busy until it ends, so that the
//! shutdown of a child waits for it.
//!
//! Runs in children only (docs/unsafe.md): the renewing child makes the pool and joins it when it stops.

use super::places::Places;
use crate::sync::lock;
use crate::time::StopFlag;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread that waits for work may miss that the process is stopping.
const LOOK: Duration = Duration::from_millis(50);
/// After this time without work a thread ends.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// At this nice level a thread has a tenth of the CPU time of others, if all are busy.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Of the calling thread, for good.
pub(super) fn lower_priority() {
    // Elsewhere it would be that of the whole process. Where it is refused, nothing is lost.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|own| own < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}

type Work = Box<dyn FnOnce() + Send>;

pub(super) struct SigningPool {
    shared: Arc<Shared>,
    /// Threads at the most.
    limit: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is work, or an end to it.
    changed: Condvar,
    /// Shared with computations outside of this pool.
    places: Arc<Places>,
    stop: StopFlag,
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl SigningPool {
    /// At least one thread; none begins before there is work.
    pub fn new(places: Arc<Places>, limit: usize, stop: StopFlag) -> Self {
        let (queue, changed) = Default::default();
        let shared = Arc::new(Shared { queue, changed, places, stop });
        SigningPool { shared, limit: limit.max(1), threads: Mutex::default() }
    }

    /// Has a thread of the pool do `work`, and waits for it. `None`: the process is stopping.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        let (done, result) = sync_channel::<Result<R, Box<dyn Any + Send>>>(1);
        let work = move || {
            // A panic is passed on to the waiting caller.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        };
        self.submit(Box::new(work));
        // A job that is dropped unfinished ends the wait.
        result.recv().ok().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn submit(&self, work: Work) {
        let mut queue = lock(&self.shared.queue);
        if self.shared.stop.is_raised() || queue.is_closed {
            return;
        }
        queue.work.push_back(work);
        if queue.work.len() <= queue.idle || queue.threads >= self.limit {
            self.shared.changed.notify_one();
            return;
        }
        let shared = self.shared.clone();
        match self.shared.stop.spawn("md-sign", move || shared.work()) {
            Ok(Some(thread)) => {
                queue.threads += 1;
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            // The process is stopping.
            Ok(None) => queue.work.clear(),
            // Where there cannot be another thread.
            Err(_) if queue.threads == 0 => {
                let all = std::mem::take(&mut queue.work);
                drop(queue);
                all.into_iter().for_each(|work| self.shared.places.pass(work));
            }
            Err(_) => self.shared.changed.notify_one(),
        }
    }
}

impl Drop for SigningPool {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.changed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        lower_priority();
        while let Some(work) = self.next() {
            self.places.pass(work);
        }
    }

    /// The next to do; `None` ends the thread, which no longer counts then.
    fn next(&self) -> Option<Work> {
        let begin = Instant::now();
        let mut queue = lock(&self.queue);
        loop {
            if self.stop.is_raised() || queue.is_closed {
                // Their waiters receive the error.
                queue.work.clear();
                break;
            }
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            if begin.elapsed() >= IDLE_MAX {
                break;
            }
            queue.idle += 1;
            queue = self.changed.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            queue.idle -= 1;
        }
        queue.threads -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn pool(limit: usize, stop: &StopFlag) -> SigningPool {
        SigningPool::new(Arc::new(Places::new(limit)), limit, stop.clone())
    }

    #[test]
    fn no_more_threads_sign_than_the_limit_and_all_signatures_are_made() {
        let (stop, inside, most) = (StopFlag::default(), Arc::default(), Arc::default());
        let pool = pool(2, &stop);
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let (inside, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
                            (Arc::clone(&inside), Arc::clone(&most));
                        let work = move || {
                            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        };
                        done.fetch_add(usize::from(pool.run(work).is_some()), Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!(most <= 2, "{most} at once");
        assert_eq!(done.into_inner(), 160);
        assert!(lock(&pool.shared.queue).threads <= 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn signatures_have_a_lower_priority_and_who_waits_for_them_keeps_its_own() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let own = nice();
        let behind = pool(1, &StopFlag::default()).run(nice);
        assert_eq!((behind, nice()), (Some(own.max(NICE)), own));
    }

    #[test]
    fn a_stop_ends_waits_for_signatures_and_the_threads() {
        let stop = StopFlag::default();
        let pool = pool(1, &stop);
        let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        thread::scope(|scope| {
            let (mine, mine_too) = (begun.clone(), go_on.clone());
            let under_way = scope.spawn(|| {
                pool.run(move || {
                    mine.wait();
                    mine_too.wait();
                    7
                })
            });
            begun.wait();
            let waits = [(); 4].map(|()| scope.spawn(|| pool.run(|| panic!("begun"))));
            stop.raise();
            go_on.wait();
            assert_eq!(under_way.join().unwrap(), Some(7), "what has begun is done");
            waits.into_iter().for_each(|wait| assert_eq!(wait.join().unwrap(), None::<()>));
        });
        assert!(stop.wait_for_all(Duration::from_secs(60)), "its thread has ended");
        assert_eq!(pool.run(|| 7), None);
    }

    #[test]
    fn threads_end_with_the_pool() {
        let stop = StopFlag::default();
        let pool = pool(2, &stop);
        assert_eq!(pool.run(|| 7), Some(7));
        assert!(!stop.is_quiet(), "one waits for more");
        drop(pool);
        assert!(stop.is_quiet());
    }

    #[test]
    fn a_panic_reaches_the_caller_that_waits_and_the_thread_goes_on() {
        let pool = pool(1, &StopFlag::default());
        for _ in 0..3 {
            assert!(catch_unwind(AssertUnwindSafe(|| pool.run(|| panic!("inside")))).is_err());
        }
        assert_eq!(pool.run(|| 7), Some(7));
        assert_eq!(lock(&pool.threads).len(), 1);
    }
}
