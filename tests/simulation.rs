// SPDX-License-Identifier: Apache-2.0
//! Four hundred days of a thousand managed domains on a virtual clock, with certificates of 6, 45 and 90
//! days.
//!
//! The decisions are real: the next action (`decide::next`, which the renewing child performs too), the
//! meaning of a CA's answers (`ari`, `retry`, `rate_limits`), the number of renewals in flight (`Slots`), and
//! the part of a failing job that a restart keeps. The CAs, the network and httpd's daily restart, which
//! activates staged sets, are models: no key is made, no request sent. A CA counts orders and failed
//! validations as public ones do, and answers with the errors that the real client makes of its answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use mod_md::acme::{self, Problem, RenewalInfo};
use mod_md::crypto::CertInfo;
use mod_md::http;
use mod_md::managed::certificates::KeyedCert;
use mod_md::model::ledger::{Cause, Ledger};
use mod_md::model::{Job, KeySpec, Md};
use mod_md::renew::decide::brake;
use mod_md::renew::decide::brake::Request;
use mod_md::renew::decide::next::{Action, Attempt, Inputs, Issuance, next};
use mod_md::renew::decide::rate_limits::RateLimits;
use mod_md::renew::decide::retry;
use mod_md::renew::decide::retry::{Failure, Retry};
use mod_md::renew::decide::urgency::pressure;
use mod_md::renew::decide::{ari, error};
use mod_md::renew::worker::limits::{PER_CA, Slots};
use mod_md::time::{DAY, TimeSlice, Timestamp};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

const BEGIN: Timestamp = Timestamp::from_unix(1_700_000_000);
const DAYS: u32 = 400;
const DOMAINS: usize = 1000;
const PARALLEL: usize = 16;
const HOUR: Duration = Duration::from_secs(3600);
/// How long an issuance takes.
const ISSUANCE: Duration = Duration::from_secs(12);
/// New orders that a CA accepts, and in which time.
const ORDERS: (usize, Duration) = (300, Duration::from_secs(3 * 3600));
/// Failed validations of a name that a CA accepts in an hour.
const VALIDATIONS: usize = 5;

const CAS: [&str; 2] = ["https://first.test/dir", "https://second.test/dir"];

/// Numbers in 0..1, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Weather {
    Fair,
    Down,
    /// It says 503 and until when.
    Maintenance(Timestamp),
    /// Every order is refused until then.
    Limited(Timestamp),
}

/// The weather until an instant.
type Forecast = fn(Timestamp) -> Weather;

/// A CA as seen from outside.
#[derive(Default)]
struct ModelCa {
    /// From, until, and what it is like.
    weather: Vec<(Timestamp, Timestamp, Forecast)>,
    /// New orders it takes in the span of [`ORDERS`].
    quota: usize,
    orders: VecDeque<Timestamp>,
    failed: HashMap<usize, VecDeque<Timestamp>>,
    /// What the CA has asked for, and what it counts against its client.
    spared_until: Option<Timestamp>,
    requests: usize,
    refusals: usize,
    intrusions: usize,
}

impl ModelCa {
    fn weather(&self, now: Timestamp) -> Weather {
        let current = self.weather.iter().find(|(from, until, _)| *from <= now && now < *until);
        current.map_or(Weather::Fair, |(_, until, weather)| weather(*until))
    }

    /// An order and its validation. `Ok`: the certificate can be issued.
    fn ask(&mut self, domain: usize, is_reachable: bool, now: Timestamp) -> Result<(), acme::Error> {
        self.requests += 1;
        let weather = self.weather(now);
        if weather == Weather::Down {
            return Err(acme::Error::Transport { url: CAS[0].into(), source: http::Error::Timeout });
        }
        if self.spared_until.is_some_and(|until| now < until) {
            self.intrusions += 1;
        }
        match weather {
            Weather::Maintenance(until) => return Err(self.refuse("serverInternal", 503, until)),
            Weather::Limited(until) => return Err(self.refuse("rateLimited", 429, until)),
            Weather::Fair | Weather::Down => {}
        }
        let span = ORDERS.1;
        self.orders.retain(|at| now.since(*at) < span);
        if self.orders.len() >= self.quota {
            let until = self.orders[0].plus(span);
            return Err(self.refuse("rateLimited", 429, until));
        }
        self.orders.push_back(now);
        if is_reachable {
            return Ok(());
        }
        let failed = self.failed.entry(domain).or_default();
        failed.retain(|at| now.since(*at) < HOUR);
        failed.push_back(now);
        assert!(failed.len() <= VALIDATIONS, "{} failed validations of d{domain} in an hour", failed.len());
        Err(acme::Error::Invalid {
            end: acme::error::End::Invalid,
            identifier: Some(format!("d{domain}.test")),
            tried: None,
            problem: Some(Box::new(Problem::new("acme:error:connection", "timeout"))),
        })
    }

    fn refuse(&mut self, kind: &str, status: u16, until: Timestamp) -> acme::Error {
        self.refusals += 1;
        self.spared_until = self.spared_until.max(Some(until));
        let mut problem =
            Problem::new(&format!("acme:error:{kind}"), "too many new orders from this account");
        problem.status = status;
        acme::Error::Problem { problem: Box::new(problem), retry_after: Some(until) }
    }
}

struct Domain {
    md: Md,
    slot: Slot,
    certs: Vec<KeyedCert>,
    lifetime: Duration,
    job: Job,
    staged: Option<CertInfo>,
    entries: Vec<ari::Entry>,
    ledger: Ledger,
    cause: Cause,
    /// When it got certificates, in true time.
    issued: Vec<Timestamp>,
    /// Its port 80 is closed in this time.
    unreachable: Option<(Timestamp, Timestamp)>,
    renewals: u32,
    /// The least that was left of a certificate's life when its successor was there, in percent.
    least_left: f64,
    expired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    /// Ends what was begun at this CA.
    Issued {
        ca: usize,
    },
    Look,
    Restart,
}

struct World {
    now: Timestamp,
    /// What the machine's clock shows, relative to the time of the CAs, which is true.
    clock_ahead: i64,
    random: Random,
    domains: Vec<Domain>,
    cas: [ModelCa; 2],
    rate_limits: RateLimits,
    events: BinaryHeap<Reverse<(Timestamp, What, usize)>>,
    in_flight: [usize; 2],
    queue: VecDeque<usize>,
    peak: [usize; 2],
    /// Of the CAs: they advise to renew what is new, and call it revoked.
    has_whims: bool,
}

/// Where the driver has a job.
#[derive(Clone, Copy, PartialEq)]
enum Slot {
    Waiting(Timestamp),
    /// Due, and no place is free.
    Queued,
    Running,
    /// A new set waits for the restart.
    Done,
}

fn shifted(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(at.unix_millis() + seconds * 1000)
}

fn lifetime(domain: usize) -> Duration {
    DAY * [6, 45, 90][domain % 3]
}

fn cert(domain: usize, from: Timestamp, lifetime: Duration) -> CertInfo {
    CertInfo {
        dns_names: vec![format!("d{domain}.test")],
        not_before: from,
        not_after: from.plus(lifetime),
        ari_cert_id: Some(format!("QUtJ.{}", from.unix())),
        ..CertInfo::default()
    }
}

impl World {
    fn new(cas: usize) -> Self {
        let mut random = Random(7);
        let domains = (0..DOMAINS)
            .map(|n| {
                let md = Md {
                    name: format!("d{n}.test"),
                    domains: vec![format!("d{n}.test")],
                    ca: mod_md::model::Ca {
                        url: Some(CAS[0].into()),
                        urls: CAS[..cas].iter().map(ToString::to_string).collect(),
                        ..Md::default().ca
                    },
                    renew_window: TimeSlice::Percent(33),
                    ..Md::default()
                };
                let certs = vec![(KeySpec::default(), None)];
                let job = Job::new(&md.name);
                let (staged, unreachable) = (None, None);
                Domain {
                    md,
                    slot: Slot::Waiting(BEGIN),
                    certs,
                    lifetime: lifetime(n),
                    job,
                    staged,
                    entries: Vec::new(),
                    ledger: Ledger::default(),
                    cause: Cause::Missing,
                    issued: Vec::new(),
                    unreachable,
                    renewals: 0,
                    least_left: 100.0,
                    expired: false,
                }
            })
            .collect();
        let events = (0..DOMAINS).map(|n| Reverse((BEGIN, What::Look, n)));
        let mut events: BinaryHeap<_> = events.collect();
        for day in 1..=DAYS {
            let spread = Duration::from_secs_f64(random.next() * 600.0);
            events.push(Reverse((BEGIN.plus(DAY * day).plus(spread), What::Restart, 0)));
        }
        World {
            now: BEGIN,
            clock_ahead: 0,
            random,
            domains,
            cas: [(); 2].map(|()| ModelCa { quota: ORDERS.0, ..ModelCa::default() }),
            rate_limits: RateLimits::default(),
            events,
            in_flight: [0; 2],
            queue: VecDeque::new(),
            peak: [0; 2],
            has_whims: false,
        }
    }

    fn weather(&mut self, ca: usize, day: u32, length: Duration, weather: Forecast) {
        let from = BEGIN.plus(DAY * day);
        self.cas[ca].weather.push((from, from.plus(length), weather));
    }

    /// What the machine takes for now.
    fn clock(&self) -> Timestamp {
        shifted(self.now, self.clock_ahead)
    }

    /// When the machine's clock shows `clock`; never in the same instant again.
    fn true_time(&self, clock: Timestamp) -> Timestamp {
        shifted(clock, -self.clock_ahead).max(self.now.plus(Duration::from_secs(1)))
    }

    fn look_at(&mut self, n: usize, clock: Timestamp) {
        let at = self.true_time(clock);
        self.domains[n].slot = Slot::Waiting(at);
        self.events.push(Reverse((at, What::Look, n)));
    }

    /// The driver takes a clock that was set back as a reason to look at everything.
    fn set_clock(&mut self, ahead: i64) {
        let before = std::mem::replace(&mut self.clock_ahead, ahead);
        for n in 0..DOMAINS {
            if let Slot::Waiting(at) = self.domains[n].slot {
                let clock = if ahead < before { self.clock() } else { shifted(at, before) };
                self.look_at(n, clock);
            }
        }
    }

    fn run(&mut self, until: Timestamp) {
        while let Some(Reverse((at, what, n))) = self.events.pop() {
            if at > until {
                self.events.push(Reverse((at, what, n)));
                break;
            }
            self.now = at;
            match what {
                // Of several looks only the latest that was agreed on counts.
                What::Look if self.domains[n].slot == Slot::Waiting(at) => self.look(n),
                What::Look => {}
                What::Issued { ca } => self.issued(n, ca),
                What::Restart => self.restart(),
            }
        }
        self.now = until;
    }

    /// Performs what `next` says, as the renewing child does.
    fn look(&mut self, n: usize) {
        let now = self.clock();
        let is_revoked = self.has_whims && self.random.next() < 0.3;
        let (mut has_asked, mut issuance) = (false, None);
        let random = self.random.next();
        loop {
            let domain = &self.domains[n];
            let inputs = Inputs {
                md: &domain.md,
                certs: &domain.certs,
                in_use: true,
                is_revoked: &|_| is_revoked,
                live: None,
                advice: &domain.entries,
                has_asked,
                job: &domain.job,
                rate_limits: &self.rate_limits,
                issuance: issuance.as_ref(),
                retry: World::retry(),
                check_interval: DAY,
                random,
            };
            match next(&inputs, now) {
                Action::AskAri(ca) => {
                    self.ask_ari(n, &ca);
                    has_asked = true;
                }
                Action::LookUpIssuance(_) => {
                    issuance = Some(Issuance { ledger: domain.ledger.clone(), queued: None });
                }
                Action::NotDue(at) | Action::Retry { look_at: at, .. } => return self.look_at(n, at),
                Action::HeldBack { ari, look_at, .. } => {
                    if let Some(ca) = ari {
                        self.ask_ari(n, &ca);
                    }
                    return self.look_at(n, look_at);
                }
                Action::SpareCa { ca, until, look_at } => {
                    let rate_limit = self.rate_limits.find(&ca, &domain.md.domains, now).cloned();
                    retry::wait(&mut self.domains[n].job, until, rate_limit.as_ref());
                    return self.look_at(n, look_at);
                }
                Action::Renew { attempt, .. } => return self.renew(n, &attempt),
                action @ (Action::Release | Action::Rest(_) | Action::Never | Action::NoCa) => {
                    panic!("{action:?}")
                }
            }
        }
    }

    /// Asks the CA when it wants the certificate to be renewed.
    fn ask_ari(&mut self, n: usize, ca: &str) {
        let now = self.clock();
        let ca = CAS.iter().position(|known| *known == ca).unwrap();
        let domain = &self.domains[n];
        let known = domain.entries.first().cloned();
        let cert = domain.certs[0].1.as_ref().unwrap();
        let id = cert.ari_cert_id.clone().unwrap();
        let entry = match self.cas[ca].weather(self.now) {
            Weather::Fair => {
                // As public CAs do: a window of a day about two thirds into the lifetime.
                let into = if self.has_whims { 0.0 } else { 0.6 };
                let start = cert.not_before.plus(domain.lifetime.mul_f64(into));
                let info = RenewalInfo { start, end: start.plus(domain.lifetime / 60), explanation: None };
                let random = self.random.next();
                ari::answered(known.as_ref(), &id, &info, Some(now.plus(DAY)), random, now)
            }
            _ => ari::unanswered(known.as_ref(), &id, None, now),
        };
        self.domains[n].entries = vec![entry];
    }

    fn retry() -> Retry {
        Retry { delay: Duration::from_secs(30), failover: 13 }
    }

    /// Begins the attempt, or waits for a place.
    fn renew(&mut self, n: usize, attempt: &Attempt) {
        let now = self.clock();
        let url = &attempt.ca;
        self.domains[n].cause = attempt.cause;
        let ca = CAS.iter().position(|known| known == url).unwrap();
        let mut slots = Slots::new(PARALLEL);
        for (ca, count) in self.in_flight.iter().enumerate() {
            (0..*count).for_each(|_| assert!(slots.take(CAS[ca])));
        }
        if !slots.take(url) {
            self.domains[n].slot = Slot::Queued;
            return self.queue.push_back(n);
        }
        self.domains[n].slot = Slot::Running;
        self.domains[n].job.last_run = Some(now);
        self.in_flight[ca] += 1;
        self.peak[ca] = self.peak[ca].max(self.in_flight[ca]);
        let takes =
            if self.cas[ca].weather(self.now) == Weather::Down { Duration::from_secs(30) } else { ISSUANCE };
        let ends = self.now.plus(takes.mul_f64(0.5 + self.random.next()));
        self.events.push(Reverse((ends, What::Issued { ca }, n)));
        // The order goes out now; what comes of it is known later.
        let is_reachable =
            self.domains[n].unreachable.is_none_or(|(from, until)| self.now < from || self.now >= until);
        let outcome = self.cas[ca].ask(n, is_reachable, self.now);
        self.domains[n].job.finished = outcome.is_ok();
        if let Err(error) = outcome {
            self.failed(n, ca, error);
        }
    }

    fn failed(&mut self, n: usize, ca: usize, error: acme::Error) {
        let now = self.clock();
        let domain = &mut self.domains[n];
        let failure = Failure::of(&error::Error::from(error), Some(CAS[ca]), &domain.md.domains, now);
        if let Some(rate_limit) = &failure.rate_limit {
            self.rate_limits.add(rate_limit, now);
        }
        let pressure = pressure(&domain.md, &domain.certs, now);
        let urls = domain.md.ca.urls.clone();
        retry::failed(&mut domain.job, &failure, &urls, pressure, World::retry(), self.random.next(), now);
    }

    fn issued(&mut self, n: usize, ca: usize) {
        self.in_flight[ca] -= 1;
        let now = self.now;
        let domain = &mut self.domains[n];
        if std::mem::take(&mut domain.job.finished) {
            let left = domain.certs[0].1.as_ref().map(|old| old.not_after.since(now).as_secs_f64());
            if let Some(left) = left {
                domain.least_left = domain.least_left.min(100.0 * left / domain.lifetime.as_secs_f64());
            }
            domain.staged = Some(cert(n, now, domain.lifetime));
            domain.issued.push(now);
            let request = Request { md: &domain.md, ca: CAS[ca], cause: domain.cause, is_replacement: true };
            let local = shifted(now, self.clock_ahead);
            domain.ledger.add(brake::issued(&request, domain.lifetime, 1, local));
            domain.slot = Slot::Done;
            domain.md.ca.url = Some(CAS[ca].into());
            retry::succeeded(&mut domain.job, local);
            domain.job.next_run = None;
            domain.renewals += 1;
            if self.has_whims || domain.certs[0].1.as_ref().is_none_or(|old| old.not_after <= now) {
                // A site without a good certificate is not made to wait for the night.
                self.activate(n);
            }
        } else {
            let next = domain.job.next_run.unwrap();
            self.look_at(n, next);
        }
        for _ in 0..self.queue.len().min(PARALLEL) {
            if let Some(waiting) = self.queue.pop_front() {
                self.look_at(waiting, self.clock());
            }
        }
    }

    fn activate(&mut self, n: usize) {
        let domain = &mut self.domains[n];
        if let Some(new) = domain.staged.take() {
            domain.expired |= domain.certs[0].1.as_ref().is_some_and(|old| old.not_after < self.now);
            domain.certs[0].1 = Some(new);
            domain.entries.clear();
            self.look_at(n, self.clock());
        }
    }

    /// How many sets a domain got in a day at most.
    fn most_a_day(&self) -> usize {
        let in_a_day = |issued: &[Timestamp]| {
            let within =
                |from: &Timestamp| issued.iter().filter(|at| *at >= from && at.since(*from) < DAY).count();
            issued.iter().map(within).max().unwrap_or_default()
        };
        self.domains.iter().map(|domain| in_a_day(&domain.issued)).max().unwrap_or_default()
    }

    /// Activates what is staged; failing jobs begin anew. What runs goes on, what waits is looked at again.
    fn restart(&mut self) {
        let now = self.clock();
        for n in 0..DOMAINS {
            self.activate(n);
            let job = &self.domains[n].job;
            if job.errors > 0 && matches!(self.domains[n].slot, Slot::Waiting(_)) {
                self.domains[n].job =
                    retry::of_the_next_start(job, now).unwrap_or_else(|| Job::new(&job.name));
                self.look_at(n, now);
            }
        }
        // The next child learns of the holds from the jobs.
        self.rate_limits = RateLimits::default();
        for domain in &self.domains {
            if let Some(rate_limit) = &domain.job.retry_state.rate_limit {
                self.rate_limits.add(rate_limit, now);
            }
        }
    }

    fn expired(&self) -> usize {
        self.domains
            .iter()
            .filter(|d| d.expired || d.certs[0].1.as_ref().is_some_and(|cert| cert.not_after < self.now))
            .count()
    }

    fn print(&self, title: &str) {
        println!("\n{title}");
        println!(
            "{:>10} {:>8} {:>9} {:>12} {:>8}",
            "lifetime", "domains", "renewals", "least left", "expired"
        );
        for days in [6u32, 45, 90] {
            let group: Vec<_> = self.domains.iter().filter(|d| d.lifetime == DAY * days).collect();
            let renewals: u32 = group.iter().map(|d| d.renewals).sum();
            let least = group.iter().map(|d| d.least_left).fold(100.0, f64::min);
            let expired = group.iter().filter(|d| d.expired).count();
            println!("{days:>8} d {:>8} {renewals:>9} {least:>10.1} % {expired:>8}", group.len());
        }
        for (url, ca) in CAS.iter().zip(&self.cas) {
            println!(
                "{url}: {} requests, {} refused, {} before the CA wanted to be asked again",
                ca.requests, ca.refusals, ca.intrusions
            );
        }
    }
}

/// The end of a world: what has to hold in every weather.
fn assert_good(world: &World, title: &str) {
    world.print(title);
    assert_eq!(world.expired(), 0, "expired certificates");
    assert!(world.most_a_day() <= 2, "{} sets in a day", world.most_a_day());
    for (peak, ca) in world.peak.iter().zip(&world.cas) {
        assert!(*peak <= PER_CA, "{peak} at one CA at once");
        assert_eq!(ca.intrusions, 0, "requests to a CA that had asked to be spared");
    }
    let domains = &world.domains;
    let renewals = |days: u32| domains.iter().filter(move |d| d.lifetime == DAY * days).map(|d| d.renewals);
    // A certificate is not replaced much earlier than it has to be.
    for (days, most) in [(6, 120), (45, 16), (90, 8)] {
        let (least, top) = (renewals(days).min().unwrap(), renewals(days).max().unwrap());
        assert!(least >= DAYS / days && top <= most, "{days} days: {least} to {top} renewals");
    }
}

#[test]
fn with_one_ca_no_certificate_expires_in_outages_and_under_tight_limits() {
    let mut world = World::new(1);
    world.weather(0, 20, HOUR * 6, |_| Weather::Down);
    world.weather(0, 50, HOUR * 24, |_| Weather::Down);
    world.weather(0, 90, HOUR * 20, Weather::Maintenance);
    world.weather(0, 130, HOUR * 2, Weather::Maintenance);
    world.weather(0, 200, HOUR * 18, Weather::Limited);
    // A week in which the CA takes less than a third of what it takes otherwise.
    world.run(BEGIN.plus(DAY * 250));
    world.cas[0].quota = 60;
    world.run(BEGIN.plus(DAY * 257));
    world.cas[0].quota = ORDERS.0;
    // Every thirtieth domain cannot be reached for half a day.
    for (n, domain) in world.domains.iter_mut().enumerate().filter(|(n, _)| n % 30 == 0) {
        let from = BEGIN.plus(DAY * 300).plus(HOUR * u32::try_from(n / 30).unwrap());
        domain.unreachable = Some((from, from.plus(HOUR * 12)));
    }
    world.run(BEGIN.plus(DAY * DAYS));
    assert_good(&world, "one CA, outages up to a day, a week of tight limits");
    assert!(world.cas[0].refusals > 0);
}

#[test]
fn with_two_cas_no_certificate_expires_through_refusals_and_outages() {
    let mut world = World::new(2);
    world.weather(0, 60, DAY * 7, Weather::Limited);
    world.weather(0, 150, DAY * 4, |_| Weather::Down);
    world.weather(0, 220, DAY * 7, Weather::Maintenance);
    world.weather(1, 222, HOUR * 8, |_| Weather::Down);
    world.run(BEGIN.plus(DAY * DAYS));
    assert_good(&world, "two CAs, the first limited for a week, down for days");
    assert!(world.cas[1].requests > 0, "the second one is asked");
}

#[test]
fn no_sum_of_reasons_has_more_than_two_sets_a_day_issued() {
    for (ahead, days) in [(0, 15), (70 * 86_400, 15), (88 * 86_400, 15)] {
        let mut world = World::new(1);
        world.has_whims = true;
        world.run(BEGIN.plus(DAY));
        world.set_clock(ahead);
        world.run(BEGIN.plus(DAY * 2));
        // What came before the clock was set is by another clock.
        world.domains.iter_mut().for_each(|domain| domain.issued.clear());
        world.run(BEGIN.plus(DAY * days));
        let sets: usize = world.domains.iter().map(|domain| domain.issued.len()).sum();
        let (most, average) = (world.most_a_day(), sets as f64 / DOMAINS as f64 / f64::from(days));
        println!("{ahead} s ahead: {average:.2} sets a day, {most} at most");
        assert!(most <= 2, "{most} sets in a day");
        assert!(average > 0.5, "the CA's whims are what is tried here: {average}");
    }
}

#[test]
fn no_certificate_expires_because_the_clock_was_wrong() {
    let mut world = World::new(1);
    for (day, ahead, hours) in [(60u32, 3 * 86_400i64, 5u32), (120, -12 * 3600, 24), (200, 30 * 86_400, 1)] {
        let from = BEGIN.plus(DAY * day);
        world.run(from);
        world.set_clock(ahead);
        world.run(from.plus(HOUR * hours));
        world.set_clock(0);
    }
    world.run(BEGIN.plus(DAY * DAYS));
    world.print("one CA, the clock 3 and 30 days ahead, and half a day behind");
    assert_eq!(world.expired(), 0);
}
