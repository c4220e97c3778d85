// SPDX-License-Identifier: Apache-2.0
//! One renews, any node answers, all serve.

use crate::engine::{Engine, a2md, ask_renewal, try_a2md};
use crate::on_both_engines;
use std::time::Duration;
use support::fleet::{self, LEASE, wait_served};
use support::{Authority, Command, Lab, SOON, wait_for};

on_both_engines![
    three_empty_nodes_place_one_order_for_each_domain_with_one_account,
    a_node_that_does_not_renew_answers_by_http_and_by_tls_alpn,
    the_node_that_renews_is_killed_and_another_finishes_its_order,
    the_engine_has_no_secret_and_no_name,
    a_key_that_waits_at_one_node_becomes_that_of_all,
];

const ALL: [u8; 3] = [1, 2, 3];

fn three_empty_nodes_place_one_order_for_each_domain_with_one_account(lab: &Lab, engine: &mut Engine) {
    const COUNT: usize = 50;
    let pebble = Authority::new(lab).start();
    fleet::point_names_at(&pebble, 3);
    let names: Vec<String> = (0..COUNT).map(|n| format!("site{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let renewed = Command::new(lab, "renewed", "[ \"$1\" != renewed ] || exit 0");
    let configs = ALL.map(|number| {
        let config = fleet::node(lab, &pebble.authority, number, &engine.directives(), &names);
        // The CA asks any node: one that has not joined yet knows no answer, and its order would fail. RSA keys for
        // all domains, and for what each node serves meanwhile, would take longer than all else.
        config.line(&format!("MDPrivateKeys P-256\nMDInitialDelay 10s\nMDMessageCmd {}", renewed.line))
    });
    let nodes = fleet::start(configs.into());
    nodes.iter().for_each(|node| fleet::wait_connected(node, true, SOON));
    for name in &names {
        wait_served(lab, &pebble, &ALL, name, SOON * 4);
    }
    assert_eq!((pebble.order_count(), pebble.account_count()), (COUNT, 1));
    let calls = |event: &str| renewed.calls().iter().filter(|call| call.starts_with(event)).count();
    wait_for("the events of all nodes", SOON, || (calls("activated ") == 3 * COUNT).then_some(()));
    assert_eq!(calls("renewed "), COUNT, "told by the node alone that has renewed");
    for node in &nodes {
        assert!(
            node.logged("[md:error]").is_empty() && node.logged("[md:crit]").is_empty(),
            "{}",
            node.log()
        );
    }
}

fn a_node_that_does_not_renew_answers_by_http_and_by_tls_alpn(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    fleet::point_names_at(&pebble, 3);
    let names = ["a.test", "b.test"];
    let challenges = [("a.test", "http-01"), ("b.test", "tls-alpn-01")];
    // The third is configured not to renew, so that another one does.
    let configs = ALL.map(|number| {
        let mut config = fleet::node(lab, &pebble.authority, number, &engine.directives(), &[]);
        for (name, challenge) in challenges {
            let mode = if number == 3 { "MDRenewMode manual" } else { "" };
            config =
                config.line(&format!("<MDomain {name}>\nMDCAChallenges {challenge}\n{mode}\n</MDomain>"));
        }
        fleet::hosts(config.line("Protocols http/1.1 acme-tls/1"), lab.https, &names)
    });
    let mut nodes = fleet::start(configs.into());
    for name in names {
        wait_served(lab, &pebble, &[1, 2], name, SOON);
    }
    assert_eq!((pebble.order_count(), pebble.account_count()), (2, 1));
    // What arrived at the third waits for a restart there.
    names.iter().for_each(|name| nodes[2].wait_staged(name));
    nodes[2].graceful();
    for name in names {
        wait_served(lab, &pebble, &ALL, name, SOON);
    }
    assert_eq!(pebble.order_count(), 2);
}

fn the_node_that_renews_is_killed_and_another_finishes_its_order(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).slow_validation(10).start();
    let configs =
        ALL.map(|number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]));
    let mut nodes: Vec<_> = fleet::start(configs.into()).into_iter().map(Some).collect();
    let renewing = wait_for("an order that the CA validates", SOON, || {
        let node = nodes[0].as_ref()?;
        let renewing = fleet::report(node)["renewing"][0]["node"].as_str().map(str::to_string);
        // By then the others know the order: until they do, no challenge is begun.
        renewing.filter(|_| pebble.order_count() == 1 && pebble.log().contains("POST /chalZ/"))
    });
    let number: u8 = renewing.trim_start_matches("node").parse().unwrap();
    let left: Vec<u8> = ALL.into_iter().filter(|&other| other != number).collect();
    fleet::point_names_at(&pebble, left[0]);
    let killed = nodes[usize::from(number) - 1].take().unwrap();
    killed.kill();
    wait_served(lab, &pebble, &left, "a.test", 2 * LEASE + Duration::from_secs(20));
    assert_eq!((pebble.order_count(), pebble.account_count()), (1, 1));
}

fn the_engine_has_no_secret_and_no_name(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let configs = [1, 2].map(|number| {
        fleet::node(lab, &pebble.authority, number, &engine.directives(), &["hidden-name.test"])
    });
    let nodes = fleet::start(configs.into());
    wait_served(lab, &pebble, &[1, 2], "hidden-name.test", SOON);
    let dump = engine.dump();
    assert!(dump.contains("v1/set/"), "{dump}");
    let secret = std::fs::read_to_string(&engine.secret).unwrap();
    for hidden in ["hidden-name", "PRIVATE KEY", "BEGIN CERT", "example.test", "node1", secret.trim()] {
        assert!(!dump.contains(hidden), "{hidden} in {dump}");
    }
    for node in &nodes {
        assert!(!node.log().contains(secret.trim()));
    }
}

fn a_key_that_waits_at_one_node_becomes_that_of_all(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    fleet::point_names_at(&pebble, 2);
    let (names, both) = (["a.test", "b.test", "c.test"], [1, 2]);
    let configs =
        both.map(|number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &names));
    let nodes = fleet::start(configs.into());
    for name in names {
        wait_served(lab, &pebble, &both, name, SOON);
    }
    let renew = |by: usize, name: &str| {
        let former = fleet::served(lab, &pebble, 1, name).serial();
        ask_renewal(&nodes[by], name);
        wait_for("a new certificate at both", SOON * 2, || {
            (wait_served(lab, &pebble, &both, name, SOON) != former).then_some(())
        });
    };
    // Each has the account in its store.
    renew(0, "a.test");
    let left =
        a2md(&nodes[0], &["account", "rollover", "127.0.0.1", "--at-renewal", "--type", "P-384", "-j"]);
    // A refused nonce has the CA asked twice.
    let changes = || [0, 1].map(|node: usize| nodes[node].logged("has its new key").len());
    assert_eq!(changes(), [0, 0]);
    renew(0, "b.test");
    renew(1, "c.test");
    assert_eq!((changes(), pebble.account_count()), ([1, 0], 1));
    assert_eq!(pebble.order_count(), 2 * names.len());
    for node in &nodes {
        assert!(node.logged("[md:error]").is_empty(), "{}", node.log());
    }
    let id = left.split("\"id\":").nth(1).and_then(|text| text.split('"').nth(1)).unwrap();
    let shown = try_a2md(&nodes[0], &["account", "list"]).1;
    assert!(shown.contains(id) && shown.contains("then P-384"), "{shown}");
}
