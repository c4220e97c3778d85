// SPDX-License-Identifier: Apache-2.0
//! Renewals, graceful restarts, swaps of the module, killed children and clients, all at once and for long:
//! what a site with short-lived certificates goes through in years. No request may fail, and no child may
//! crash.

use super::events::{Event, Events, restarts};
use super::processes::{self, holdings};
use super::visitor::{Failure, Tls, Visit, Visitor, fingerprint};
use super::{PATIENCE, lab, sites};
use openssl::x509::X509;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::{Authority, Config, Httpd, RaisedAtEnd, wait_for};

/// Seconds. A third of it is a renewal's time.
const LIFETIME: u32 = 60;
const WINDOW: &str = "MDRenewWindow 66%";
const PAUSE_BETWEEN_EVENTS: Duration = Duration::from_secs(15);
/// Two domains: one with a key, and one with two.
const NAMES: [&str; 2] = ["d0.test", "d1.test"];
/// Who comes, by domain.
const CLIENTS: [(usize, Tls); 8] = [
    (0, Tls::V13),
    (1, Tls::V13),
    (0, Tls::V12Ec),
    (1, Tls::V12Ec),
    (0, Tls::V13),
    (1, Tls::V12Rsa),
    (0, Tls::V12Ec),
    (1, Tls::V12Rsa),
];
/// Requests of one connection, and the pause after each.
const REQUESTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(200);
/// A certificate is out of date where a newer one has been seen for so long.
const STALE: Duration = Duration::from_secs(2);

/// In the order they came.
struct Certificate {
    fingerprint: Vec<u8>,
    first_seen: Instant,
}

/// Worth a line.
const SLOW: Duration = Duration::from_millis(800);

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Connections that were closed between two requests: the client asks again, as RFC 9112 §9.5 has it.
    asked_again: AtomicUsize,
    /// New connections that failed when a child was killed: whoever it had accepted is lost with it.
    lost_with_child: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// By name and kind of key.
    certificates: Mutex<HashMap<(usize, i32), Vec<Certificate>>>,
    /// How many there were before these.
    earlier: AtomicUsize,
    /// The C module has new certificates at restarts alone.
    judges_age: AtomicBool,
    /// When a child was killed last.
    killed: Mutex<Option<Instant>>,
    longest: Mutex<Duration>,
}

impl Seen {
    fn fail(&self, begin: Instant, what: &str) {
        eprintln!("{:.1} s: {what}", begin.elapsed().as_secs_f64());
        lock(&self.failures).push(what.to_string());
    }

    fn failed(&self) -> usize {
        lock(&self.failures).len()
    }

    /// Whether a child was killed after this, or right before.
    fn was_killed_since(&self, asked: Instant) -> bool {
        lock(&self.killed).is_some_and(|killed| killed + Duration::from_millis(200) > asked)
    }

    /// Forgets which certificates came after which.
    fn begin_order(&self) {
        let known = std::mem::take(&mut *lock(&self.certificates));
        self.earlier.fetch_add(known.values().map(Vec::len).sum(), Ordering::Relaxed);
    }

    /// `Err`: it was replaced a while ago.
    fn note(&self, domain: usize, certificate: &X509) -> Result<(), String> {
        let kind = certificate.public_key().unwrap().id().as_raw();
        let mut certificates = lock(&self.certificates);
        let known = certificates.entry((domain, kind)).or_default();
        let fingerprint = fingerprint(certificate);
        let Some(at) = known.iter().position(|one| one.fingerprint == fingerprint) else {
            known.push(Certificate { fingerprint, first_seen: Instant::now() });
            return Ok(());
        };
        match known.get(at + 1).map(|newer| newer.first_seen.elapsed()) {
            Some(age) if age > STALE && self.judges_age.load(Ordering::Relaxed) => {
                Err(format!("{}: a certificate that was replaced {age:?} ago", NAMES[domain]))
            }
            _ => Ok(()),
        }
    }
}

pub fn run(minutes: u64, mpm: &'static str) {
    let lab = lab("endure");
    let pebble = Authority::new(&lab).lifetime(&lab, LIFETIME).start();
    let config = sites(Config::with_ca(&lab, &pebble.authority), &[NAMES[0].to_string()]).mpm(mpm);
    let httpd = config
        .line("<MDomainSet d1.test>\nMDPrivateKeys RSA P-256\n</MDomainSet>")
        .site(NAMES[1], &[])
        .line(&format!("{WINDOW}\nMDCheckInterval 1s\nMDRetryDelay 1s\nLogLevel notice md:info"))
        .start();
    let root = &pebble.authority.root;
    let visitor = |tls| Visitor::new(lab.https, root, tls);
    for (domain, tls) in CLIENTS {
        let visitor = visitor(tls);
        // In a row, so that no child alone takes them all.
        let visit = || visitor.connect(NAMES[domain]).ok()?.request().ok();
        wait_for("pages with a certificate of the CA", PATIENCE, || {
            (0..20).all(|_| visit().is_some()).then_some(())
        });
    }
    let (seen, done, begin) = (Seen::default(), AtomicBool::new(false), Instant::now());
    let (first, mut events) = (restarts(&httpd), Events::new());
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&done);
        for (domain, tls) in CLIENTS {
            let (seen, done, visitor) = (&seen, &done, visitor(tls));
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    come(&visitor, domain, seen, begin);
                }
            });
        }
        let end = begin + Duration::from_secs(minutes * 60);
        let mut next = begin + PAUSE_BETWEEN_EVENTS;
        let mut before = Vec::new();
        while Instant::now() < end {
            thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
            if next < end {
                happen(&mut events, &httpd, &seen, begin);
            }
            next = next.max(Instant::now()) + PAUSE_BETWEEN_EVENTS;
            let count = restarts(&httpd) - first;
            if count >= 2 && before.is_empty() {
                before = holdings(&httpd);
            }
            println!("{:>5} s: {}", begin.elapsed().as_secs(), seen.said(count));
        }
        done.store(true, Ordering::Relaxed);
        println!("endure: {mpm}, {minutes} minutes: {}", seen.said(restarts(&httpd) - first));
        processes::print("begin", &before);
        processes::print("end  ", &holdings(&httpd));
    });
    let [ours, c] = events.crashes(&httpd);
    println!("endure: children that crashed: {} of this module, {} of the C module", ours.len(), c.len());
    ours.iter().for_each(|line| println!("  {line}"));
    let failures = lock(&seen.failures);
    assert!(failures.is_empty(), "{} requests failed", failures.len());
    assert!(ours.is_empty(), "{} children crashed", ours.len());
}

fn happen(events: &mut Events, httpd: &Httpd, seen: &Seen, begin: Instant) {
    let event = events.next();
    println!("{:>5} s: {event:?}", begin.elapsed().as_secs());
    if event == Event::KillChild {
        *lock(&seen.killed) = Some(Instant::now());
    }
    if event == Event::ToC {
        seen.judges_age.store(false, Ordering::Relaxed);
    }
    if let Err(what) = events.happen(event, httpd) {
        seen.fail(begin, &what);
    }
    if !events.is_c() && !seen.judges_age.swap(true, Ordering::Relaxed) {
        // The C module may have gone back to one that was stored before it came.
        seen.begin_order();
    }
}

impl Seen {
    fn said(&self, restarts: usize) -> String {
        let known: usize = lock(&self.certificates).values().map(Vec::len).sum();
        let certificates = self.earlier.load(Ordering::Relaxed) + known;
        format!(
            "{restarts} restarts, {certificates} certificates, {} connections, {} requests, {} of them asked \
             again after a closed connection, {} lost with a killed child, the longest {:.0} ms, {} failed",
            self.connections.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
            self.asked_again.load(Ordering::Relaxed),
            self.lost_with_child.load(Ordering::Relaxed),
            lock(&self.longest).as_secs_f64() * 1e3,
            self.failed()
        )
    }
}

/// One client's connection: some requests, one after the other.
fn come(visitor: &Visitor, domain: usize, seen: &Seen, begin: Instant) {
    let mut open: Option<Visit> = None;
    for _ in 0..REQUESTS {
        let asked = Instant::now();
        let mut asked_for = ask(&mut open, visitor, domain, seen);
        if asked_for.is_err() && seen.was_killed_since(asked) {
            seen.lost_with_child.fetch_add(1, Ordering::Relaxed);
            asked_for = ask(&mut None, visitor, domain, seen);
        }
        if let Err(what) = asked_for {
            seen.fail(begin, &what);
            open = None;
        }
        let took = asked.elapsed();
        if took > SLOW {
            let parts = open.as_ref().map(|visit| visit.took);
            eprintln!("{:.1} s: slow: {took:?}, [TCP, TLS]: {parts:?}", begin.elapsed().as_secs_f64());
        }
        let mut longest = lock(&seen.longest);
        *longest = took.max(*longest);
        drop(longest);
        thread::sleep(PAUSE);
    }
}

fn ask(open: &mut Option<Visit>, visitor: &Visitor, domain: usize, seen: &Seen) -> Result<(), String> {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(mut visit) = open.take() {
        match visit.request() {
            Ok(keeps) => {
                *open = keeps.then_some(visit);
                return Ok(());
            }
            Err(Failure::Closed(_)) => seen.asked_again.fetch_add(1, Ordering::Relaxed),
            Err(Failure::Wrong(what)) => return Err(what),
        };
    }
    seen.connections.fetch_add(1, Ordering::Relaxed);
    let mut visit = visitor.connect(NAMES[domain])?;
    let certificate = visit.certificate().ok_or("no certificate")?;
    seen.note(domain, &certificate)?;
    let keeps = visit.request().map_err(|failure| format!("a new connection: {failure}"))?;
    *open = keeps.then_some(visit);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
