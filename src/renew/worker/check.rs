// SPDX-License-Identifier: Apache-2.0
//! One look at one managed domain: is a renewal due, then do it, and say when to look again.

use super::ari_refresh;
use super::failure::{stored_holds, stored_orders};
use super::go_live::earlier;
use super::limits::Pause;
use crate::crypto::CertInfo;
use crate::managed::Managed;
use crate::managed::certificates::assess;
use crate::managed::live_set::{Hosts, Workers};
use crate::managed::staging::Staging;
use crate::metrics::Tally;
use crate::model::ledger::Cause;
use crate::model::{Job, Outcome};
use crate::notify::Event;
use crate::ocsp::Cache;
use crate::ocsp::cache::is_revoked;
use crate::renew::attempt::ca_pool::Authorities;
use crate::renew::attempt::issue::Progress;
use crate::renew::attempt::progress::Running;
use crate::renew::attempt::settings::Settings;
use crate::renew::attempt::{challenges, issue};
use crate::renew::decide::activation;
use crate::renew::decide::ari;
use crate::renew::decide::due;
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::failover::{CaChoice, choose_within_demands};
use crate::renew::decide::order_queue::OrderQueue;
use crate::renew::decide::rate_limits::RateLimits;
use crate::renew::decide::retry;
use crate::renew::decide::urgency::pressure;
use crate::store::WorkStore;
use crate::sync::lock;
use crate::time::{Clock, Stopped, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long after a renewal the new certificate is looked at.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// How often to look whether a job that could not be saved can be.
const UNSAVED: Duration = Duration::from_secs(30);

/// In so long a child that ends has noted all.
const END_OF_OTHERS: Duration = Duration::from_secs(1);

/// When to look at a job again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    Never,
}

impl Next {
    fn or_sooner(self, other: Option<Timestamp>) -> Self {
        match (self, other) {
            (Next::At(at), Some(other)) => Next::At(at.min(other)),
            (Next::Never, Some(other)) => Next::At(other),
            (next, None) => next,
        }
    }
}

/// Everything a renewal needs, shared by all jobs of the child.
pub struct Engine {
    targets: Arc<[Managed]>,
    store: WorkStore,
    settings: Settings,
    authorities: Authorities,
    clock: Arc<dyn Clock>,
    /// A number in 0..1 for jitter.
    random: fn() -> f64,
    /// CAs that want no requests for a while.
    holds: Mutex<RateLimits>,
    /// Whose turn it is to place orders, where CAs limit them.
    queue: Mutex<OrderQueue>,
    /// The CA that a target asks, where it is not the first one.
    asked: Mutex<HashMap<usize, String>>,
    /// Until when MDs wait, as this process has told.
    waits: Mutex<HashMap<String, Timestamp>>,
    /// MDs of which a process before this one may still note what came of a call.
    called: Mutex<HashSet<String>>,
    /// What renewals share to answer challenges.
    answering: challenges::Answering,
    /// What renewals wait for, by the names of their MDs.
    pauses: Mutex<HashMap<String, Pause>>,
    /// Who is to serve a new set at once, and `MDActivationDelay`; without, it is for the next restart.
    live: Option<(Arc<dyn Workers>, Duration)>,
    /// Who knows whether hosts take a new set.
    hosts: Option<Arc<dyn Hosts>>,
    tally: Tally,
    /// Where revocations show.
    revocations: Option<Arc<Cache>>,
}

impl Engine {
    pub fn new(
        targets: Arc<[Managed]>,
        store: WorkStore,
        settings: Settings,
        authorities: Authorities,
        clock: Arc<dyn Clock>,
        random: fn() -> f64,
    ) -> Self {
        let holds = Mutex::new(stored_holds(&targets, &store, clock.now()));
        let queue = Mutex::new(stored_orders(&targets, &store, clock.now()));
        let (asked, waits, called, answering, pauses) = Default::default();
        let (live, hosts, tally, revocations) = (None, None, Tally::default(), None);
        Engine {
            targets,
            store,
            settings,
            authorities,
            clock,
            random,
            holds,
            queue,
            asked,
            waits,
            called,
            answering,
            pauses,
            live,
            hosts,
            tally,
            revocations,
        }
    }

    /// With `MDLiveActivation on`. `delay` is `MDActivationDelay`.
    #[must_use]
    pub fn with_live_activation(self, workers: Arc<dyn Workers>, delay: Duration) -> Self {
        Engine { live: Some((workers, delay)), ..self }
    }

    /// Has new sets tried out on the hosts that are to serve them.
    #[must_use]
    pub fn trying_on(self, hosts: Arc<dyn Hosts>) -> Self {
        Engine { hosts: Some(hosts), ..self }
    }

    /// Has renewals and their failures counted there.
    #[must_use]
    pub fn counting(self, tally: Tally) -> Self {
        Engine { tally, ..self }
    }

    /// With stapling: a certificate that its CA calls revoked is renewed at once.
    #[must_use]
    pub fn with_revocations(self, responses: Arc<Cache>) -> Self {
        Engine { revocations: Some(responses), ..self }
    }

    pub fn targets(&self) -> &[Managed] {
        &self.targets
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn store(&self) -> &WorkStore {
        &self.store
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn live(&self) -> Option<(&dyn Workers, Duration)> {
        self.live.as_ref().map(|(workers, delay)| (workers.as_ref(), *delay))
    }

    pub(crate) fn hosts(&self) -> Option<&dyn Hosts> {
        self.hosts.as_deref()
    }

    pub(crate) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn random(&self) -> f64 {
        (self.random)()
    }

    pub(crate) fn holds(&self) -> MutexGuard<'_, RateLimits> {
        lock(&self.holds)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, OrderQueue> {
        lock(&self.queue)
    }

    /// The directory URL of the CA that the target with this index asks, as far as is known.
    pub fn ca_of(&self, index: usize) -> String {
        let asked = lock(&self.asked).get(&index).cloned();
        let first = || self.targets.get(index).and_then(|target| target.md.ca.urls.first().cloned());
        asked.or_else(first).unwrap_or_default()
    }

    /// Whether this process has not told yet that this MD waits until then.
    pub(crate) fn is_news(&self, name: &str, until: Timestamp) -> bool {
        lock(&self.waits).insert(name.to_string(), until) != Some(until)
    }

    pub(crate) fn answering(&self) -> &challenges::Answering {
        &self.answering
    }

    /// What the renewal of the target with this index waits for, if it does nothing else.
    pub fn pause_of(&self, index: usize) -> Option<Pause> {
        self.targets.get(index).and_then(|target| lock(&self.pauses).get(&target.md.name).copied())
    }

    /// Does nothing for a while, in the renewal of this MD.
    pub(crate) fn rest(&self, name: &str, wait: Duration) -> Result<(), Stopped> {
        self.pause(name, Pause::Rest, || self.clock.sleep(wait))
    }

    /// Does nothing but this, in the renewal of this MD.
    pub(crate) fn pause<T>(&self, name: &str, pause: Pause, wait: impl FnOnce() -> T) -> T {
        lock(&self.pauses).insert(name.to_string(), pause);
        let waited = wait();
        lock(&self.pauses).remove(name);
        waited
    }

    /// Looks at the target with this index and does what is due.
    pub fn run(&self, index: usize) -> Next {
        let clock = self.clock.as_ref();
        let Some(target) = self.targets.get(index) else { return Next::Never };
        // What another process has put into use is not to be renewed again.
        target.live.catch_up();
        let mut running = Running::load(target, &self.store, clock);
        let next = self.go_on(index, target, &mut running);
        next.or_sooner(running.is_unsaved().then(|| clock.now().plus(UNSAVED)))
    }

    fn go_on(&self, index: usize, target: &Managed, running: &mut Running<'_>) -> Next {
        let state = match &*target.live.load() {
            Some(set) => assess(&target.md, &set.certs).0,
            None => target.md.state,
        };
        crate::log!(Debug, "AH10052: md({}): state={}, driving", target.md.name, state as i32);
        if running.takes_over_call() && lock(&self.called).insert(target.md.name.clone()) {
            return Next::At(self.clock().now().plus(END_OF_OTHERS));
        }
        if running.job.finished {
            running.job.untold = None;
        }
        let untold = self.tell_untold(running);
        let mut told = Next::Never;
        if running.job.finished && Staging::new(&self.store, &target.md.name).is_complete() {
            match self.after_renewal(index, target, running, None) {
                (next, false) => return next,
                (next, true) => told = next,
            }
        } else if running.job.finished {
            // The C module leaves finished jobs that never had a set.
            if running.job.valid_from.is_some() {
                crate::log!(
                    Warn,
                    "md[{}]: the staged certificates have been removed, so the renewal begins again",
                    target.md.name
                );
            }
            let Job { log, pace, .. } = std::mem::take(&mut running.job);
            running.job = Job { log, pace, ..Job::new(&target.md.name) };
        }
        let next = earlier(told, self.look(index, target, running));
        // After the attempt: where that has succeeded, nothing ends without a successor.
        next.or_sooner(untold).or_sooner(self.warn(target, running))
    }

    fn look(&self, index: usize, target: &Managed, running: &mut Running<'_>) -> Next {
        let (md, served) = (target.current(), target.served());
        let decide = |entries: &[ari::Entry]| {
            let advice = ari::earliest(entries, &served);
            let decision = due::decide(&md, &served, target.in_use, advice, self.clock.now());
            let is_revoked =
                |cert: &CertInfo| self.revocations.as_ref().is_some_and(|r| is_revoked(r, &cert.id));
            due::heed_revocation(decision, &served, is_revoked)
        };
        let before = self.advice_known(target);
        let mut decision = decide(&before);
        let mut known = before.clone();
        if let Decision::At(..) = decision {
            known = self.inquire(target, known);
            decision = decide(&known);
        }
        let advice = ari::earliest(&known, &served);
        ari_refresh::report(&target.md.name, &decision, advice, ari::earliest(&before, &served));
        let now = self.clock.now();
        if !matches!(decision, Decision::Now(_)) {
            self.queue().leave(&target.md.name);
            self.release(running);
        }
        match decision {
            Decision::Never(_) => Next::Never,
            Decision::At(at, _) => {
                let check = now.plus(due::spread(self.settings.check_interval, self.random()));
                // One that was due and not asked, because the CA is to be spared, waits for the next look.
                let asks = known.iter().map(|entry| entry.next_check).filter(|at| *at > now).min();
                Next::At(at.min(check)).or_sooner(asks)
            }
            Decision::Now(reason) => {
                let live = target.live.load();
                let rests_until = live
                    .as_ref()
                    .map(|set| activation::rests_until(&target.md, set, self.settings.retry.delay));
                if let Some(at) = rests_until.filter(|at| now < *at) {
                    return Next::At(at);
                }
                if let Some(until) = self.held_back(target, running, reason.cause()) {
                    // What the CA advises may change meanwhile.
                    self.inquire(target, known);
                    let check = now.plus(due::spread(self.settings.check_interval, self.random()));
                    return Next::At(until.min(check));
                }
                let next = self.renew_in_turn(index, target, running, reason.cause(), || {
                    ari_refresh::report_triggered(
                        &target.md.name,
                        advice.filter(|_| target.md.ari_renewals),
                        now,
                    )
                });
                // With less of the window left, another CA's turn may come sooner.
                let late_at = pressure(&target.md, &served, now).late_at;
                next.or_sooner(
                    late_at.filter(|at| *at > now && next != Next::Never && target.md.ca.urls.len() > 1),
                )
            }
        }
    }

    /// Renews with the CA whose turn it is, once it may be asked. `triggered` tells why, for the job's log.
    fn renew_in_turn(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        cause: Cause,
        triggered: impl FnOnce() -> Option<String>,
    ) -> Next {
        let now = self.clock.now();
        let pressure = pressure(&target.md, &target.served(), now);
        let (name, end) = (&target.md.name, pressure.end);
        let job = &running.job;
        let demanded = job.pace.hold.as_ref().filter(|hold| hold.is_in_force(now));
        let holds = self.holds().clone();
        let demands = |url: &str| {
            let own = demanded.filter(|hold| hold.ca == url);
            holds.concerning(url, &target.md.domains, now).chain(own).collect::<Vec<_>>().into_iter()
        };
        match choose_within_demands(
            &target.md.ca.urls,
            &job.pace,
            self.settings.retry.failover,
            (pressure.urgency, end),
            demands,
            now,
        ) {
            CaChoice::Ask(url) => {
                lock(&self.asked).insert(index, url.to_string());
                match retry::waits_for(job, url, end, now) {
                    Some(at) => {
                        // Longer than after any error of its own.
                        if at.since(now) > pressure.longest * 2 {
                            self.tell_wait(name, &pressure, at, "its next try is then");
                        }
                        Next::At(at)
                    }
                    None => self.renew(index, target, running, (url, cause), triggered()),
                }
            }
            CaChoice::Wait(url, until) => {
                let until = until.max(retry::waits_for(job, url, end, now).unwrap_or(until));
                self.tell_wait(name, &pressure, until, &format!("{url} asked for that"));
                if job.next_run != Some(until) {
                    let text = format!("Waiting until {}: {url} asked for that", until.to_http_date());
                    running.job.note(now, "progress", None, Some(text));
                    let hold = self.holds().find(url, &target.md.domains, now).cloned();
                    retry::wait(&mut running.job, until, hold.as_ref());
                    self.save(running);
                }
                Next::At(until)
            }
            CaChoice::Unconfigured => retry::waits_for(job, "", end, now)
                .map_or_else(|| self.failed(target, running, None, &Error::NoAuthority), Next::At),
        }
    }

    fn renew(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        (ca, cause): (&str, Cause),
        triggered: Option<String>,
    ) -> Next {
        let clock = self.clock.as_ref();
        let now = clock.now();
        if running.job.finished
            && let Err(error) = self.make_room(target, running)
        {
            return self.failed(target, running, None, &error);
        }
        // One that has begun is not begun again while its CA is at work.
        if running.job.waiting.is_none() {
            if let Err(failed) = self.settings.commands.fire(&Event::Renewing, &mut running.job, clock) {
                if failed.is_stopped {
                    return Next::Never;
                }
                return self.postponed(running, failed);
            }
            running.job.note(now, "starting", None, None);
            running.job.last_run = Some(now);
            if triggered.is_some() {
                running.job.note(now, "progress", None, triggered);
            }
        }
        running.job.next_run = None;
        let outcome = issue::renew(self, target, running, ca);
        if !matches!(outcome, Ok(Progress::Waiting(_))) {
            self.queue().leave(&target.md.name);
        }
        match outcome {
            Ok(Progress::Waiting(wait)) => self.waiting(running, wait),
            Ok(Progress::Complete(sets)) => {
                self.tally.renewed();
                self.note_issued(target, ca, cause, Some(&sets));
                running.has_new_set = true;
                let valid_from = sets.iter().map(|set| set.info.not_before).max().unwrap_or_default();
                let job = &mut running.job;
                job.finished = true;
                job.untold = None;
                job.waiting = None;
                retry::succeeded(job, clock.now());
                job.valid_from = Some(valid_from);
                job.last = Outcome { valid_from: Some(valid_from), ..Outcome::default() };
                let restart = match self.live {
                    Some(_) if target.live.is_attached() => "",
                    _ => " A graceful server restart now is recommended.",
                };
                job.note(clock.now(), "progress", None, Some(format!(
                    "The certificate for the managed domain has been renewed successfully and can be used (valid \
                     since {}).{restart}",
                    valid_from.to_http_date()
                )));
                job.note(clock.now(), "finished", None, None);
                if let Ok(Some(ordered)) = Staging::new(&self.store, &target.md.name).md() {
                    self.sign(job, &ordered, &sets);
                }
                // Before any command runs: one that reloads httpd ends this process and has the set
                // activated.
                self.save(running);
                match self.after_renewal(index, target, running, Some(sets)) {
                    (next, false) => next,
                    // When the next one is due, the CA may have an opinion about; it need not tell at once.
                    (_, true) => {
                        let pause = AFTERWARDS.min(self.settings.check_interval);
                        Next::At(clock.now().plus(due::spread(pause, self.random())))
                    }
                }
            }
            Err(error) if error.is_stopped() => Next::Never,
            Err(error) => {
                if let Error::Misissued { .. } = error {
                    self.note_issued(target, ca, cause, None);
                }
                self.failed(target, running, Some(ca), &error)
            }
        }
    }
}
