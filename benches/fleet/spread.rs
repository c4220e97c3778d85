// SPDX-License-Identifier: Apache-2.0
//! From the publication of a set, which the node that renews notes in its store at once, until all nodes serve it:
//! clients of each connect all the time.

use crate::engine::{Engine, a2md};
use crate::measure::{at, client, load, served};
use crate::{ALL, PATIENCE, lab, names, node, start};
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};
use support::{Authority, Httpd, fleet, wait_for};

/// Handshakes of one client after which no child has the set before any more.
const IN_A_ROW: usize = 24;
const PAUSE: Duration = Duration::from_millis(8);

pub fn run(engine: &str, count: usize) {
    let lab = lab("spread");
    let engine_of: Engine = start(engine, &lab);
    let pebble = Authority::new(&lab).start();
    fleet::point_names_at(&pebble, 3);
    // One a minute is renewed of each at most.
    let names = names(count);
    let nodes =
        fleet::start(ALL.map(|n| node(&lab, &pebble.authority, n, &engine_of.directives(), &names)).into());
    crate::measure::wait_issued(&ALL, lab.https, &names, "Pebble");
    let mut times: Vec<[u128; 3]> = Vec::new();
    for (turn, name) in names.iter().enumerate() {
        times.push(renew(&nodes, lab.https, name, turn % nodes.len()));
    }
    let mut of_others: Vec<u128> = Vec::new();
    let mut of_all: Vec<u128> = Vec::new();
    for of_nodes in &times {
        let (least, most) = (of_nodes.iter().min().unwrap(), of_nodes.iter().max().unwrap());
        of_all.push(*most);
        of_others.push(*least);
    }
    of_all.sort_unstable();
    of_others.sort_unstable();
    println!(
        "spread, {engine}: {count} renewals, from publication to the clients of the first node and of all three, ms: \
         median {}, {}; 99 % {}, {}; most {}, {}; load {}",
        at(&of_others, 50),
        at(&of_all, 50),
        at(&of_others, 99),
        at(&of_all, 99),
        at(&of_others, 100),
        at(&of_all, 100),
        load()
    );
}

/// By node: milliseconds until no client sees the former certificate.
fn renew(nodes: &[Httpd], port: u16, name: &str, by: usize) -> [u128; 3] {
    let former = served(&client(), 1, port, name).unwrap().0;
    let before = SystemTime::now();
    a2md(&nodes[by], &["renew", "--force", name]);
    let seen: Vec<SystemTime> = thread::scope(|scope| {
        let clients = ALL.map(|number| {
            scope.spawn({
                let former = &former;
                move || watch(number, port, name, former)
            })
        });
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let published = wait_for("the set in each store", PATIENCE, || {
        let written: Option<Vec<SystemTime>> = nodes.iter().map(|node| noted_since(node, before)).collect();
        written?.into_iter().min()
    });
    [0, 1, 2].map(|at| seen[at].duration_since(published).unwrap_or_default().as_millis())
}

/// When a node has last noted a set of the fleet, if that was after this.
fn noted_since(node: &Httpd, before: SystemTime) -> Option<SystemTime> {
    let sets = crate::sets_in(&node.config.store()).into_iter();
    sets.filter_map(|file| fs::metadata(file).ok()?.modified().ok()).filter(|at| *at > before).max()
}

/// When the first of many handshakes in a row that saw another certificate than this was over.
fn watch(number: u8, port: u16, name: &str, former: &str) -> SystemTime {
    let client = client();
    let (mut since, mut row) = (SystemTime::now(), 0);
    while row < IN_A_ROW {
        let is_new = served(&client, number, port, name).expect("a handshake").0 != former;
        let now = SystemTime::now();
        row = if is_new { row + 1 } else { 0 };
        if row <= 1 {
            since = now;
        }
        thread::sleep(PAUSE);
    }
    since
}
