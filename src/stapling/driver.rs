// SPDX-License-Identifier: Apache-2.0
//! Requests the responses that are due, as jobs of a [`Pool`], and passes on the outcome. A stop ends it
//! within one slice of a network wait.

use super::others::Others;
use super::report::{self, End, Report};
use super::request_queue::{Outcome, Request, Requests};
use super::resume::Former;
use crate::http::Transport;
use crate::notify::Commands;
use crate::ocsp::fetch::Reason;
use crate::ocsp::subject::Terms;
use crate::ocsp::{Cache, Entry, Response, Subject, fetch, file, schedule};
use crate::store::WorkStore;
use crate::sync::lock;
use crate::time::{AtWork, Clock, StopFlag, Timestamp};
use crate::work::pool::{HasPlace, Jobs, Pool};
use crate::work::queue::Due;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// For how long no thread is started after one could not be.
const NO_THREAD: Duration = Duration::from_secs(1);

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

/// The context of requests.
pub struct Context {
    pub store: WorkStore,
    /// The cache that this process staples from.
    pub cache: Arc<Cache>,
    pub clock: Arc<dyn Clock>,
    /// A way to responders, through the proxy of these terms if they have one.
    pub connect: Connect,
    /// There is a new response for this certificate in the store and in the cache.
    pub publish: Publish,
    /// A number in 0..1 for jitter.
    pub random: fn() -> f64,
    /// The other nodes of a fleet.
    pub others: Option<Others>,
}

/// Each comes with a mark that work is in progress, until it has been reported.
type Reports = Sender<(Report, AtWork)>;

/// Requests as jobs of a [`Pool`].
struct Asking {
    requests: Mutex<Requests>,
    /// The channel for outcomes, from the first request on, and the thread that takes them in.
    reports: Mutex<Option<Reports>>,
    reporter: Mutex<Option<JoinHandle<()>>>,
    /// For that thread, which must not keep all else.
    outcome: Arc<Outcomes>,
    stop: StopFlag,
    settings: Settings,
    context: Context,
}

/// The destinations of reports.
struct Outcomes {
    store: WorkStore,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    commands: Commands,
}

impl Outcomes {
    fn take_in(&self, reports: &Receiver<(Report, AtWork)>) {
        report::run(reports, &self.store, &self.cache, &self.commands, self.clock.as_ref());
    }
}

pub struct Driver {
    pool: Pool<Asking>,
}

impl Driver {
    /// `stop` is the flag that ends the waits of clock and transports.
    pub fn new(settings: Settings, context: Context, stop: StopFlag) -> Self {
        let outcome = Outcomes {
            store: context.store.clone(),
            cache: context.cache.clone(),
            clock: context.clock.clone(),
            commands: settings.commands.clone(),
        };
        let asking = Asking {
            requests: Mutex::new(Requests::new(settings.parallel)),
            reports: Mutex::default(),
            reporter: Mutex::default(),
            outcome: Arc::new(outcome),
            stop: stop.clone(),
            settings,
            context,
        };
        let mut driver = Driver { pool: Pool::new(Arc::new(asking), std::iter::empty(), stop) };
        let context = &driver.pool.jobs().context;
        let (mut former, table) = (Former::new(context.store.clone()), context.cache.table());
        table.entries().for_each(|entry| driver.resume(entry, &mut former));
        driver
    }

    /// A certificate to be looked after from now on.
    pub fn add(&mut self, entry: Entry) {
        let mut former = Former::new(self.pool.jobs().context.store.clone());
        self.resume(&entry, &mut former);
    }

    /// Goes on where the child before was.
    fn resume(&mut self, entry: &Entry, former: &mut Former) {
        let asking = self.pool.jobs();
        let context = &asking.context;
        let now = context.clock.now();
        let current = entry.response.as_deref().filter(|response| response.is_current(now));
        let due = current.map_or(now, |response| {
            let (begin, _) = schedule::window(response, entry.subject.terms.renew_window);
            if begin <= now {
                return now;
            }
            schedule::after_success(response, entry.subject.terms.renew_window, None, (context.random)(), now)
        });
        let failing = former.failing(&entry.subject);
        let started = asking.settings.started;
        let due =
            failing.map_or(due, |failing| schedule::after_restart(due, &failing, started, current, now));
        let failures = failing.map_or(0, |failing| failing.failures);
        // One after the other: the queue is locked where requests are looked at.
        let is_new = lock(&asking.requests).add(entry.subject.clone(), failures);
        if is_new {
            self.pool.add(Some(due));
        }
    }

    /// Starts the requests that are due.
    pub fn beat(&mut self) {
        self.pool.follow_clock(self.pool.jobs().now());
        self.pool.start_due();
    }

    /// For how long the next beat can wait.
    pub fn pause(&self, shortest: Duration, longest: Duration) -> Duration {
        self.pool.idle_until().pause(self.pool.jobs().now(), shortest, longest)
    }

    /// Asks no more for certificates that are not stapled any more, and removes their responses from the store.
    pub fn clean_up(&self) {
        let asking = self.pool.jobs();
        let is_past = |subject: &Subject| asking.context.cache.find(&subject.id).is_none();
        let past = lock(&asking.requests).forget_all(is_past);
        past.iter().for_each(|subject| asking.remove_response(subject));
    }

    /// Ends all requests and waits for them; received responses are on disk.
    pub fn stop(self) {
        let asking = self.pool.jobs().clone();
        self.pool.stop();
        *lock(&asking.reports) = None;
        if let Some(reporter) = lock(&asking.reporter).take() {
            // A panic at this point changes nothing for the next child.
            let _ = reporter.join();
        }
    }

    /// One request after the other, of everything that is due, in this thread: for tests with a clock of
    /// their own.
    pub fn run_due(&mut self) {
        let asking = self.pool.jobs();
        let (sender, receiver) = mpsc::channel();
        *lock(&asking.reports) = Some(sender);
        self.pool.run_due();
        *lock(&asking.reports) = None;
        asking.outcome.take_in(&receiver);
    }
}

impl Asking {
    /// The next start tries again where it cannot be removed.
    fn remove_response(&self, subject: &Subject) {
        if let Err(error) = file::remove(&self.context.store, subject) {
            crate::log!(Debug, "md[{}]: an old OCSP response cannot be removed: {error}", subject.owner);
        }
    }

    /// When to look again, where another node makes this request.
    fn left_to_others(&self, request: &Request) -> Due {
        let (others, subject) = (self.context.others.as_ref()?, &request.subject);
        let current = self.context.cache.find(&subject.id).and_then(|entry| entry.response);
        others.look_again(subject, current.as_deref(), self.context.clock.now())
    }

    /// Records the outcome of a request and reports it. Returns the time of the next request for the
    /// certificate.
    fn end(&self, job: usize, (report, outcome): (Report, Outcome)) -> Due {
        let due = report.next;
        lock(&self.requests).end(job, outcome, due, self.context.clock.now());
        // The receiver is gone when the process ends.
        let reports = lock(&self.reports).clone();
        let _ = reports.map(|reports| reports.send((report, self.stop.stay())));
        Some(due)
    }
}

impl Jobs for Asking {
    const THREAD: &'static str = "md-ocsp";

    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    fn places(&self, running: &mut dyn Iterator<Item = usize>, now: Timestamp) -> Option<HasPlace<'_>> {
        let requests = lock(&self.requests);
        let open = requests.open(running, now)?;
        Some(Box::new(move |index| requests.is_open(index, &open)))
    }

    /// Starts the thread that takes in reports, with the first request.
    fn beginning(&self) {
        let mut reports = lock(&self.reports);
        if reports.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let outcome = self.outcome.clone();
        let work = move || outcome.take_in(&receiver);
        match std::thread::Builder::new().name("md-ocsp-tell".into()).spawn(work) {
            Ok(thread) => {
                *lock(&self.reporter) = Some(thread);
                *reports = Some(sender);
            }
            Err(error) => crate::log!(
                Error,
                "cannot start the thread that reports OCSP requests: the log and the status pages do not show \
                 their outcome, and MDMessageCmd is not called for 'ocsp-renewed' and 'ocsp-errored'. It is tried again with \
                 the next requests: {}. Raise the limit of threads (ulimit -u, TasksMax of the service).",
                crate::log::plain(&error)
            ),
        }
    }

    fn run(&self, job: usize) -> Due {
        let request = lock(&self.requests).get(job).cloned()?;
        if self.context.cache.find(&request.subject.id).is_none() {
            lock(&self.requests).forget(job);
            self.remove_response(&request.subject);
            return None;
        }
        if let Some(at) = self.left_to_others(&request) {
            return Some(at);
        }
        match ask(self, &request) {
            Some(ended) => self.end(job, ended),
            None => Some(self.now()),
        }
    }

    fn panicked(&self, job: usize) -> Due {
        let request = lock(&self.requests).get(job).cloned()?;
        let bug = fetch::Failed { reason: Reason::Bug, retry_after: None };
        self.end(job, failed(self, &request, &bug))
    }

    fn cannot_start(&self, error: &io::Error) -> Duration {
        crate::log!(
            Error,
            status = error.raw_os_error().unwrap_or(0),
            "asking for OCSP responses cannot start its thread and is tried again: {}. Raise the limit of threads (ulimit -u, \
             TasksMax of the service).",
            crate::log::plain(error)
        );
        NO_THREAD
    }
}

/// One request and all that follows from it. `None`: the process is stopping.
fn ask(shared: &Asking, request: &Request) -> Option<(Report, Outcome)> {
    let context = &shared.context;
    let subject = &request.subject;
    let window = subject.terms.renew_window;
    let current = context.cache.find(&subject.id).and_then(|entry| entry.response);
    let fetched = (context.connect)(&subject.terms)
        .map_err(|error| fetch::Failed { reason: error.into(), retry_after: None })
        .and_then(|way| fetch::fetch(subject, current.as_deref(), way.as_ref(), context.clock.as_ref()));
    let (now, random) = (context.clock.now(), (context.random)());
    let report = |end, next| Report { subject: subject.clone(), end, next };
    match fetched {
        Ok(fetched) => {
            let response = Arc::new(fetched.response);
            let next = schedule::after_success(&response, window, fetched.max_age, random, now);
            if current.as_ref() == Some(&response) {
                return Some((report(End::Same, next), Outcome::Success));
            }
            take(context, subject, &response);
            Some((report(End::Renewed(response), next), Outcome::Success))
        }
        Err(_) if context.clock.is_stopped() => None,
        Err(failure) => Some(failed(shared, request, &failure)),
    }
}

/// The request has failed.
fn failed(shared: &Asking, request: &Request, failed: &fetch::Failed) -> (Report, Outcome) {
    let context = &shared.context;
    let (subject, now) = (request.subject.clone(), context.clock.now());
    let current = context.cache.find(&subject.id).and_then(|entry| entry.response);
    let failures = request.failures.saturating_add(1);
    let next = schedule::after_failure(
        failures,
        shared.settings.retry_delay,
        failed.retry_after,
        current.as_deref(),
        (context.random)(),
        now,
    );
    let outcome = if failed.reason.is_outage() { Outcome::Outage } else { Outcome::Failure };
    let current = current.filter(|current| current.is_current(now));
    let current_until = current.map(|current| current.until);
    let (reason, retry_after) = (failed.to_string(), failed.retry_after);
    let end = End::Failed { reason, failures, retry_after, current_until };
    (Report { subject, end, next }, outcome)
}

/// Saves a new response on disk first, because the other processes read it there.
fn take(context: &Context, subject: &Arc<Subject>, response: &Arc<Response>) {
    if let Err(error) = file::write(&context.store, subject, response) {
        crate::log!(
            Error,
            "md[{}]: cannot save the OCSP response; only this process will staple it: {}",
            subject.owner,
            error.advised()
        );
    }
    context.cache.put([Entry { subject: subject.clone(), response: Some(response.clone()) }]);
    (context.publish)(subject, response);
    if let Some(others) = &context.others {
        others.share(subject, response);
    }
}
