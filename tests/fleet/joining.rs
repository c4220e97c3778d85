// SPDX-License-Identifier: Apache-2.0
//! Nodes that come and go, with stores of their own or without.

use crate::engine::Engine;
use crate::on_both_engines;
use support::fleet::{self, wait_served};
use support::{Authority, Lab, SOON, wait_for};

on_both_engines![
    an_empty_node_is_served_by_the_fleet_without_an_order,
    single_nodes_that_join_share_the_newer_set_and_order_none,
    a_second_httpd_on_the_same_store_serves_and_says_who_replicates,
    a_secret_that_cannot_be_read_at_a_reload_ends_nothing,
];

fn an_empty_node_is_served_by_the_fleet_without_an_order(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let node = |number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]);
    let _first = node(1).start();
    let serial = wait_served(lab, &pebble, &[1], "a.test", SOON);
    let mut second = node(2).start();
    assert_eq!(wait_served(lab, &pebble, &[1, 2], "a.test", SOON), serial);
    // Its store is complete: it starts and serves without the engine.
    engine.kill();
    second.graceful();
    assert_eq!(fleet::served(lab, &pebble, 2, "a.test").serial(), serial);
    let config = second.stop();
    let _second = config.start();
    assert_eq!(fleet::served(lab, &pebble, 2, "a.test").serial(), serial);
    assert_eq!(pebble.order_count(), 1);
}

fn single_nodes_that_join_share_the_newer_set_and_order_none(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let mut stopped = Vec::new();
    for number in [1, 2] {
        fleet::point_names_at(&pebble, number);
        let node = fleet::node(lab, &pebble.authority, number, "", &["a.test"]);
        let alone = node.without_line("MDFleetNode").start();
        wait_served(lab, &pebble, &[number], "a.test", SOON);
        stopped.push(alone.stop());
    }
    let configs = stopped.into_iter().zip([1, 2]);
    let configs =
        configs.map(|(config, n)| config.line(&format!("{}\nMDFleetNode node{n}", engine.directives())));
    let _nodes = fleet::start(configs.collect());
    wait_served(lab, &pebble, &[1, 2], "a.test", SOON);
    assert_eq!(pebble.order_count(), 2);
}

fn a_second_httpd_on_the_same_store_serves_and_says_who_replicates(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let first = fleet::node(lab, &pebble.authority, 1, &engine.directives(), &["a.test"]).start();
    let serial = wait_served(lab, &pebble, &[1], "a.test", SOON);
    let second = fleet::node(lab, &pebble.authority, 2, &engine.directives(), &["a.test"]);
    let second = second.line(&format!("MDStoreDir {}", first.config.store().display())).start();
    assert_eq!(wait_served(lab, &pebble, &[1, 2], "a.test", SOON), serial);
    wait_for("who replicates", SOON * 3, || {
        let said = second.logged("replicates");
        said.iter().any(|line| line.contains("process ")).then_some(())
    });
    assert_eq!(pebble.order_count(), 1);
}

fn a_secret_that_cannot_be_read_at_a_reload_ends_nothing(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let mut node = fleet::node(lab, &pebble.authority, 1, &engine.directives(), &["a.test"]).start();
    let serial = wait_served(lab, &pebble, &[1], "a.test", SOON);
    let away = engine.secret.with_extension("away");
    std::fs::rename(&engine.secret, &away).unwrap();
    let (passed, said) = node.config.configtest();
    assert!(!passed && said.contains("MDFleetSecretFile"), "{said}");
    node.graceful();
    assert_eq!(fleet::served(lab, &pebble, 1, "a.test").serial(), serial);
    assert!(!node.logged(":crit]").is_empty(), "{}", node.log());
    std::fs::rename(&away, &engine.secret).unwrap();
    node.graceful();
    fleet::wait_connected(&node, true, SOON);
    node.replace_children();
    fleet::wait_connected(&node, true, SOON);
}
