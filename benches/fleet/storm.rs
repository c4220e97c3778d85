// SPDX-License-Identifier: Apache-2.0
//! What renewals of all domains at once ask of the engine, and the same nodes while they are idle.

use crate::engine::a2md;
use crate::measure::{Asked, client, served, wait_issued};
use crate::{ALL, lab, names, node, start};
use std::thread;
use std::time::Duration;
use support::{Authority, fleet};

const IDLE: Duration = Duration::from_secs(60);

pub fn run(engine: &str, count: usize) {
    let lab = lab("storm");
    let engine_of = start(engine, &lab);
    let pebble = Authority::new(&lab).start();
    fleet::point_names_at(&pebble, 3);
    let names = names(count);
    let nodes =
        fleet::start(ALL.map(|n| node(&lab, &pebble.authority, n, &engine_of.directives(), &names)).into());
    wait_issued(&ALL, lab.https, &names, "Pebble");
    thread::sleep(IDLE / 4);
    let asked = Asked::begin(&engine_of, &nodes);
    thread::sleep(IDLE);
    asked.print(&format!("storm, {engine}: three idle nodes with {count} MDs"), None);

    let client = client();
    let former: Vec<String> =
        names.iter().map(|name| served(&client, 1, lab.https, name).unwrap().0).collect();
    let (orders, asked) = (pebble.order_count(), Asked::begin(&engine_of, &nodes));
    let all: Vec<&str> = ["renew", "--force"].into_iter().chain(names.iter().map(String::as_str)).collect();
    a2md(&nodes[0], &all);
    for (name, former) in names.iter().zip(&former) {
        for number in ALL {
            while served(&client, number, lab.https, name).is_none_or(|(serial, _)| serial == *former) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    asked.print(&format!("storm, {engine}: three nodes, {count} renewals at once"), Some(count));
    println!("  {} orders", pebble.order_count() - orders);
}
