// SPDX-License-Identifier: Apache-2.0
//! Handshakes while sets go live: whether each works out, and what the processes hold before and after.

use super::processes::{holdings, print_changes, resident};
use super::visitor::{Tls, Visitor};
use super::{PATIENCE, lab, names, sites};
use openssl::x509::X509;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, Lab, RaisedAtEnd, tls, wait_for};

/// What goes live only at the next look would wait for that.
const QUICK: &str = "MDCheckInterval 1s\nMDRetryDelay 1s";

/// A server, and sets for its domains that need no CA.
struct Site {
    lab: Lab,
    issuer: Issuer,
    root: PathBuf,
    store: PathBuf,
    names: Vec<String>,
    httpd: Httpd,
}

impl Site {
    fn start(domains: usize, mpm: &'static str) -> Site {
        let lab = lab("load");
        let issuer = Issuer::new();
        let root = lab.path("root.pem");
        fs::write(&root, issuer.root.to_pem().unwrap()).unwrap();
        let names = names(domains);
        let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names).mpm(mpm);
        let store = config.store();
        names.iter().for_each(|name| issuer::install(&store, &[name], &[&issuer.issue(&[name])]));
        let httpd = config.line(QUICK).start();
        Site { lab, issuer, root, store, names, httpd }
    }

    fn stage(&self, name: &str) {
        issuer::stage(&self.store, &[name], &[&self.issuer.issue(&[name])]);
    }

    fn visitor(&self, tls: Tls) -> Visitor {
        Visitor::new(self.lab.https, &self.root, tls)
    }
}

#[derive(Default)]
struct Visits {
    done: AtomicBool,
    all: AtomicUsize,
    failed: AtomicUsize,
}

impl Visits {
    /// Visits one domain after the other until all is done. A key of another certificate would fail the
    /// handshake.
    fn make(&self, visitor: &Visitor, names: &[String], first: usize, pause: Duration) {
        for name in names.iter().cycle().skip(first) {
            if self.done.load(Ordering::Relaxed) {
                break;
            }
            let visited = visitor
                .connect(name)
                .and_then(|mut visit| visit.request().map_err(|failure| failure.to_string()));
            if let Err(what) = visited {
                eprintln!("{name}: {what}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.all.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }

    fn said(&self) -> String {
        let [all, failed] = [&self.all, &self.failed].map(|count| count.load(Ordering::Relaxed));
        format!("{all} handshakes with a request each, {failed} failed")
    }
}

/// So many activations, as quickly as they go.
pub fn count(activations: usize, mpm: &'static str) {
    const DOMAINS: usize = 50;
    let site = Site::start(DOMAINS, mpm);
    let visits = Visits::default();
    let wanted = |name: &str| {
        let chain = fs::read(site.store.join("staging").join(name).join("pubcert.p-256.pem")).unwrap();
        tls::serial(&X509::from_pem(&chain).unwrap())
    };
    let visitor = site.visitor(Tls::V13);
    let serial = |name: &str| Some(tls::serial(&visitor.connect(name).ok()?.certificate()?));
    let round = || {
        site.names.iter().for_each(|name| site.stage(name));
        for name in &site.names {
            let wanted = wanted(name);
            wait_for(name, PATIENCE, || (serial(name)? == wanted).then_some(()));
        }
    };
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&visits.done);
        for (first, tls) in [(0, Tls::V13), (17, Tls::V12Ec), (34, Tls::V13)] {
            let (visits, visitor, names) = (&visits, site.visitor(tls), &site.names);
            scope.spawn(move || visits.make(&visitor, names, first, Duration::ZERO));
        }
        // What grows at first only, as pools do, is there after some rounds.
        (0..4).for_each(|_| round());
        let before = holdings(&site.httpd);
        (0..activations.div_ceil(DOMAINS)).for_each(|_| round());
        visits.done.store(true, Ordering::Relaxed);
        println!("load: {mpm}, {activations} activations, {}", visits.said());
        print_changes(&before, &holdings(&site.httpd));
    });
}

/// New certificates each second, for so many minutes.
pub fn minutes(minutes: u64, mpm: &'static str) {
    /// How many go live in a second, of twice as many domains.
    const RATE: usize = 4;
    let site = Site::start(2 * RATE, mpm);
    let visits = Visits::default();
    let live = || site.httpd.logged("is live now").len();
    thread::scope(|scope| {
        let _done = RaisedAtEnd(&visits.done);
        for (first, tls) in [(0, Tls::V13), (2, Tls::V12Ec), (4, Tls::V13), (6, Tls::V12Ec)] {
            let (visits, visitor, names) = (&visits, site.visitor(tls), &site.names);
            scope.spawn(move || visits.make(&visitor, names, first, Duration::from_millis(20)));
        }
        let mut next = Instant::now();
        let mut turns = site.names.chunks(RATE).cycle();
        let mut second = || {
            turns.next().into_iter().flatten().for_each(|name| site.stage(name));
            next += Duration::from_secs(1);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        };
        // The same for what grows at first only.
        (0..30).for_each(|_| second());
        let (before, first) = (holdings(&site.httpd), live());
        for minute in 1..=minutes {
            (0..60).for_each(|_| second());
            let resident = resident(&before, &holdings(&site.httpd));
            println!(
                "{minute:>3} min: {} activations, {}, kB resident {resident:?}",
                live() - first,
                visits.said()
            );
        }
        visits.done.store(true, Ordering::Relaxed);
        let refused = site.httpd.logged("AH10069").len();
        println!(
            "load: {mpm}, {minutes} minutes: {} activations, {refused} refused, {}",
            live() - first,
            visits.said()
        );
        print_changes(&before, &holdings(&site.httpd));
    });
    assert_eq!(visits.failed.load(Ordering::Relaxed), 0, "a handshake or its request failed");
}
