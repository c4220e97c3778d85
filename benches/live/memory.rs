// SPDX-License-Identifier: Apache-2.0
//! The memory of all processes where every child serves sets that went live since the start, beside children
//! that serve the same sets from the start.

use super::processes::proportional;
use super::visitor::{Tls, Visitor};
use super::{PATIENCE, lab, names, sites};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use support::issuer::{self, Issuer};
use support::{Authority, Config, Httpd, Lab, wait_for};

/// A look each tenth of a second: as many equal ones mean that the beats of all children have read what they
/// have to.
const QUIET: usize = 20;
/// kB that a look may differ from the one before.
const NOISE: u64 = 64;

struct Site {
    lab: Lab,
    issuer: Issuer,
    root: PathBuf,
    store: PathBuf,
    names: Vec<String>,
    children: usize,
    httpd: Httpd,
}

/// Of `domains` in so many children: at the start, once all are live in every child, once each child has served
/// each of them, and after a graceful restart.
pub fn run(domains: usize, children: usize) {
    let mut off = Site::start(domains, children, "off");
    let floor = [off.settled(), off.visited(), off.restarted()];
    drop(off);
    let mut on = Site::start(domains, children, "on");
    let start = on.settled();
    on.stage_all();
    let ours = [on.settled(), on.visited(), on.restarted()];
    let per_set = |from: u64, to: u64| to.saturating_sub(from) as f64 / (domains * children) as f64;
    println!(
        "memory: {domains} domains, {children} children, PSS of all processes in kB (and kB a domain and child)"
    );
    println!(
        "  live activation off: start {}, each visited in each child {} ({:.1}), after a graceful restart {}",
        floor[0],
        floor[1],
        per_set(floor[0], floor[1]),
        floor[2]
    );
    println!(
        "  live activation on:  start {start}, all live {} ({:.1}), each visited {} ({:.1} over that with it off), after a graceful restart {}",
        ours[0],
        per_set(start, ours[0]),
        ours[1],
        per_set(floor[1] - floor[0], ours[1].saturating_sub(start)),
        ours[2]
    );
}

impl Site {
    fn start(domains: usize, children: usize, live: &str) -> Site {
        let lab = lab("memory");
        let issuer = Issuer::new();
        let root = lab.path("root.pem");
        fs::write(&root, issuer.root.to_pem().unwrap()).unwrap();
        let names = names(domains);
        let config = sites(Config::with_ca(&lab, &Authority::new(&lab)), &names);
        let store = config.store();
        names.iter().for_each(|name| issuer::install(&store, &[name], &[&issuer.issue(&[name])]));
        let httpd = config
            .line(&format!("MDLiveActivation {live}\nMDCheckInterval 20s\nMDRetryDelay 1s\nThreadsPerChild 4"))
            .line(&format!("StartServers {children}\nServerLimit {children}\nMaxRequestWorkers {}\nMaxSpareThreads {0}\nMaxConnectionsPerChild 0", 4 * children))
            .start();
        Site { lab, issuer, root, store, names, children, httpd }
    }

    fn stage_all(&self) {
        self.names
            .iter()
            .for_each(|name| issuer::stage(&self.store, &[name], &[&self.issuer.issue(&[name])]));
        let count = self.names.len();
        wait_for("all sets", PATIENCE, || (self.httpd.logged("is live now").len() >= count).then_some(()));
    }

    /// kB, once all children are there and nothing changes.
    fn settled(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut equal) = (0, 0);
        while equal < QUIET {
            assert!(Instant::now() < deadline, "httpd does not settle");
            thread::sleep(Duration::from_millis(100));
            let (count, now) = proportional(&self.httpd);
            equal = if count == self.children + 1 && now.abs_diff(last) < NOISE { equal + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Children take turns by chance: of so many visits, hardly a domain in a child is left out.
    fn visited(&self) -> u64 {
        let visitor = Visitor::new(self.lab.https, &self.root, Tls::V13);
        for _ in 0..4 * self.children {
            for name in &self.names {
                visitor.connect(name).unwrap().request().unwrap();
            }
        }
        self.settled()
    }

    fn restarted(&mut self) -> u64 {
        self.httpd.graceful();
        self.settled()
    }
}
