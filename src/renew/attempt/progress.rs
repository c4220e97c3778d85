// SPDX-License-Identifier: Apache-2.0
//! A running job: its state in memory and the job.json behind it. Every step worth keeping is saved, because
//! the process may die at any moment and another continues from what is on disk. Progress that is only shown
//! does not wait for the disk: a power failure may lose it, and restart the job's count of errors from zero.
//! If the disk refuses, the process continues with the state in memory. Orders, keys and chains have files of
//! their own. Steps in quick succession are written together, because new files are the largest cost of a
//! renewal.

use crate::managed::Managed;
use crate::managed::requests::Requests;
use crate::managed::save_error::SaveError;
use crate::managed::staging::Staging;
use crate::model::job::{Job, Outcome, PendingNotice};
use crate::model::{Renew, RequestState};
use crate::notify::{self, Commands, Event};
use crate::renew::decide::error::Error;
use crate::renew::decide::retry;
use crate::store::WorkStore;
use crate::time::{Clock, Timestamp};
use std::time::Duration;

pub struct Running<'a> {
    pub job: Job,
    /// This look has made the set complete.
    pub has_new_set: bool,
    store: &'a WorkStore,
    /// The same store, for progress that is only shown.
    progress: WorkStore,
    clock: &'a dyn Clock,
    save_error: SaveError,
    requests: Requests,
    /// This look continues an order that the CA is at work on: its steps are not reported until the CA is
    /// done.
    is_quiet: bool,
    /// When progress was last written, or this look began.
    shown: Timestamp,
    /// The job as last written.
    written: Option<Job>,
    /// Later changes could not be written.
    is_unsaved: bool,
    /// The log says so.
    is_reported: bool,
}

/// Progress is written so often at most, and before everything that takes as long.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

impl<'a> Running<'a> {
    /// Takes up the job of `target` where its file left it, or where this process did, if it could not write
    /// that. Garbage is reported, and the renewal begins again.
    pub fn load(target: &Managed, store: &'a WorkStore, clock: &'a dyn Clock) -> Self {
        let name = &target.md.name;
        let save_error = target.save_error.take();
        let is_unsaved = save_error.is_some();
        let stored = || {
            Staging::new(store, name).job().unwrap_or_else(|error| {
                crate::log!(
                    Warn,
                    "md[{name}]: the state of its renewal cannot be read, so the renewal begins again: {}",
                    error.advised()
                );
                None
            })
        };
        let written = if is_unsaved { None } else { stored() };
        let job = save_error.or_else(|| written.clone());
        let mut running = Running {
            is_quiet: job.as_ref().is_some_and(|job| job.waiting.is_some()),
            job: job.unwrap_or_else(|| Job::new(name)),
            has_new_set: false,
            store,
            progress: store.unsynced(),
            clock,
            save_error: target.save_error.clone(),
            requests: target.requests.clone(),
            shown: clock.now(),
            written,
            is_unsaved,
            is_reported: is_unsaved,
        };
        running.take_request();
        if is_unsaved && running.save().is_ok() {
            crate::log!(Notice, "md[{name}]: the state of its renewal can be saved again");
        }
        running
    }

    /// Takes over what operators have asked for.
    fn take_request(&mut self) {
        let mut held = self.requests.hold();
        held.know(&self.job);
        held.take();
        // A look at the domain is what begins now.
        if let Some(requested) = held.get_mut().filter(|requested| requested.renew.is_none())
            && requested.answer.state == RequestState::Accepted
        {
            requested.answer(RequestState::Running, None, self.clock.now());
        }
        self.job.request = held.get().cloned();
    }

    /// How to renew, where an operator has asked for it and that is not over.
    pub fn renewal(&self) -> Option<Renew> {
        self.requests.hold().renewal().cloned()
    }

    /// Whether the renewal that an operator has asked for has begun.
    pub fn has_begun_request(&self) -> bool {
        let held = self.requests.hold();
        held.renewal().is_some() && held.get().is_some_and(|r| r.answer.state == RequestState::Running)
    }

    /// Whether an operator wants new keys in place of those that are staged.
    pub fn replaces_staged(&self) -> bool {
        !self.has_begun_request() && self.renewal().is_some_and(|renew| renew.new_key)
    }

    /// Notes how far the renewal has come that an operator has asked for, if any.
    pub fn answer(&mut self, state: RequestState, detail: Option<String>) {
        let mut held = self.requests.hold();
        if let Some(requested) = held.get_mut().filter(|requested| requested.renewal().is_some()) {
            requested.answer(state, detail, self.clock.now());
        }
        self.job.request = held.get().cloned();
    }

    /// The renewal begins with new keys, once.
    pub fn has_new_keys(&mut self) {
        let mut held = self.requests.hold();
        if let Some(renew) = held.get_mut().and_then(|requested| requested.renew.as_mut()) {
            // It stays one that is made although not due.
            (renew.force, renew.new_key) = (true, false);
        }
        self.job.request = held.get().cloned();
    }

    /// Answers a request to look at the domain, which has been done now, and writes all answers.
    pub fn end_look(&mut self, detail: &str) {
        {
            let mut held = self.requests.hold();
            if let Some(requested) = held.get_mut().filter(|requested| requested.renew.is_none())
                && requested.answer.state == RequestState::Running
            {
                requested.answer(RequestState::Done, Some(detail.into()), self.clock.now());
            }
            self.job.request = held.get().cloned();
        }
        let written = self.written.as_ref().and_then(|job| job.request.as_ref());
        if self.job.request.as_ref() != written
            && let Err(error) = self.show()
        {
            self.report_unsaved(&error);
        }
    }

    /// Notes the activity that begins now.
    pub fn step(&mut self, activity: impl Into<String>) -> Result<(), Error> {
        let activity = activity.into();
        crate::log!(Debug, "md[{}] while[{activity}]", self.job.name);
        if self.is_quiet {
            return Ok(());
        }
        self.job.note(self.clock.now(), "progress", None, Some(activity.clone()));
        self.job.last = Outcome { activity: Some(activity), ..Outcome::default() };
        self.progressed()
    }

    /// The CA is not done yet with the step that the job waits for.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Ends the wait for the CA: the step that the job has waited for has a result.
    pub fn end_wait(&mut self) {
        self.is_quiet = false;
        self.job.waiting = None;
    }

    /// Adds a remark about the step under way.
    pub fn remark(&mut self, detail: &str) -> Result<(), Error> {
        let activity = self.job.last.activity.as_deref().unwrap_or_default();
        let text = format!("{activity}: {detail}");
        crate::log!(Debug, "md[{}] while[{activity}] detail[{detail}]", self.job.name);
        if self.is_quiet {
            return Ok(());
        }
        self.job.note(self.clock.now(), "progress", None, Some(text));
        self.progressed()
    }

    /// Fires `event`. That is on disk before a command runs, which may reload httpd.
    pub fn fire(&mut self, commands: &Commands, event: &Event) -> Result<(), notify::Failed> {
        if !commands.begin(event, &mut self.job, self.clock)? {
            return Ok(());
        }
        if commands.message.is_some() {
            self.show_call();
        }
        let outcome = commands.call(event, &mut self.job, self.clock);
        self.job.calling = false;
        outcome
    }

    /// Calls `MDNotifyCmd`, likewise.
    pub fn notify(&mut self, commands: &Commands) -> Result<(), notify::Failed> {
        let is_called = commands.begin_notify(&self.job, self.clock)?;
        *self.job.notified_flags().0 = true;
        if is_called {
            self.show_call();
        }
        let outcome = commands.notify(&mut self.job, self.clock);
        self.job.calling = false;
        *self.job.notified_flags().0 = outcome.is_ok();
        outcome
    }

    /// Whether a process before this one has noted a call without its outcome. True only once.
    pub fn takes_over_call(&mut self) -> bool {
        std::mem::take(&mut self.job.calling)
    }

    fn show_call(&mut self) {
        self.job.calling = true;
        if let Err(error) = self.show() {
            crate::log!(Warn, "md[{}]: cannot note the call of a command: {error}", self.job.name);
        }
    }

    fn progressed(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        // A clock that was set back does not keep the job from being seen.
        if self.shown <= now && now.since(self.shown) < SHOWN_EVERY { Ok(()) } else { self.show() }
    }

    /// Writes all progress so far to disk, where no more follows for that long.
    pub fn show_before(&mut self, wait: Duration) -> Result<(), Error> {
        if wait < SHOWN_EVERY { Ok(()) } else { self.show() }
    }

    /// Writes all progress so far to the file, because the next step may take long.
    pub fn show(&mut self) -> Result<(), Error> {
        self.write(&self.progress.clone())?;
        self.shown = self.clock.now();
        Ok(())
    }

    /// Writes all progress so far to the disk.
    pub fn save(&mut self) -> Result<(), Error> {
        self.write(self.store)
    }

    /// Whether another process has renewed since the job was read or written here.
    pub fn is_outdated(&self) -> bool {
        // As far as a file holds them exactly.
        let state = |job: &Job| (job.finished, job.errors, job.last_run.map(Timestamp::unix));
        let found = || Staging::new(self.store, &self.job.name).job();
        !self.is_unsaved
            && found().is_ok_and(|found| found.as_ref().map(state) != self.written.as_ref().map(state))
    }

    /// Whether only memory has all that happened.
    pub fn is_unsaved(&self) -> bool {
        self.is_unsaved
    }

    /// Logs once that the state cannot be saved, until it can.
    pub fn report_unsaved(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.is_reported, true) {
            let text = match error {
                Error::Store(error) => error.advised(),
                other => other.to_string(),
            };
            crate::log!(
                Error,
                "md[{}]: the state of its renewal cannot be saved; it stays in memory until it can: {text}",
                self.job.name
            );
        }
    }

    /// The job to write instead of a finished one whose set a start has put into use meanwhile, if any: the
    /// job that is there now, with the notifications on the set since.
    fn handed_over(&self, staging: &Staging<'_>) -> Option<Option<Job>> {
        let was_finished = self.job.finished && self.written.as_ref().is_some_and(|job| job.finished);
        if !was_finished || staging.has_chain() {
            return None;
        }
        let found = staging.job().ok()?;
        if found.as_ref().is_some_and(|job| job.finished) {
            return None;
        }
        let before = found.as_ref().and_then(|job| job.pending_notice.clone());
        let pending_notice = self.job.notices_due().map(|due| {
            let PendingNotice { notified, notified_renewed, .. } = due;
            PendingNotice { notified, notified_renewed, ..before.clone().unwrap_or_default() }
        });
        Some(
            (pending_notice != before)
                .then(|| Job { pending_notice, ..found.unwrap_or_else(|| Job::new(&self.job.name)) }),
        )
    }

    /// Writes the job of a set. A start that takes the set away just before that has read what was there before: what
    /// was notified since is handed over.
    fn write_beside_set(&self, staging: &Staging<'_>) -> Result<(), crate::store::Error> {
        staging.save_job(&self.job)?;
        if staging.has_chain() || !staging.job()?.is_some_and(|job| job.finished) {
            return Ok(());
        }
        let job = Job { pending_notice: self.job.notices_due(), ..self.job.clone() };
        let left = retry::of_the_next_start(&job, self.clock.now());
        staging.save_job(&left.unwrap_or_else(|| Job::new(&self.job.name)))
    }

    fn write(&mut self, store: &WorkStore) -> Result<(), Error> {
        let requests = self.requests.clone();
        let held = requests.hold();
        self.job.request = held.get().cloned();
        let is_there = self.written.as_ref() == Some(&self.job);
        let staging = Staging::new(store, &self.job.name);
        let outcome = match self.handed_over(&staging) {
            _ if is_there => Ok(()),
            Some(job) => {
                job.map_or(Ok(()), |job| staging.save_job(&Job { request: self.job.request.clone(), ..job }))
            }
            None if self.job.finished && staging.has_chain() => self.write_beside_set(&staging),
            None => staging.save_job(&self.job),
        };
        self.save_error.note(&self.job, &outcome);
        self.is_unsaved = outcome.is_err();
        self.is_reported &= self.is_unsaved;
        outcome?;
        if !is_there {
            self.written = Some(self.job.clone());
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let job = self.is_unsaved.then(|| std::mem::take(&mut self.job));
        self.save_error.keep(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fixture::{Lab, md};
    use crate::time::SystemClock;

    #[test]
    fn a_finished_job_that_is_written_when_its_set_is_in_use_hands_over() {
        for (notified_renewed, is_taken, expected) in
            [(false, true, Some(false)), (true, true, None), (false, false, None)]
        {
            let (lab, a) = (Lab::new(), md(&["a.test"]));
            lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            let (store, clock) = (lab.store.worker(), SystemClock::default());
            let target = Managed { md: a, ..Managed::default() };
            let mut running = Running::load(&target, &store, &clock);
            (running.job.notified, running.job.notified_renewed) = (true, notified_renewed);
            running.job.note(clock.now(), "message-renewing", None, None);
            let staging = Staging::new(&store, "a.test");
            if is_taken {
                crate::managed::staging::purge(&lab.store, "a.test").unwrap();
            }
            running.write_beside_set(&staging).unwrap();
            let found = staging.job().unwrap().unwrap();
            assert_eq!(found.finished, !is_taken);
            assert!(found.latest("message-renewing").is_some(), "what limits events stays");
            assert_eq!(found.pending_notice.map(|due| due.notified_renewed), expected);
        }
    }

    #[test]
    fn a_finished_job_that_a_start_has_handed_over_stays_as_the_start_left_it() {
        let pending_notice = |notified, notified_renewed| {
            Some(PendingNotice { notified, notified_renewed, ..PendingNotice::default() })
        };
        for (handed_over, told, expected) in [
            (None, (true, true), None),
            (None, (true, false), pending_notice(true, false)),
            (pending_notice(false, false), (true, true), None),
            (pending_notice(true, false), (false, false), pending_notice(false, false)),
            (pending_notice(true, true), (true, false), pending_notice(true, false)),
        ] {
            let (lab, a) = (Lab::new(), md(&["a.test"]));
            lab.stage(&a, &lab.set(&["a.test"], &a.keys()[0]));
            let (store, clock) = (lab.store.worker(), SystemClock::default());
            let target = Managed { md: a, ..Managed::default() };
            let mut running = Running::load(&target, &store, &clock);
            crate::managed::staging::purge(&lab.store, "a.test").unwrap();
            if handed_over.is_some() {
                let job = Job { pending_notice: handed_over.clone(), ..Job::new("a.test") };
                Staging::new(&store, "a.test").save_job(&job).unwrap();
            }
            (running.job.notified, running.job.notified_renewed) = told;
            running.job.errors = 1;
            running.save().unwrap();
            let found = Staging::new(&store, "a.test").job().unwrap();
            assert_eq!(found.is_some(), handed_over.is_some() || expected.is_some());
            let found = found.unwrap_or_default();
            assert_eq!(
                (found.finished, found.errors, &found.pending_notice),
                (false, 0, &expected),
                "{handed_over:?} {told:?}"
            );
        }
    }
}
