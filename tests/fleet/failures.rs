// SPDX-License-Identifier: Apache-2.0
//! An engine that fails costs no handshake, and is used again when it is back.

use crate::engine::{Engine, ask_renewal};
use crate::on_both_engines;
use std::sync::atomic::Ordering;
use support::fleet::{self, Clients, LEASE, wait_connected, wait_served};
use support::{Authority, Lab, SOON, wait_for};

on_both_engines![
    an_engine_that_is_killed_and_restarted_costs_no_handshake,
    an_engine_that_has_lost_everything_is_filled_again,
    an_engine_that_is_frozen_for_a_minute_costs_no_handshake,
];

const BOTH: [u8; 2] = [1, 2];

struct Pair {
    pebble: support::Pebble,
    nodes: Vec<support::Httpd>,
    serial: String,
}

fn pair(lab: &Lab, engine: &Engine) -> Pair {
    let pebble = Authority::new(lab).start();
    let configs =
        BOTH.map(|number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]));
    let nodes = fleet::start(configs.into());
    let serial = wait_served(lab, &pebble, &BOTH, "a.test", SOON);
    Pair { pebble, nodes, serial }
}

impl Pair {
    /// Both renew again together: a certificate that one of them gets is served by both.
    fn renews(&mut self, lab: &Lab) {
        for node in &self.nodes {
            wait_connected(node, true, SOON * 2);
        }
        ask_renewal(&self.nodes[0], "a.test");
        let former = self.serial.clone();
        self.serial = wait_for("a new certificate at both", SOON * 2, || {
            let serial = wait_served(lab, &self.pebble, &BOTH, "a.test", SOON);
            (serial != former).then_some(serial)
        });
    }
}

fn an_engine_that_is_killed_and_restarted_costs_no_handshake(lab: &Lab, engine: &mut Engine) {
    let mut pair = pair(lab, engine);
    let clients = Clients::connect(lab, &pair.pebble, &BOTH, "a.test");
    engine.kill();
    for node in &pair.nodes {
        wait_connected(node, false, 2 * LEASE);
    }
    // Each starts, and serves its certificate.
    pair.nodes[1].graceful();
    engine.restart();
    pair.renews(lab);
    assert_eq!(clients.failed(), Vec::<String>::new());
    let good = clients.good.load(Ordering::Relaxed);
    assert!(good > 10, "{good} handshakes");
    assert_eq!(pair.pebble.order_count(), 2);
}

fn an_engine_that_has_lost_everything_is_filled_again(lab: &Lab, engine: &mut Engine) {
    let mut pair = pair(lab, engine);
    let clients = Clients::connect(lab, &pair.pebble, &BOTH, "a.test");
    engine.wipe();
    wait_for("the set in the engine", SOON * 2, || engine.dump().contains("v1/set/").then_some(()));
    pair.renews(lab);
    assert_eq!(clients.failed(), Vec::<String>::new());
    assert_eq!((pair.pebble.order_count(), pair.pebble.account_count()), (2, 1));
}

fn an_engine_that_is_frozen_for_a_minute_costs_no_handshake(lab: &Lab, engine: &mut Engine) {
    let mut pair = pair(lab, engine);
    let clients = Clients::connect(lab, &pair.pebble, &BOTH, "a.test");
    engine.freeze();
    for node in &pair.nodes {
        wait_connected(node, false, 4 * LEASE);
    }
    // Its own clock has gone on: the leases have ended.
    engine.go_on();
    pair.renews(lab);
    assert_eq!(clients.failed(), Vec::<String>::new());
    assert_eq!(pair.pebble.order_count(), 2);
}
