// SPDX-License-Identifier: Apache-2.0
//! Memory and processor time of a node that has nothing to do: the same store with the fleet and without it, in turns.

use crate::measure::{cpu, load, memory};
use crate::{PATIENCE, install, lab, names, node, sets_in, start};
use openssl::pkey::Id;
use std::thread;
use std::time::{Duration, Instant};
use support::{Authority, fleet, wait_for};

const SETTLES: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);

pub fn run(engine: &str, count: usize, rounds: usize) {
    let lab = lab("idle");
    let engine_of = start(engine, &lab);
    let authority = Authority::new(&lab);
    let names = names(count);
    let [alone, joined] =
        ["", &engine_of.directives()].map(|engine| node(&lab, &authority, 1, engine, &names));
    install(&alone, &names, Id::EC);
    {
        // The sets are in the engine and in the store's copies before anything is measured.
        let node = joined.clone().start();
        wait_for("all sets", PATIENCE, || {
            let is_there = sets_in(&node.config.store()).len() == count;
            thread::sleep(Duration::from_millis(500));
            (is_there && crate::sync::count_sets(&engine_of) == count).then_some(())
        });
    }
    for _ in 0..rounds {
        let measured = [("without", &alone), ("with", &joined)].map(|(which, config)| {
            let node = config.clone().start();
            if which == "with" {
                fleet::wait_connected(&node, true, PATIENCE);
            }
            thread::sleep(SETTLES);
            let (before, begin) = (cpu(&node), Instant::now());
            thread::sleep(IDLE);
            let share = (cpu(&node) - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
            (memory(&node), share)
        });
        let [(memory_alone, cpu_alone), (memory_joined, cpu_joined)] = measured;
        println!(
            "idle, {engine}: {count} MDs: memory without {memory_alone} kB, with {memory_joined} kB ({:+.2} kB an MD, \
             {:.2} ×); processor time without {cpu_alone:.3} % of a core, with {cpu_joined:.3} % ({:.2} ×); load {}",
            (memory_joined as f64 - memory_alone as f64) / count as f64,
            memory_joined as f64 / memory_alone as f64,
            cpu_joined / cpu_alone,
            load()
        );
    }
}
