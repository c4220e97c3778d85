// SPDX-License-Identifier: Apache-2.0
//! Whose turn it is: of the jobs that are due and have a place, the one whose time came first. So what has to
//! be looked at once more queues up behind those that have not had their turn yet. Pure bookkeeping.

use super::check::Next;
use crate::time::Timestamp;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Timestamp),
    Running,
    /// Nothing to do before the configuration changes.
    Done,
}

impl From<Next> for State {
    fn from(next: Next) -> Self {
        match next {
            Next::At(at) => State::Waiting(at),
            Next::Never => State::Done,
        }
    }
}

/// The clock is believed to have been set back when it shows so much less than before.
const SET_BACK: Duration = Duration::from_secs(60);

/// Jobs by the index of their target.
pub struct Schedule {
    jobs: Vec<State>,
    latest: Timestamp,
}

impl Schedule {
    pub fn new(jobs: impl Iterator<Item = Next>) -> Self {
        Schedule { jobs: jobs.map(State::from).collect(), latest: Timestamp::default() }
    }

    /// Where the clock was set back, whatever was to happen by the wrong one is decided again.
    pub fn heed_clock(&mut self, now: Timestamp) {
        if now.plus(SET_BACK) < self.latest {
            for job in self.jobs.iter_mut().filter(|job| matches!(job, State::Waiting(_))) {
                *job = State::Waiting(now);
            }
        }
        self.latest = now;
    }

    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.jobs.iter().enumerate().filter(|(_, job)| **job == State::Running).map(|(index, _)| index)
    }

    /// The job whose turn it is, from now on running.
    pub fn begin(&mut self, now: Timestamp, has_place: impl Fn(usize) -> bool) -> Option<usize> {
        let mut first: Option<(Timestamp, usize)> = None;
        for (index, job) in self.jobs.iter().enumerate() {
            if let State::Waiting(at) = job
                && *at <= now
                && first.is_none_or(|(sooner, _)| *at < sooner)
                && has_place(index)
            {
                first = Some((*at, index));
            }
        }
        let (_, index) = first?;
        *self.jobs.get_mut(index)? = State::Running;
        Some(index)
    }

    /// A job that was running is to be looked at again then.
    pub fn ended(&mut self, index: usize, next: Next) {
        if let Some(job) = self.jobs.get_mut(index) {
            *job = next.into();
        }
    }

    /// Something is new about a job: it is due, unless it is under way.
    pub fn look_at(&mut self, index: usize, now: Timestamp) {
        if let Some(job @ (State::Waiting(_) | State::Done)) = self.jobs.get_mut(index) {
            *job = State::Waiting(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn schedule(times: &[i64]) -> Schedule {
        Schedule::new(times.iter().map(|t| if *t < 0 { Next::Never } else { Next::At(at(*t)) }))
    }

    fn all_due(schedule: &mut Schedule, now: i64) -> Vec<usize> {
        std::iter::from_fn(|| schedule.begin(at(now), |_| true)).collect()
    }

    #[test]
    fn jobs_have_their_turn_in_the_order_of_their_times() {
        let mut jobs = schedule(&[30, 10, -1, 20, 10, 99]);
        assert_eq!(all_due(&mut jobs, 30), [1, 4, 3, 0]);
        assert_eq!(jobs.running().collect::<Vec<_>>(), [0, 1, 3, 4]);
        // One that is to be looked at again at once comes after those that wait longer.
        jobs.ended(1, Next::At(at(100)));
        jobs.ended(4, Next::Never);
        assert_eq!(all_due(&mut jobs, 100), [5, 1]);
    }

    #[test]
    fn a_job_without_a_place_is_passed_over_and_keeps_its_turn() {
        let mut jobs = schedule(&[10, 20, 30]);
        assert_eq!(jobs.begin(at(50), |index| index > 0), Some(1));
        assert_eq!(jobs.begin(at(50), |_| false), None);
        assert_eq!(all_due(&mut jobs, 50), [0, 2]);
    }

    #[test]
    fn news_make_a_job_due_unless_it_is_running() {
        let mut jobs = schedule(&[-1, 500, 10, -1]);
        assert_eq!(all_due(&mut jobs, 10), [2]);
        [0, 1, 2, 77].into_iter().for_each(|index| jobs.look_at(index, at(20)));
        assert_eq!(all_due(&mut jobs, 20), [0, 1]);
    }

    #[test]
    fn a_clock_set_back_makes_what_waits_due() {
        let mut jobs = schedule(&[2000, 1001, -1]);
        jobs.heed_clock(at(1000));
        jobs.heed_clock(at(990));
        assert!(all_due(&mut jobs, 990).is_empty(), "so little is no other clock");
        jobs.heed_clock(at(100));
        assert_eq!(all_due(&mut jobs, 100), [0, 1]);
    }
}
