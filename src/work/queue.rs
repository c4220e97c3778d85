// SPDX-License-Identifier: Apache-2.0
//! Chooses the next job: of those that are due and have a place, the one that was due first. A job that is
//! due again therefore queues behind those that have not run yet. Pure bookkeeping.

use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Timestamp),
    Running,
    /// Nothing to do before something changes.
    Done,
}

/// When a job is due again, if ever by itself.
pub type Due = Option<Timestamp>;

fn state(due: Due) -> State {
    due.map_or(State::Done, State::Waiting)
}

/// The clock is believed to have been set back when it shows so much less than before.
const SET_BACK: Duration = Duration::from_secs(60);

/// Jobs by their index. Of ten thousand that wait, a look touches those that are due.
#[derive(Default)]
pub struct Queue {
    jobs: Vec<State>,
    /// The same jobs by their state.
    waiting: BTreeSet<(Timestamp, usize)>,
    running: BTreeSet<usize>,
    latest: Timestamp,
}

impl Queue {
    pub fn new(jobs: impl Iterator<Item = Due>) -> Self {
        let mut queue = Queue::default();
        for due in jobs {
            queue.add(due);
        }
        queue
    }

    /// Adds a job, which gets the next index.
    pub fn add(&mut self, due: Due) -> usize {
        let index = self.jobs.len();
        self.jobs.push(State::Done);
        self.set(index, state(due));
        index
    }

    /// Where the clock was set back, all jobs that wait by the wrong one are due.
    pub fn follow_clock(&mut self, now: Timestamp) {
        if now.plus(SET_BACK) < self.latest {
            let waiting: Vec<usize> = self.waiting.iter().map(|(_, index)| *index).collect();
            waiting.into_iter().for_each(|index| self.set(index, State::Waiting(now)));
        }
        self.latest = now;
    }

    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.running.iter().copied()
    }

    /// When a job is due, of those that do not run.
    pub fn first_due(&self) -> Due {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The job that is next, from now on running.
    pub fn begin(&mut self, now: Timestamp, has_place: impl Fn(usize) -> bool) -> Option<usize> {
        let mut due = self.waiting.range(..=(now, usize::MAX)).map(|(_, index)| *index);
        let index = due.find(|index| has_place(*index))?;
        self.set(index, State::Running);
        Some(index)
    }

    /// A job has run and is due again then.
    pub fn ended(&mut self, index: usize, due: Due) {
        self.set(index, state(due));
    }

    /// Makes a job due. `false`: it is running.
    pub fn wake(&mut self, index: usize, now: Timestamp) -> bool {
        let is_running = self.running.contains(&index);
        if !is_running {
            self.set(index, State::Waiting(now));
        }
        !is_running
    }

    fn set(&mut self, index: usize, state: State) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        match std::mem::replace(job, state) {
            State::Waiting(at) => drop(self.waiting.remove(&(at, index))),
            State::Running => drop(self.running.remove(&index)),
            State::Done => {}
        }
        match state {
            State::Waiting(at) => drop(self.waiting.insert((at, index))),
            State::Running => drop(self.running.insert(index)),
            State::Done => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn queue(times: &[i64]) -> Queue {
        Queue::new(times.iter().map(|t| (*t >= 0).then(|| at(*t))))
    }

    fn all_due(queue: &mut Queue, now: i64) -> Vec<usize> {
        std::iter::from_fn(|| queue.begin(at(now), |_| true)).collect()
    }

    #[test]
    fn jobs_run_in_the_order_of_their_times() {
        let mut jobs = queue(&[30, 10, -1, 20, 10, 99]);
        assert_eq!(all_due(&mut jobs, 30), [1, 4, 3, 0]);
        assert_eq!(jobs.running().collect::<Vec<_>>(), [0, 1, 3, 4]);
        // One that is due again at once comes after those that wait longer.
        jobs.ended(1, Some(at(100)));
        jobs.ended(4, None);
        assert_eq!(all_due(&mut jobs, 100), [5, 1]);
    }

    #[test]
    fn a_job_without_a_place_is_passed_over_and_keeps_its_turn() {
        let mut jobs = queue(&[10, 20, 30]);
        assert_eq!(jobs.begin(at(50), |index| index > 0), Some(1));
        assert_eq!(jobs.begin(at(50), |_| false), None);
        assert_eq!(all_due(&mut jobs, 50), [0, 2]);
    }

    #[test]
    fn a_job_that_is_woken_is_due_unless_it_is_running() {
        let mut jobs = queue(&[-1, 500, 10, -1]);
        assert_eq!(all_due(&mut jobs, 10), [2]);
        for index in [0, 1, 2, 77] {
            jobs.wake(index, at(20));
        }
        assert_eq!(all_due(&mut jobs, 20), [0, 1]);
    }

    #[test]
    fn a_clock_set_back_makes_what_waits_due() {
        let mut jobs = queue(&[2000, 1001, -1]);
        jobs.follow_clock(at(1000));
        jobs.follow_clock(at(990));
        assert!(all_due(&mut jobs, 990).is_empty(), "so little is no other clock");
        jobs.follow_clock(at(100));
        assert_eq!(all_due(&mut jobs, 100), [0, 1]);
    }
}
