//! One look at one managed domain: is a renewal due, then do it, and say when to look again.

use super::authority::Authorities;
use super::error::Error;
use super::job::Running;
use super::live::{self, Workers};
use super::policy::{self, Decision};
use super::staging::Staging;
use super::tally::Tally;
use super::turn::earlier;
use super::{Managed, flow};
use crate::challenge::selection::Means;
use crate::model::job::status;
use crate::model::{Job, KeySpec, Outcome};
use crate::notify::{Commands, Event};
use crate::store::WorkStore;
use crate::time::{Clock, Timestamp, format_duration};
use std::sync::Arc;
use std::time::Duration;

/// The global settings of renewals.
#[derive(Clone, Debug)]
pub struct Settings {
    pub retry_delay: Duration,
    /// After so many errors in a row the next CA is tried.
    pub retry_failover: u32,
    pub check_interval: Duration,
    pub initial_delay: Duration,
    /// Renewals in flight at once.
    pub parallel: usize,
    /// Requests from outside reach us as http, on whatever local port.
    pub reachable_by_http: bool,
    /// The same for https.
    pub reachable_by_https: bool,
    pub commands: Commands,
}

impl Settings {
    /// What decides about the challenges of `target`.
    pub fn means<'a>(&self, target: &'a Managed) -> Means<'a> {
        Means {
            configured: &target.md.ca.challenges,
            http: self.reachable_by_http,
            https: self.reachable_by_https,
            acme_tls: &target.md.acme_tls_1,
            dns01: target.dns01.is_some(),
        }
    }
}

/// A next run further away was written by a clock that was wrong.
const NEXT_RUN_MAX: Duration = Duration::from_secs(11 * 86_400);

/// When to look at a job again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    Never,
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
    /// Who is to serve a new set at once, and `MDActivationDelay`; without, it is for the next restart.
    live: Option<(Arc<dyn Workers>, Duration)>,
    tally: Tally,
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
        let (live, tally) = (None, Tally::default());
        Engine { targets, store, settings, authorities, clock, random, live, tally }
    }

    /// With `MDLiveActivation on`. `delay` is `MDActivationDelay`.
    #[must_use]
    pub fn with_live_activation(self, workers: Arc<dyn Workers>, delay: Duration) -> Self {
        Engine { live: Some((workers, delay)), ..self }
    }

    /// Has renewals and their failures counted there.
    #[must_use]
    pub fn counting(self, tally: Tally) -> Self {
        Engine { tally, ..self }
    }

    pub fn targets(&self) -> &[Managed] {
        &self.targets
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn store(&self) -> &WorkStore {
        &self.store
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn live(&self) -> Option<(&dyn Workers, Duration)> {
        self.live.as_ref().map(|(workers, delay)| (workers.as_ref(), *delay))
    }

    pub(super) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Looks at the target with this index and does what is due.
    pub fn run(&self, index: usize) -> Next {
        let clock = self.clock.as_ref();
        let Some(target) = self.targets.get(index) else { return Next::Never };
        let mut running = Running::load(&target.md.name, &self.store, clock);
        crate::log!(Debug, "AH10052: md({}): state={}, driving", target.md.name, target.md.state as i32);
        let mut told = Next::Never;
        if running.job.finished && self.is_staged(target) {
            match self.after_renewal(index, target, &mut running, false) {
                (next, false) => return next,
                (next, true) => told = next,
            }
        } else if std::mem::take(&mut running.job.finished) {
            crate::log!(Warn, "{}: the staged set is gone, the renewal begins anew", target.md.name);
            running.job = Job::new(&target.md.name);
        }
        earlier(told, self.renew_if_due(index, target, &mut running))
    }

    fn renew_if_due(&self, index: usize, target: &Managed, running: &mut Running<'_>) -> Next {
        let now = self.clock.now();
        match policy::decide(&target.md, &target.served(), target.in_use, now) {
            Decision::Never(reason) => {
                crate::log!(Debug, "AH10513: md({}): no renewal: {reason}", target.md.name);
                Next::Never
            }
            Decision::At(at, reason) => {
                crate::log!(
                    Debug,
                    "AH10514: md({}): no renewal yet: {reason} at {}",
                    target.md.name,
                    at.to_http_date()
                );
                Next::At(at.min(now.plus(policy::spread(self.settings.check_interval, (self.random)()))))
            }
            Decision::Now(_)
                if running.job.next_run.is_some_and(|at| at > now && at.since(now) < NEXT_RUN_MAX) =>
            {
                running.job.next_run.map_or(Next::Never, Next::At)
            }
            Decision::Now(reason) => {
                let live = target.live.load();
                let rests_until =
                    live.as_ref().map(|set| live::rests_until(&target.md, set, self.settings.retry_delay));
                if let Some(at) = rests_until.filter(|at| now < *at) {
                    return Next::At(at);
                }
                crate::log!(Debug, "AH10512: md({}): need to renew now: {reason}", target.md.name);
                if running.job.finished
                    && let Err(error) = self.make_room(target, running)
                {
                    return self.failed(target, running, error);
                }
                self.renew(index, target, running)
            }
        }
    }

    /// Whether staging holds what a finished job says.
    fn is_staged(&self, target: &Managed) -> bool {
        let staging = Staging::new(&self.store, &target.md.name);
        let has_chain = |spec: &KeySpec| staging.chain(spec).is_ok_and(|chain| chain.is_some());
        staging.md().is_ok_and(|md| md.is_some_and(|md| md.keys().iter().all(has_chain)))
    }

    fn renew(&self, index: usize, target: &Managed, running: &mut Running<'_>) -> Next {
        let clock = self.clock.as_ref();
        let now = clock.now();
        if let Err(failed) = self.settings.commands.fire(&Event::Renewing, &mut running.job, clock) {
            if failed.is_stopped {
                return Next::Never;
            }
            crate::log!(Error, "AH10060: {}: the renewal is postponed: {failed}", target.md.name);
            return self.failed(target, running, Error::Event(failed));
        }
        running.job.note(now, "starting", None, None);
        running.job.last_run = Some(now);
        running.job.next_run = None;
        match flow::renew(self, target, running) {
            Ok(valid_from) => {
                self.tally.renewed();
                let job = &mut running.job;
                job.finished = true;
                job.errors = 0;
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
                // Before any command runs: one that reloads httpd ends this process and has the set activated.
                self.save(running);
                match self.after_renewal(index, target, running, true) {
                    (next, false) => next,
                    // When the next one is due.
                    (_, true) => Next::At(clock.now()),
                }
            }
            Err(error) if error.is_stopped() => Next::Never,
            Err(error) => self.failed(target, running, error),
        }
    }

    /// Tells the commands about a complete set, until they have heard.
    pub(super) fn tell_renewed(&self, running: &mut Running<'_>) -> Next {
        let clock = self.clock.as_ref();
        let is_ahead = |at: &Timestamp| clock.now() < *at && at.since(clock.now()) < NEXT_RUN_MAX;
        if let Some(at) = running.job.next_run.filter(is_ahead) {
            // They have failed, and this look is for something else.
            return Next::At(at);
        }
        let commands = &self.settings.commands;
        let mut failure = None;
        if !running.job.notified {
            match commands.notify(&mut running.job, clock) {
                Ok(()) => {
                    running.job.notified = true;
                    if commands.notify.is_some() {
                        self.save(running);
                    }
                }
                Err(failed) => failure = Some(failed),
            }
        }
        if failure.is_none() && !running.job.notified_renewed {
            match commands.fire(&Event::Renewed, &mut running.job, clock) {
                Ok(()) => running.job.notified_renewed = true,
                Err(failed) => failure = Some(failed),
            }
        }
        let job = &mut running.job;
        let next = match failure {
            None => {
                job.errors = 0;
                job.next_run = None;
                Next::Never
            }
            // The next child tells the command again; what is on disk says so.
            Some(failed) if failed.is_stopped => return Next::Never,
            Some(failed) => {
                job.errors += 1;
                job.last = Outcome {
                    status: status::GENERAL,
                    problem: Some(failed.problem),
                    detail: Some(failed.detail),
                    ..Outcome::default()
                };
                let random = (self.random)();
                let at =
                    policy::retry_at(job.errors, self.settings.retry_delay, false, None, random, clock.now());
                job.next_run = Some(at);
                Next::At(at)
            }
        };
        self.save(running);
        next
    }

    /// Records a failure in log, job and events. The answer is when to try again.
    pub(super) fn failed(&self, target: &Managed, running: &mut Running<'_>, error: Error) -> Next {
        let clock = self.clock.as_ref();
        let now = clock.now();
        let name = &target.md.name;
        let (apr_status, detail) = (error.status(), error.to_string());
        let job = &mut running.job;
        job.errors = job.errors.saturating_add(1);
        let at = policy::retry_at(
            job.errors,
            self.settings.retry_delay,
            error.is_hopeless(now),
            error.not_before(now),
            (self.random)(),
            now,
        );
        job.last = Outcome {
            status: apr_status,
            problem: error.problem(),
            detail: Some(detail.clone()),
            activity: job.last.activity.take(),
            valid_from: None,
            subproblems: error.subproblems(),
        };
        job.next_run = Some(at);
        self.tally.failed(job.last.problem.as_deref());
        crate::log!(
            Warn,
            status = apr_status,
            "md[{name}] while[{}] {}detail[{detail}]",
            job.last.activity.as_deref().unwrap_or_default(),
            job.last.problem.as_ref().map(|p| format!("problem[{p}] ")).unwrap_or_default()
        );
        let wait = format_duration(Duration::from_secs(at.since(now).as_secs().max(1)));
        crate::log!(Error, status = apr_status, "AH10056: processing {name}: {detail} Next try in {wait}.");
        crate::log!(
            Info,
            "AH10057: {name}: encountered error for the {}. time, next run in {wait}",
            job.errors
        );
        job.note(now, "renewal-error", job.last.problem.clone(), Some(detail));
        self.save(running);
        let job = &mut running.job;
        // The failure is recorded already; that this command failed too stands in the log.
        let _ = self.settings.commands.fire(&Event::Errored, job, clock);
        self.save(running);
        Next::At(at)
    }

    /// A bug ended the job's thread: an error of that job like any other. The answer is the next try.
    pub fn record_panic(&self, index: usize) -> Timestamp {
        let clock = self.clock.as_ref();
        let Some(target) = self.targets.get(index) else { return clock.now().plus(policy::RETRY_MAX) };
        let mut running = Running::load(&target.md.name, &self.store, clock);
        let error =
            Error::Unusable("an internal error ended the renewal, the server's error log has more".into());
        match self.failed(target, &mut running, error) {
            Next::At(at) => at,
            Next::Never => clock.now().plus(policy::RETRY_MAX),
        }
    }

    pub(super) fn save(&self, running: &Running<'_>) {
        if let Err(error) = running.save() {
            crate::log!(Error, "md[{}]: the state of its renewal cannot be saved: {error}", running.job.name);
        }
    }
}
