// SPDX-License-Identifier: Apache-2.0
//! First certificates of many domains on three empty nodes, beside one node without a fleet; they take turns.

use crate::measure::{load, wait_issued};
use crate::{ALL, lab, names, node, start};
use std::time::Instant;
use support::{Authority, fleet};

pub fn run(engine: &str, count: usize, rounds: usize) {
    let names = names(count);
    let mut ratios: Vec<f64> = Vec::new();
    for _ in 0..rounds {
        let took = [&[1_u8][..], &ALL].map(|nodes| {
            let lab = lab("empty");
            let engine = (nodes.len() > 1).then(|| start(engine, &lab));
            let directives = engine.as_ref().map(|engine| engine.directives()).unwrap_or_default();
            let pebble = Authority::new(&lab).start();
            // The CA looks at the last.
            fleet::point_names_at(&pebble, nodes.len() as u8);
            let configs = nodes.iter().map(|&n| node(&lab, &pebble.authority, n, &directives, &names));
            let configs = configs.collect();
            rustix::fs::sync();
            let begin = Instant::now();
            let _nodes = fleet::start(configs);
            wait_issued(nodes, lab.https, &names, "Pebble");
            (begin.elapsed().as_secs_f64(), pebble.order_count(), pebble.account_count())
        });
        let [(alone, ..), (together, orders, accounts)] = took;
        ratios.push(together / alone);
        println!(
            "empty, {engine}: {count} domains: one node without a fleet {alone:.1} s; three nodes {together:.1} s, \
             {orders} orders, {accounts} accounts; load {}",
            load()
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("empty, {engine}: ratios {ratios:.2?}");
}
