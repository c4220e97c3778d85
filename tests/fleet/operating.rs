// SPDX-License-Identifier: Apache-2.0
//! What admins do: withdraw certificates while a node is away, change the secret, look at the fleet and steer it,
//! configure nodes differently.

use crate::engine::{Engine, a2md, ask_renewal};
use crate::hand::Hand;
use crate::on_both_engines;
use mod_md::fleet::key::Key;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use support::fleet::{self, Clients, LEASE, wait_connected, wait_served, wait_together};
use support::httpd::unprivileged_user;
use support::{Authority, Httpd, Lab, Pebble, SOON, wait_for};

on_both_engines![
    what_is_withdrawn_while_a_node_is_away_comes_back_on_none,
    the_secret_is_changed_node_by_node_without_an_order_or_a_failed_handshake,
    an_admin_looks_at_the_fleet_and_steers_it,
    nodes_with_other_keys_share_one_set_and_say_who_differs,
];

const BOTH: [u8; 2] = [1, 2];

/// What `a2md` says about the store of a node, and its exit code.
fn call(node: &Httpd, arguments: &[&str], change: impl FnOnce(&mut Command)) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    command.arg("-d").arg(node.config.store()).args(["--httpd", &node.config.control()]).args(arguments);
    change(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap(), text)
}

/// The same by root.
fn tell(node: &Httpd, arguments: &[&str]) -> (i32, String) {
    call(node, arguments, |_| ())
}

#[track_caller]
fn other_than(lab: &Lab, pebble: &Pebble, nodes: &[u8], former: &[&String]) -> String {
    wait_for("another certificate", SOON * 2, || {
        let serial = wait_served(lab, pebble, nodes, "a.test", SOON);
        (!former.contains(&&serial)).then_some(serial)
    })
}

#[track_caller]
fn wait_serial(lab: &Lab, pebble: &Pebble, serial: &String) {
    wait_for("that certificate at both", SOON * 2, || {
        (wait_served(lab, pebble, &BOTH, "a.test", SOON) == *serial).then_some(())
    });
}

fn what_is_withdrawn_while_a_node_is_away_comes_back_on_none(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let node = |number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]);
    let [first, second] = fleet::start(BOTH.map(node).into()).try_into().ok().unwrap();
    let one = wait_served(lab, &pebble, &BOTH, "a.test", SOON);
    let (archive, store) = (lab.path("backup.tar"), second.config.store());
    let (archive, store) = (archive.to_str().unwrap(), store.to_str().unwrap());
    a2md(&second, &["store", "backup", archive]);
    // Revoked while the second is away, with that certificate in use.
    let away = second.stop();
    let ca = pebble.authority.certificate.to_str().unwrap();
    a2md(&first, &["revoke", "--yes", "-C", ca, "a.test"]);
    let two = other_than(lab, &pebble, &[1], &[&one]);
    let second = away.start();
    wait_serial(lab, &pebble, &two);
    // Nor does an old copy of the store bring it back.
    let away = second.stop();
    restore(archive, store);
    let second = away.start();
    wait_serial(lab, &pebble, &two);
    // What is withdrawn goes to an engine that has lost everything before any set.
    engine.wipe();
    let hand = Hand::new(engine);
    let (withdrawn, set) = wait_for("list and set", SOON * 3, || {
        let created = |key: Key| hand.entry(&key).map(|entry| entry.created);
        Some((created(Key::Withdrawn("a.test".into()))?, created(Key::Set("a.test".into()))?))
    });
    assert!(withdrawn < set, "{withdrawn:?} {set:?}");
    wait_serial(lab, &pebble, &two);
    assert_eq!((pebble.order_count(), pebble.account_count()), (2, 1));
    for node in [&first, &second] {
        wait_connected(node, true, SOON);
    }
}

fn restore(archive: &str, store: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    let output = command.args(["store", "restore", "--force", "--to", store, archive]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn the_secret_is_changed_node_by_node_without_an_order_or_a_failed_handshake(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let (old, new) = (engine.secret.clone(), fleet::secret(lab, "new.secret"));
    let node = |number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]);
    let mut nodes = fleet::start([1, 2, 3].map(node).into());
    wait_served(lab, &pebble, &[1, 2, 3], "a.test", SOON);
    let clients = Clients::connect(lab, &pebble, &[1, 2, 3], "a.test");
    let change = |node: &mut Httpd, secrets: &[&Path]| {
        let files: Vec<String> = secrets.iter().map(|file| file.display().to_string()).collect();
        let line = format!("MDFleetSecretFile {}", files.join(" "));
        node.rewrite(|config| config.without_line("MDFleetSecretFile").line(&line));
        node.graceful();
        wait_connected(node, true, SOON * 2);
    };
    nodes.iter_mut().for_each(|node| change(node, &[&old, &new]));
    // In another order each time.
    nodes.iter_mut().rev().for_each(|node| change(node, &[&new, &old]));
    let said = a2md(&nodes[1], &["fleet", "rekey"]);
    assert!(said.contains("rekey: done: sealed ") && !said.contains("sealed 0"), "{said}");
    let hand = Hand::new(engine);
    // What is under leases each node has written with the new one since its reload.
    wait_for("nothing that the old secret opens", SOON * 2, || hand.opened_by(&old).is_empty().then_some(()));
    let kinds = hand.opened_by(&new);
    for kind in ["meta", "set", "account", "node"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    [1, 0, 2].into_iter().for_each(|number: usize| change(&mut nodes[number], &[&new]));
    wait_together(&nodes.iter().collect::<Vec<_>>());
    assert_eq!((pebble.order_count(), pebble.account_count()), (1, 1));
    let former = wait_served(lab, &pebble, &[1, 2, 3], "a.test", SOON);
    ask_renewal(&nodes[2], "a.test");
    other_than(lab, &pebble, &[1, 2, 3], &[&former]);
    assert_eq!((pebble.order_count(), pebble.account_count()), (2, 1));
    assert_eq!(clients.failed(), Vec::<String>::new());
    for node in &nodes {
        assert!(node.logged("is not used").is_empty(), "{:?}", node.logged("is not used"));
    }
}

#[track_caller]
fn says(found: &(i32, String), code: i32, texts: &[&str]) {
    for text in texts {
        assert!(found.0 == code && found.1.contains(text), "not {code} and {text:?}: {found:?}");
    }
}

fn an_admin_looks_at_the_fleet_and_steers_it(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let node = |number| fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]);
    let mut nodes = fleet::start([1, 2, 3].map(node).into());
    wait_served(lab, &pebble, &[1, 2, 3], "a.test", SOON);
    wait_together(&nodes.iter().collect::<Vec<_>>());
    let first = &nodes[0];
    says(&tell(first, &["fleet", "status"]), 0, &["connected since", "node1 *", "node2", "node3"]);
    let (code, json) = tell(first, &["fleet", "status", "-j"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|_| panic!("{json}"));
    assert_eq!((code, json["fleet"]["nodes"].as_array().map(Vec::len)), (0, Some(3)), "{json}");
    says(&tell(first, &["fleet", "resync"]), 0, &["resync: done: everything is read from the engine again"]);
    says(&tell(first, &["fleet", "rekey"]), 0, &["rekey: done: sealed 0 values again"]);
    says(
        &tell(first, &["fleet", "evict", "node2"]),
        1,
        &["evict: refused: node node2 is live: stop its httpd"],
    );
    says(&tell(first, &["fleet", "evict", "nobody"]), 1, &["evict: refused: ", "nobody"]);
    says(&tell(first, &["fleet", "evict"]), 2, &["NODE"]);
    // An ordinary user may do none of it, and is told so.
    let user = unprivileged_user();
    let as_user = |arguments: &[&str]| {
        call(first, arguments, |command| {
            command.uid(user.uid).gid(user.gid);
        })
    };
    says(&as_user(&["fleet", "resync"]), 1, &["as root"]);
    let (code, said) = as_user(&["fleet", "status"]);
    assert!(code == 0 || (code == 1 && said.contains("as root")), "{code} {said}");
    // One dies, and its lease ends.
    let third = nodes.pop().unwrap();
    let id = fleet::report(&third)["id"].as_str().unwrap().to_string();
    // All at once: a parent that outlives its children has others, which keep the lease.
    third.kill();
    let first = &nodes[0];
    wait_for("the end of its lease", LEASE * 3, || {
        (fleet::report(first)["nodes"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
    says(&tell(first, &["fleet", "evict", "node3"]), 0, &["evict: done: removed "]);
    says(&tell(first, &["fleet", "evict", &id]), 0, &["evict: done: removed "]);
    engine.kill();
    wait_connected(first, false, LEASE * 4);
    says(&tell(first, &["fleet", "status"]), 1, &["not connected since", "Start the engine"]);
    says(&tell(first, &["fleet", "resync"]), 1, &["no process of httpd has answered", "the engine is away"]);
    engine.restart();
    wait_connected(first, true, SOON * 2);
    says(&tell(first, &["fleet", "status"]), 0, &["connected since"]);
    let config = nodes.remove(0).stop();
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    let output = command.arg("-d").arg(config.store()).args(["fleet", "resync"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

fn nodes_with_other_keys_share_one_set_and_say_who_differs(lab: &Lab, engine: &mut Engine) {
    let pebble = Authority::new(lab).start();
    let node = |number, keys: &str| {
        let config = fleet::node(lab, &pebble.authority, number, &engine.directives(), &["a.test"]);
        config.line(&format!("MDPrivateKeys {keys}"))
    };
    let configs = vec![node(1, "RSA 2048"), node(2, "secp256r1")];
    let nodes = fleet::start(configs);
    let serial = wait_served(lab, &pebble, &BOTH, "a.test", SOON * 2);
    let said = wait_for("the warning", SOON, || {
        nodes.iter().find_map(|node| node.logged("AH11000: md[a.test]: ").first().cloned())
    });
    for text in ["node1", "node2", "generation 1", "has no certificate for a key of"] {
        assert!(said.contains(text), "{text}: {said}");
    }
    for node in &nodes {
        a2md(node, &["fleet", "resync"]);
        node.wait_looked_twice();
    }
    assert_eq!(wait_served(lab, &pebble, &BOTH, "a.test", SOON), serial);
    assert_eq!(pebble.order_count(), 1);
}
