// SPDX-License-Identifier: Apache-2.0
//! What a server costs while nothing happens: processor time and wake-ups of all its processes.

use crate::server;
use crate::site::{Children, Site, Store};
use crate::table::{self, Series};
use crate::{Request, Scenario};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Until children have read what they read at first.
const SETTLES: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);

pub fn measure(site: &Site, domains: usize, request: &Request) {
    let rounds = request.rounds.unwrap_or(Scenario::Idle.defaults().1);
    let mut percent: Vec<Series> = request.modules.iter().map(|module| Series::new(&module.name)).collect();
    let mut wakes = percent.clone();
    request.modules.iter().for_each(|module| site.fill_store(module));
    for _ in 0..rounds {
        for (i, module) in request.modules.iter().enumerate() {
            let server = site.start(module, Store::Filled, Children::Most);
            thread::sleep(SETTLES);
            let (before, begin) = (Spent::by(&server.processes()), Instant::now());
            thread::sleep(IDLE);
            let (after, seconds) = (Spent::by(&server.processes()), begin.elapsed().as_secs_f64());
            percent[i].add((after.ns - before.ns) as f64 / 1e7 / seconds);
            wakes[i].add((after.wakes - before.wakes) as f64 / seconds);
        }
    }
    println!("\nidle, {domains} domains, 16 children, {rounds} rounds, load {}", server::load());
    let quantities: [(&str, &[Series]); 2] = [("% of a core", &percent), ("wake-ups/s", &wakes)];
    table::print(&quantities, ("per 1000 domains", 1000.0), domains);
}

/// Of all threads that live.
pub struct Spent {
    /// On a processor (the kernel's schedstat).
    pub ns: u64,
    /// How often a thread has gone to sleep by itself.
    pub wakes: u64,
}

impl Spent {
    pub fn by(processes: &[u32]) -> Spent {
        let threads = processes.iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            tasks.map(|task| task.path()).collect::<Vec<_>>()
        });
        let mut spent = Spent { ns: 0, wakes: 0 };
        for thread in threads {
            let text = |file: &str| fs::read_to_string(thread.join(file)).unwrap_or_default();
            let ns = text("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
            let wakes = text("status")
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok());
            spent.ns += ns.unwrap_or(0);
            spent.wakes += wakes.unwrap_or(0);
        }
        spent
    }
}
