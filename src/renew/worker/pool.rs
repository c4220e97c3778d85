// SPDX-License-Identifier: Apache-2.0
//! Renewals as jobs of a [`Pool`]: as many run at once as there are [`Slots`], and the events that make one
//! due.

use super::check;
use super::limits::Slots;
use super::neighbour::Neighbour;
use super::requests::Requests;
use crate::managed::Managed;
use crate::renew::attempt::context::{Context, Pause};
use crate::time::{StopFlag, Timestamp};
use crate::work::pool::{HasPlace, Jobs, Pool};
use crate::work::queue::Due;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// For how long no thread is started after one could not be.
const NO_THREAD: Duration = Duration::from_secs(30);

pub struct Driver {
    pool: Pool<Context>,
    requests: Requests,
    neighbour: Option<Neighbour>,
    /// The domains about which other nodes have something new, by index, until their jobs have ended.
    news: Vec<usize>,
}

impl Driver {
    /// Every job is looked at `MDInitialDelay` from now.
    /// `stop` is the flag that the context's clock and transports follow.
    pub fn new(context: Arc<Context>, stop: StopFlag) -> Self {
        let first = context.clock.now().plus(context.settings.initial_delay);
        let due: Vec<Due> = context.targets.iter().map(|target| target.watched.then_some(first)).collect();
        let requests = Requests::new(&context.targets);
        Driver {
            pool: Pool::new(context, due.into_iter(), stop),
            requests,
            neighbour: None,
            news: Vec::new(),
        }
    }

    /// Looks for another httpd that renews in the store as well.
    #[must_use]
    pub fn beside(self, neighbour: Neighbour) -> Self {
        Driver { neighbour: Some(neighbour), ..self }
    }

    /// Starts the renewals that are due and have a place.
    pub fn beat(&mut self) {
        let now = self.pool.jobs().clock.now();
        self.pool.follow_clock(now);
        if let Some(neighbour) = &mut self.neighbour {
            neighbour.look(now);
        }
        for index in self.requests.look(&self.pool.jobs().clone(), now) {
            self.look_at(index);
        }
        self.take_news();
        self.pool.start_due();
    }

    fn take_news(&mut self) {
        let context = self.pool.jobs().clone();
        let Some(peers) = context.peers() else { return };
        let news: HashSet<String> = peers.take_news().into_iter().collect();
        // After a resync that may be all domains.
        if !news.is_empty() {
            let is_new = |target: &Managed| target.watched && news.contains(&target.md.name);
            let targets = context.targets.iter().enumerate();
            self.news.extend(targets.filter(|(_, target)| is_new(target)).map(|(index, _)| index));
        }
        self.news.retain(|index| !self.pool.wake(*index));
    }

    /// Something is new about the MD of this index: it is looked at by the next beat, unless that is under
    /// way.
    pub fn look_at(&mut self, index: usize) {
        if self.pool.jobs().targets.get(index).is_some_and(|target| target.watched) {
            self.pool.wake(index);
        }
    }

    /// For how long the next beat can wait: not longer than `longest`, and as short as `shortest` while jobs
    /// run or other nodes may have news.
    pub fn pause(&self, shortest: Duration, longest: Duration) -> Duration {
        let jobs = self.pool.jobs();
        match jobs.peers() {
            Some(_) => shortest,
            None if !self.requests.is_idle() => shortest,
            None => self.pool.idle_until().pause(jobs.clock.now(), shortest, longest),
        }
    }

    /// Makes every job stop where it is and waits for it; its progress is on disk.
    pub fn stop(self) {
        self.pool.stop();
    }
}

impl Jobs for Context {
    const THREAD: &'static str = "md-renew";

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn places(&self, running: &mut dyn Iterator<Item = usize>, _now: Timestamp) -> Option<HasPlace<'_>> {
        let mut places = Slots::new(self.settings.parallel);
        for index in running {
            match self.pause_of(index) {
                Some(Pause::Rest) => places.take_resting(),
                Some(Pause::Command) => places.take_in_command(),
                None => drop(places.take(&self.ca_of(index))),
            }
        }
        (!places.is_full())
            .then(|| -> HasPlace<'_> { Box::new(move |index| places.has_one(&self.ca_of(index))) })
    }

    fn beginning(&self) {
        let count = self.targets.iter().filter(|target| target.watched).count();
        crate::log!(Debug, "AH10055: md watchdog run, auto drive {count} mds");
    }

    fn run(&self, index: usize) -> Due {
        check::run(self, index).due()
    }

    fn panicked(&self, index: usize) -> Due {
        check::record_panic(self, index).due()
    }

    fn cannot_start(&self, error: &io::Error) -> Duration {
        crate::log!(
            Error,
            status = error.raw_os_error().unwrap_or(0),
            "a renewal cannot start its thread and is tried again in 30 seconds: {}. Raise the limit of threads (ulimit -u, \
             TasksMax of the service).",
            crate::log::plain(error)
        );
        NO_THREAD
    }
}
