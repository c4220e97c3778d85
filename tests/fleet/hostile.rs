// SPDX-License-Identifier: Apache-2.0
//! An engine that garbles, swaps, repeats, takes back and floods, and a member of the fleet that lies: nothing
//! else is served, ordered or answered for that, and no process grows.

use crate::engine::{Engine, a2md, ask_renewal};
use crate::hand::Hand;
use crate::on_both_engines;
use mod_md::crypto::PrivateKey;
use mod_md::fleet::key::Key;
use mod_md::fleet::record::{Challenge, Job, Record};
use mod_md::managed::peers::{SharedAnswer, SharedJob};
use mod_md::managed::saved_order::SavedOrder;
use mod_md::model::KeySpec;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::fleet::{self, Clients, wait_connected, wait_served};
use support::process::children;
use support::{Authority, Httpd, Lab, Need, Pebble, SOON, wait_for};

on_both_engines![
    values_that_are_garbled_swapped_or_repeated_change_nothing_that_is_served,
    a_member_that_lies_has_nobody_answer_for_strangers_or_ask_them,
    an_engine_that_goes_back_to_an_old_disk_takes_no_set_back,
    values_of_any_size_take_no_memory,
];

const BOTH: [u8; 2] = [1, 2];
/// Grown by more than this, a process has kept what it should not.
const GROWTH: u64 = 64 * 1024;

struct Pair {
    pebble: Pebble,
    nodes: Vec<Httpd>,
    hand: Hand,
    clients: Clients,
}

/// Two nodes that serve certificates of these names, to clients of the first.
fn pair(lab: &Lab, engine: &Engine, names: &[&'static str]) -> Pair {
    let pebble = Authority::new(lab).start();
    let node = |number| fleet::node(lab, &pebble.authority, number, &engine.directives(), names);
    let nodes = fleet::start(BOTH.map(node).into());
    names.iter().for_each(|name| drop(wait_served(lab, &pebble, &BOTH, name, SOON * 2)));
    let clients = Clients::connect(lab, &pebble, &BOTH, names[0]);
    Pair { pebble, nodes, hand: Hand::new(engine), clients }
}

impl Pair {
    fn serials(&self, lab: &Lab, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| wait_served(lab, &self.pebble, &BOTH, name, SOON)).collect()
    }

    /// Asked for at the node of this number.
    fn renew(&self, lab: &Lab, number: u8, name: &str) -> String {
        let former = wait_served(lab, &self.pebble, &BOTH, name, SOON);
        ask_renewal(&self.nodes[usize::from(number) - 1], name);
        wait_for("a new certificate at both", SOON * 2, || {
            let serial = wait_served(lab, &self.pebble, &BOTH, name, SOON);
            (serial != former).then_some(serial)
        })
    }

    fn assert_all_served(&self) {
        assert_eq!(self.clients.failed(), Vec::<String>::new());
        assert!(self.clients.good.load(Ordering::Relaxed) > 10);
    }
}

fn values_that_are_garbled_swapped_or_repeated_change_nothing_that_is_served(lab: &Lab, engine: &mut Engine) {
    let names = ["a.test", "b.test"];
    let pair = pair(lab, engine, &names);
    let (hand, before) = (&pair.hand, pair.serials(lab, &names));
    let keys = names.map(|name| Key::Set(name.into()));
    let values = keys.each_ref().map(|key| hand.entry(key).unwrap().value);
    let mut bit = values[0].clone();
    let middle = bit.len() / 2;
    bit[middle] = if bit[middle] == b'A' { b'B' } else { b'A' };
    for garbled in [b"".to_vec(), b"{}".to_vec(), b"\xff\0garbage".to_vec(), values[0][..60].to_vec(), bit] {
        hand.write(&keys[0], &garbled);
        hand.wait_generation("a.test", 1);
        assert_eq!(pair.serials(lab, &names), before);
    }
    hand.write(&keys[0], &values[1]);
    hand.write(&keys[1], &values[0]);
    names.iter().for_each(|name| hand.wait_generation(name, 1));
    assert_eq!(pair.serials(lab, &names), before);
    let new = pair.renew(lab, 1, "a.test");
    hand.wait_generation("a.test", 2);
    // The first generation once more.
    hand.write(&keys[0], &values[0]);
    hand.wait_generation("a.test", 2);
    assert_eq!(pair.serials(lab, &names), [new, before[1].clone()]);
    assert_eq!(pair.pebble.order_count(), 3);
    for node in &pair.nodes {
        wait_connected(node, true, SOON);
        assert!(!node.logged("the engine's value of the set of a.test is not used").is_empty());
    }
    pair.assert_all_served();
}

fn a_member_that_lies_has_nobody_answer_for_strangers_or_ask_them(lab: &Lab, engine: &mut Engine) {
    let pair = pair(lab, engine, &["a.test"]);
    let answer = |answer: &str| SharedAnswer {
        type_: "http-01".into(),
        dns_name: "a.test".into(),
        owner: "a.test".into(),
        answer: answer.into(),
    };
    let foreign = answer("token-of-a-stranger.dGhlLXRodW1icHJpbnQtb2YtYS1zdHJhbmdlcg");
    pair.hand.seal(&Key::challenge(&foreign), &Record::Challenge(Challenge(foreign.clone())));
    for node in &pair.nodes {
        node.wait_logged("an answer to http-01 for a.test is not used");
    }
    for number in BOTH {
        let path = "/.well-known/acme-challenge/token-of-a-stranger";
        let said = asked_for(&fleet::address(number), lab.http, path);
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    }
    let evil = TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, counter) = (format!("https://{}/order/1", evil.local_addr().unwrap()), asked.clone());
    thread::spawn(move || {
        evil.incoming().for_each(|_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
    });
    let spec = KeySpec::Ec("P-256".into());
    let job = SharedJob {
        ca: pair.pebble.authority.directory(),
        names: vec!["a.test".into()],
        order: Some(SavedOrder::new(&url, "P-256", None)),
        keys: vec![(spec.clone(), PrivateKey::generate(&spec).unwrap())],
        step: "finalize".into(),
        ..SharedJob::default()
    };
    pair.hand.seal(&Key::Job("a.test".into()), &Record::Job(Job(job)));
    pair.renew(lab, 1, "a.test");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "{url}");
    let said: Vec<_> = pair.nodes.iter().flat_map(|node| node.logged("is not continued")).collect();
    assert!(said.iter().any(|line| line.contains(&url)), "{said:?}");
    assert_eq!(pair.pebble.order_count(), 2);
    pair.assert_all_served();
}

fn asked_for(address: &str, port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((address, port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: a.test\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// Where the engine keeps its data.
fn disk(lab: &Lab, engine: &Engine) -> PathBuf {
    let directives = engine.directives();
    let url = directives.split_whitespace().nth(1).unwrap();
    let name = if url.starts_with("etcd") { "etcd" } else { "redis" };
    lab.path(format!("{name}-{}", url.rsplit_once(':').unwrap().1))
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn an_engine_that_goes_back_to_an_old_disk_takes_no_set_back(lab: &Lab, engine: &mut Engine) {
    let pair = pair(lab, engine, &["a.test"]);
    let (disk, old) = (disk(lab, engine), lab.path("old-disk"));
    engine.kill();
    copy(&disk, &old);
    engine.restart();
    pair.nodes.iter().for_each(|node| wait_connected(node, true, SOON * 2));
    let serial = pair.renew(lab, 1, "a.test");
    pair.hand.wait_generation("a.test", 2);
    engine.kill();
    copy(&old, &disk);
    engine.restart();
    pair.hand.wait_generation("a.test", 2);
    assert_eq!(pair.serials(lab, &["a.test"]), [serial]);
    // And on from there.
    pair.nodes.iter().for_each(|node| wait_connected(node, true, SOON * 2));
    pair.renew(lab, 2, "a.test");
    pair.hand.wait_generation("a.test", 3);
    assert_eq!((pair.pebble.order_count(), pair.pebble.account_count()), (3, 1));
    pair.assert_all_served();
}

/// The most memory that any process of a node has had, in KiB.
fn peak(node: &Httpd) -> u64 {
    let of = |pid: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    children(node.pid()).into_iter().chain([node.pid()]).filter_map(of).max().unwrap()
}

fn values_of_any_size_take_no_memory(lab: &Lab, engine: &mut Engine) {
    let pair = pair(lab, engine, &["a.test"]);
    let before: Vec<u64> = pair.nodes.iter().map(peak).collect();
    // As large as this engine takes them, at keys of the fleet's own form and at others.
    let set = pair.hand.entry(&Key::Set("a.test".into())).unwrap();
    let value = vec![b'x'; 1000 * 1000];
    // etcd needs seconds for a page of such values.
    let count = if engine.directives().contains("etcd") { 16 } else { 120 };
    for number in 0..count {
        pair.hand.write_raw(&format!("v1/set/{number}"), &value);
        pair.hand.write_raw(&format!("v1/node/{number:032x}"), &value[..200_000]);
    }
    pair.hand.write_raw(&set.key, &value);
    pair.hand.wait_generation("a.test", 1);
    a2md(&pair.nodes[0], &["fleet", "resync"]);
    a2md(&pair.nodes[1], &["fleet", "resync"]);
    pair.nodes.iter().for_each(|node| wait_connected(node, true, SOON));
    pair.renew(lab, 1, "a.test");
    for (node, before) in pair.nodes.iter().zip(before) {
        let after = peak(node);
        println!("at most {before} KiB before, {after} KiB after");
        assert!(after < before + GROWTH, "{before} KiB, then {after} KiB");
    }
    pair.assert_all_served();
}

/// Answers each connection with these bytes, and then with those for ever. The answer: its port, and how many bytes
/// were taken.
fn flood(first: &'static [u8], ever: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = sent.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let counter = counter.clone();
            thread::spawn(move || {
                let mut asked = [0; 16];
                let mut is_open = stream.read(&mut asked).is_ok() && stream.write_all(first).is_ok();
                let piece = ever.repeat((64 * 1024 / ever.len()).max(1));
                while is_open {
                    is_open = stream.write_all(&piece).is_ok();
                    counter.fetch_add(piece.len(), Ordering::Relaxed);
                }
            });
        }
    });
    (port, sent)
}

#[test]
fn an_engine_that_sends_without_end_costs_neither_memory_nor_a_handshake() {
    let needs = [Need::Root];
    let Some(lab) = support::open_lab!(needs[0]) else { return };
    let pebble = Authority::new(&lab).start();
    let alone = fleet::node(&lab, &pebble.authority, 1, "", &["a.test"]).without_line("MDFleetNode");
    let node = alone.start();
    let serial = wait_served(&lab, &pebble, &[1], "a.test", SOON);
    let config = node.stop();
    let secret = fleet::secret(&lab, "fleet.secret");
    let floods: [(&str, &'static [u8], &'static [u8]); 5] = [
        // A value of 1 GiB.
        ("redis", b"*2\r\n$4\r\nmore\r\n$1073741824\r\n", b"x"),
        ("redis", b"", b"+"),
        ("redis", b"", b"*1\r\n"),
        ("etcd", b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{\"kvs\":[{\"value\":\"", b"A"),
        ("etcd", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10\r\n{\"result\":{}}  \n\r\n"),
    ];
    let mut node = config.start();
    let before = peak(&node);
    for (scheme, first, ever) in floods {
        let (port, sent) = flood(first, ever);
        let lines = format!("MDFleet {scheme}://127.0.0.1:{port}\nMDFleetSecretFile {}", secret.display());
        node.rewrite(|config| config.line(&lines));
        node.graceful();
        let clients = Clients::connect(&lab, &pebble, &[1], "a.test");
        wait_for("what is wrong", SOON, || {
            let report = fleet::report(&node);
            let is_told = report["engine"].as_str().is_some_and(|engine| engine.contains(&port.to_string()));
            (is_told && report["problem"].is_string() && report["connected"] == false).then_some(())
        });
        wait_for("more tries", SOON * 2, || {
            (fleet::report(&node)["requests"]["failed"].as_u64() > Some(2)).then_some(())
        });
        let after = peak(&node);
        println!(
            "{scheme}: {} bytes were sent; at most {before} KiB before, {after} KiB after",
            sent.load(Ordering::Relaxed)
        );
        assert!(after < before + GROWTH, "{scheme} {first:?}: {before} KiB, then {after} KiB");
        assert_eq!(clients.failed(), Vec::<String>::new());
        drop(clients);
        node.rewrite(|config| config.without_line("MDFleet"));
    }
    assert_eq!(fleet::served(&lab, &pebble, 1, "a.test").serial(), serial);
}
