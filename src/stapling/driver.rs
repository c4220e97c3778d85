// SPDX-License-Identifier: Apache-2.0
//! Asks for what is due, in threads of their own, and hands on what came of it. Ends with its process within
//! the time in which a wait for the network notices that.

use super::report::{self, End, Report};
use super::request_queue::{Outcome, Turn, Turns};
use super::resume::Former;
use crate::http::Transport;
use crate::notify::Commands;
use crate::ocsp::fetch::Reason;
use crate::ocsp::subject::Terms;
use crate::ocsp::{Cache, Entry, Response, Subject, fetch, file, schedule};
use crate::store::WorkStore;
use crate::sync::lock;
use crate::time::{AtWork, Clock, StopFlag, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Requests to one responder at once.
    pub parallel: usize,
    /// The wait after a first failure.
    pub retry_delay: Duration,
    /// When the server was started with this configuration. Children come and go after it.
    pub started: Timestamp,
    pub commands: Commands,
}

pub type Connect = Box<dyn Fn(&Terms) -> Result<Arc<dyn Transport>, crate::http::Error> + Send + Sync>;
pub type Publish = Box<dyn Fn(&Subject, &Response) + Send + Sync>;

/// The world around.
pub struct Surroundings {
    pub store: WorkStore,
    /// What this process staples from.
    pub cache: Arc<Cache>,
    pub clock: Arc<dyn Clock>,
    /// A way to responders, through the proxy of these terms if they have one.
    pub connect: Connect,
    /// There is a new response for this certificate in the store and in the cache.
    pub publish: Publish,
    /// A number in 0..1 for jitter.
    pub random: fn() -> f64,
}

/// With each goes the word that somebody is at work, until it has been told.
type Reports = Sender<(Report, AtWork)>;

struct Shared {
    turns: Mutex<Turns>,
    stop: StopFlag,
    settings: Settings,
    around: Surroundings,
}

pub struct Driver {
    shared: Arc<Shared>,
    threads: Vec<(usize, JoinHandle<()>)>,
    reports: Option<Reports>,
    reporter: Option<JoinHandle<()>>,
}

impl Driver {
    /// `stop` is the flag that clock and transports heed.
    pub fn new(settings: Settings, around: Surroundings, stop: StopFlag) -> Self {
        let turns = Mutex::new(Turns::new(settings.parallel));
        let shared = Arc::new(Shared { turns, stop, settings, around });
        let mut driver = Driver { shared, threads: Vec::new(), reports: None, reporter: None };
        let mut former = Former::new(driver.shared.around.store.clone());
        for entry in driver.shared.around.cache.table().entries() {
            driver.resume(entry.clone(), &mut former);
        }
        driver
    }

    /// A certificate to be looked after from now on.
    pub fn add(&mut self, entry: Entry) {
        self.resume(entry, &mut Former::new(self.shared.around.store.clone()));
    }

    /// Goes on where the child before was.
    fn resume(&mut self, entry: Entry, former: &mut Former) {
        let around = &self.shared.around;
        let now = around.clock.now();
        let current = entry.response.as_deref().filter(|response| response.is_current(now));
        let due = current.map_or(now, |response| {
            let (begin, _) = schedule::window(response, entry.subject.terms.renew_window);
            if begin <= now {
                return now;
            }
            schedule::after_success(response, entry.subject.terms.renew_window, None, (around.random)(), now)
        });
        let failing = former.failing(&entry.subject);
        let started = self.shared.settings.started;
        let due =
            failing.map_or(due, |failing| schedule::after_restart(due, &failing, started, current, now));
        let failures = failing.map_or(0, |failing| failing.failures);
        lock(&self.shared.turns).add(entry.subject.clone(), due, failures);
    }

    /// Starts what is due.
    pub fn beat(&mut self) {
        for (host, thread) in self.threads.extract_if(.., |(_, thread)| thread.is_finished()) {
            // Requests end in a failure where they panic: this was between them.
            if thread.join().is_err() {
                lock(&self.shared.turns).lose_thread(host);
                crate::log!(
                    Error,
                    "asking for an OCSP response ended in an internal error and is tried again: report this bug of mod_md"
                );
            }
        }
        let now = self.shared.around.clock.now();
        let hosts = lock(&self.shared.turns).begin(now);
        for host in hosts {
            let reports = self.reports();
            let shared = self.shared.clone();
            match self.shared.stop.spawn("md-ocsp", move || work(&shared, host, &reports)) {
                Ok(Some(thread)) => self.threads.push((host, thread)),
                Ok(None) => return,
                Err(error) => {
                    lock(&self.shared.turns).lose_thread(host);
                    crate::log!(
                        Error,
                        status = error.raw_os_error().unwrap_or(0),
                        "asking for OCSP responses cannot start its thread and is tried again: {}. Raise the limit of threads (ulimit -u, \
                         TasksMax of the service).",
                        crate::log::plain(&error)
                    );
                }
            }
        }
    }

    /// Where threads send what came of it; the thread that takes it in starts with the first.
    fn reports(&mut self) -> Reports {
        if let Some(reports) = &self.reports {
            return reports.clone();
        }
        let (sender, receiver) = mpsc::channel();
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("md-ocsp-tell".into()).spawn(move || {
            let Surroundings { store, clock, .. } = &shared.around;
            report::run(&receiver, store, &shared.settings.commands, clock.as_ref());
        });
        match thread {
            Ok(thread) => {
                self.reporter = Some(thread);
                self.reports = Some(sender.clone());
            }
            Err(error) => crate::log!(
                Error,
                "what comes of OCSP requests is not shown and not told to commands: {}",
                crate::log::plain(&error)
            ),
        }
        sender
    }

    /// Ends all requests and waits for that; what was got is on disk.
    pub fn stop(mut self) {
        self.shared.stop.raise();
        let threads = self.threads.drain(..).map(|(_, thread)| thread);
        self.reports = None;
        for thread in threads.chain(self.reporter.take()) {
            // A panic at this point changes nothing for the next child.
            let _ = thread.join();
        }
    }

    /// One request after the other, of everything that is due, in this thread: for tests with a clock of
    /// their own.
    pub fn run_due(&mut self) {
        let now = self.shared.around.clock.now();
        let hosts = lock(&self.shared.turns).begin(now);
        let (sender, receiver) = mpsc::channel();
        hosts.into_iter().for_each(|host| work(&self.shared, host, &sender));
        drop(sender);
        let Surroundings { store, clock, .. } = &self.shared.around;
        report::run(&receiver, store, &self.shared.settings.commands, clock.as_ref());
    }
}

/// All that is due with one responder, until there is nothing more.
fn work(shared: &Shared, host: usize, reports: &Reports) {
    let clock = &shared.around.clock;
    loop {
        let now = clock.now();
        let Some(turn) = lock(&shared.turns).next(host, now) else { return };
        if clock.is_stopped() {
            return;
        }
        // A panic is a bug, and must not leave the certificate unasked.
        let asked = catch_unwind(AssertUnwindSafe(|| ask(shared, &turn)));
        let bug = |_| Some(failed(shared, &turn, &fetch::Failed { reason: Reason::Bug, retry_after: None }));
        let Some((report, outcome)) = asked.unwrap_or_else(bug) else { return };
        lock(&shared.turns).end(turn.slot, outcome, report.next, clock.now());
        // Nobody listens any more when the process ends.
        let _ = reports.send((report, shared.stop.stay()));
    }
}

/// One request and all that follows from it. `None`: the process is stopping.
fn ask(shared: &Shared, turn: &Turn) -> Option<(Report, Outcome)> {
    let around = &shared.around;
    let subject = &turn.subject;
    let window = subject.terms.renew_window;
    let current = around.cache.find(&subject.id).and_then(|entry| entry.response);
    let fetched = (around.connect)(&subject.terms)
        .map_err(|error| fetch::Failed { reason: error.into(), retry_after: None })
        .and_then(|way| fetch::fetch(subject, current.as_deref(), way.as_ref(), around.clock.as_ref()));
    let (now, random) = (around.clock.now(), (around.random)());
    let report = |end, next| Report { subject: subject.clone(), end, next };
    match fetched {
        Ok(fetched) => {
            let response = Arc::new(fetched.response);
            let next = schedule::after_success(&response, window, fetched.max_age, random, now);
            if current.as_ref() == Some(&response) {
                return Some((report(End::Same, next), Outcome::Success));
            }
            take(around, subject, &response);
            Some((report(End::Renewed(response), next), Outcome::Success))
        }
        Err(_) if around.clock.is_stopped() => None,
        Err(failure) => Some(failed(shared, turn, &failure)),
    }
}

/// No response was got.
fn failed(shared: &Shared, turn: &Turn, failed: &fetch::Failed) -> (Report, Outcome) {
    let around = &shared.around;
    let (subject, now) = (turn.subject.clone(), around.clock.now());
    let current = around.cache.find(&subject.id).and_then(|entry| entry.response);
    let failures = turn.failures.saturating_add(1);
    let next = schedule::after_failure(
        failures,
        shared.settings.retry_delay,
        failed.retry_after,
        current.as_deref(),
        (around.random)(),
        now,
    );
    let outcome = if failed.reason.is_outage() { Outcome::Outage } else { Outcome::Failure };
    let current = current.filter(|current| current.is_current(now));
    let current_until = current.map(|current| current.until);
    let (reason, retry_after) = (failed.to_string(), failed.retry_after);
    let end = End::Failed { reason, failures, retry_after, current_until };
    (Report { subject, end, next }, outcome)
}

/// Keeps a new response: on disk first, because the others read it there.
fn take(around: &Surroundings, subject: &Arc<Subject>, response: &Arc<Response>) {
    if let Err(error) = file::write(&around.store, subject, response) {
        crate::log!(
            Error,
            "md[{}]: an OCSP response cannot be saved, and only this process staples it: {}",
            subject.owner,
            error.advised()
        );
    }
    around.cache.put([Entry { subject: subject.clone(), response: Some(response.clone()) }]);
    (around.publish)(subject, response);
}
