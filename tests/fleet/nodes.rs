// SPDX-License-Identifier: Apache-2.0
//! Nodes that die, freeze and sleep in the middle of an order: another one finishes it, nobody orders again.

use crate::engine::{Engine, ask_renewal};
use crate::on_both_engines;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};
use support::clocks::Clocks;
use support::fleet::{self, Clients, LEASE, wait_served};
use support::front::{Asked, Front, Side};
use support::process::{children, is_alive, signal};
use support::{Authority, Config, Httpd, Lab, Pebble, SOON, wait_for};

on_both_engines![
    a_node_that_is_killed_at_any_step_of_an_order_leaves_it_to_another,
    children_that_are_replaced_at_every_step_or_every_two_seconds_lose_no_order,
    nodes_that_freeze_or_sleep_past_their_lease_publish_nothing_and_go_on,
    a_cloned_store_is_a_node_of_its_own_and_a_name_of_two_nodes_is_told,
    the_second_httpd_on_a_store_goes_on_where_the_first_was_killed,
];

/// How long after the end of a node another one may need: the lease, the next look, and a busy machine.
const TAKEN_OVER: Duration = LEASE.saturating_mul(2).saturating_add(Duration::from_secs(20));

/// A CA behind a front, an engine, and what nodes are configured with.
struct Site<'l> {
    lab: &'l Lab,
    pebble: Pebble,
    front: Front,
    engine: String,
}

impl<'l> Site<'l> {
    fn new(lab: &'l Lab, engine: &Engine, authority: Authority) -> Self {
        let pebble = authority.start();
        let front = Front::start(lab, &pebble.authority);
        Site { lab, pebble, front, engine: engine.directives() }
    }

    fn node(&self, number: u8, names: &[&str]) -> Config {
        let config = fleet::node(self.lab, &self.pebble.authority, number, &self.engine, names);
        // Quickly made.
        self.front.before(config).line("MDPrivateKeys secp256r1")
    }

    #[track_caller]
    fn wait_served(&self, nodes: &[u8], name: &str, within: Duration) -> String {
        wait_served(self.lab, &self.pebble, nodes, name, within)
    }

    /// Waits until these nodes serve one certificate of each domain, and prints when they did.
    #[track_caller]
    fn wait_all_served(&self, nodes: &[u8], names: &[&str], since: Instant, within: Duration) {
        let mut left = names.to_vec();
        wait_for("a certificate of each domain", within, || {
            left.retain(|name| {
                let is_done = fleet::served_by_all(self.lab, &self.pebble, nodes, name).is_some();
                if is_done {
                    println!("{name}: served after {:.1} s", since.elapsed().as_secs_f64());
                }
                !is_done
            });
            left.is_empty().then_some(())
        });
    }
}

fn has_staged_chain(node: &Httpd, name: &str) -> bool {
    let files = fs::read_dir(node.config.store().join("staging").join(name)).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("pubcert"))
}

/// All at once: each domain is at another step when the node dies.
fn a_node_that_is_killed_at_any_step_of_an_order_leaves_it_to_another(lab: &Lab, engine: &mut Engine) {
    const STEPS: [(&str, Asked, Side); 8] = [
        // It has the lock, and nothing else.
        ("lock.test", Asked::Order, Side::Request),
        // Nobody knows the URL of this order: it is placed again.
        ("lost.test", Asked::Order, Side::Answer),
        ("answer.test", Asked::Challenge, Side::Request),
        ("told.test", Asked::Challenge, Side::Answer),
        ("ready.test", Asked::Finalize, Side::Request),
        ("final.test", Asked::Finalize, Side::Answer),
        ("fetched.test", Asked::Certificate, Side::Request),
        ("published.test", Asked::Certificate, Side::Request),
    ];
    let names: Vec<&str> = STEPS.iter().map(|step| step.0).chain(["old.test"]).collect();
    let mut site = Site::new(lab, engine, Authority::new(lab));
    let others = [site.node(2, &["old.test"]), site.node(3, &["old.test"])];
    let way = engine.way(lab);
    site.engine = engine.directives_by(&way);
    let mut dying = site.node(1, &["old.test"]).start();
    let mut others = others.map(Config::start);
    site.wait_served(&[1, 2, 3], "old.test", SOON);
    let clients = Clients::connect(lab, &site.pebble, &[2, 3], "old.test");
    for (name, asked, side) in STEPS {
        site.front.hold(name, asked, side);
    }
    let new_names = |config: Config| {
        let config =
            names[..STEPS.len()].iter().fold(config, |config, name| config.line(&format!("MDomain {name}")));
        fleet::hosts(config, lab.https, &names[..STEPS.len()])
    };
    dying.rewrite(new_names);
    dying.graceful();
    site.front.wait_held(&names[..STEPS.len()], SOON);
    for other in &mut others {
        other.rewrite(new_names);
        other.graceful();
    }
    site.front.pass("published.test");
    site.wait_served(&[2], "published.test", SOON);
    way.hold(true);
    site.front.pass("fetched.test");
    wait_for("the chain in staging", SOON, || has_staged_chain(&dying, "fetched.test").then_some(()));
    let since = Instant::now();
    let killed = dying.kill();
    names.iter().for_each(|name| site.front.cut(name));
    fleet::point_names_at(&site.pebble, 3);
    site.wait_all_served(&[2, 3], &names, since, TAKEN_OVER);
    let orders = |name: &str| site.front.count(name, Asked::Order);
    let counts: Vec<(&str, usize)> = names.iter().map(|name| (*name, orders(name))).collect();
    let expected = names.iter().map(|name| (*name, if *name == "lost.test" { 2 } else { 1 }));
    assert_eq!(counts, expected.collect::<Vec<_>>());
    for name in ["final.test", "fetched.test", "published.test"] {
        assert_eq!(site.front.count(name, Asked::Finalize), 1, "{name}");
    }
    assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (names.len() + 1, 1));
    assert_eq!(clients.failed(), Vec::<String>::new());
    for other in &others {
        assert!(other.logged("[md:error]").is_empty(), "{}", other.log());
    }
    // It comes back, and orders nothing.
    way.hold(false);
    let _back = killed.start();
    site.wait_all_served(&[1, 2, 3], &names, Instant::now(), SOON);
    assert_eq!(site.pebble.order_count(), names.len() + 1);
}

/// How the children are replaced that renew.
const WAYS: [fn(&mut Httpd); 3] = [
    |node| children(node.pid()).into_iter().for_each(|pid| signal(pid, "KILL")),
    |node| node.next_generation(),
    |node| signal(node.watchdog(), "KILL"),
];

fn replace(node: &mut Httpd, way: fn(&mut Httpd)) {
    let renewing = node.watchdog();
    way(node);
    wait_for("the end of the child that renews", SOON, || (!is_alive(renewing)).then_some(()));
}

fn children_that_are_replaced_at_every_step_or_every_two_seconds_lose_no_order(
    lab: &Lab,
    engine: &mut Engine,
) {
    const STEPS: [(Asked, Side); 7] = [
        (Asked::Order, Side::Request),
        (Asked::Authorization, Side::Request),
        (Asked::Challenge, Side::Request),
        (Asked::Challenge, Side::Answer),
        (Asked::Finalize, Side::Request),
        (Asked::Finalize, Side::Answer),
        (Asked::Certificate, Side::Answer),
    ];
    let site = Site::new(lab, engine, Authority::new(lab).slow_validation(10).env("PEBBLE_AUTHZREUSE", "0"));
    let mut ways = WAYS.iter().cycle();
    site.front.hold("a.test", STEPS[0].0, STEPS[0].1);
    let mut first = site.node(1, &["a.test"]).start();
    for step in 0..STEPS.len() {
        site.front.wait_held(&["a.test"], SOON);
        if let Some((asked, side)) = STEPS.get(step + 1) {
            site.front.hold("a.test", *asked, *side);
        }
        replace(&mut first, *ways.next().unwrap());
        site.front.cut("a.test");
    }
    let mut serial = site.wait_served(&[1], "a.test", SOON);
    assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (1, 1), "{}", first.log());
    // One node of two, all the time.
    let second = site.node(2, &["a.test"]).start();
    fleet::wait_together(&[&first, &second]);
    site.wait_served(&[1, 2], "a.test", SOON);
    let (mut orders, mut replaced) = (1, 0);
    while replaced < 4 {
        ask_renewal(&first, "a.test");
        let begin = Instant::now();
        while fleet::served(lab, &site.pebble, 2, "a.test").serial() == serial {
            // httpd itself waits ten seconds where all children have died.
            assert!(begin.elapsed() < SOON * 6, "replaced {replaced} times");
            replace(&mut first, *ways.next().unwrap());
            replaced += 1;
            thread::sleep(Duration::from_secs(2));
        }
        println!("renewed after {:.1} s, with {replaced} children", begin.elapsed().as_secs_f64());
        serial = site.wait_served(&[1, 2], "a.test", SOON);
        orders += 1;
        assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (orders, 1));
    }
}

fn nodes_that_freeze_or_sleep_past_their_lease_publish_nothing_and_go_on(lab: &Lab, engine: &mut Engine) {
    const NAMES: [&str; 4] = ["frozen.test", "asleep.test", "moment.test", "jump.test"];
    let mut site = Site::new(lab, engine, Authority::new(lab));
    let clocks = ["asleep", "jump"].map(|name| Clocks::build(lab, name));
    let last = site.node(5, &NAMES);
    NAMES.iter().for_each(|name| site.front.hold(name, Asked::Certificate, Side::Request));
    let way = engine.way(lab);
    let whole = std::mem::replace(&mut site.engine, engine.directives_by(&way));
    let asleep = clocks[0].of(site.node(2, &NAMES[1..2])).start();
    site.engine = whole;
    let frozen = site.node(1, &NAMES[..1]).start();
    let moment = site.node(3, &NAMES[2..3]).start();
    let jump = clocks[1].of(site.node(4, &NAMES[3..])).start();
    site.front.wait_held(&NAMES, SOON);
    let last = last.start();
    fleet::wait_together(&[&last, &frozen, &asleep, &moment, &jump]);
    let since = Instant::now();
    let until = |time: Duration| thread::sleep(time.saturating_sub(since.elapsed()));
    // The CA answers while they cannot listen.
    frozen.freeze();
    moment.freeze();
    way.hold(true);
    clocks[0].jump(Duration::from_secs(3600));
    NAMES[..3].iter().for_each(|name| site.front.pass(name));
    // Where the engine says that the lease is in force, a clock that jumps costs nothing.
    clocks[1].jump(Duration::from_secs(3600));
    site.front.pass("jump.test");
    site.wait_all_served(&[4, 5], &NAMES[3..], since, LEASE / 2);
    until(LEASE / 3);
    moment.go_on();
    site.wait_all_served(&[3, 5], &NAMES[2..3], since, LEASE - Duration::from_secs(2));
    for node in [&moment, &jump] {
        assert_eq!(node.logged("stops renewing"), Vec::<String>::new());
    }
    site.wait_all_served(&[5], &NAMES[..2], since, TAKEN_OVER);
    let serials = [0, 1].map(|n| site.wait_served(&[5], NAMES[n], SOON));
    assert!(!fleet::served(lab, &site.pebble, 2, NAMES[1]).verified, "it does not know of it yet");
    until(Duration::from_secs(60));
    let woken = Instant::now();
    frozen.go_on();
    way.hold(false);
    for (number, name, serial) in [(1, NAMES[0], &serials[0]), (2, NAMES[1], &serials[1])] {
        assert_eq!(site.wait_served(&[number, 5], name, SOON), *serial, "{name}");
        println!("{name}: served {:.1} s after it woke up", woken.elapsed().as_secs_f64());
    }
    for node in [&frozen, &asleep] {
        println!("{:#?}", node.logged("stops renewing"));
        println!("{:#?}", node.logged("[md:error]"));
        assert_eq!(node.logged("stops renewing").len(), 1, "{}", node.log());
    }
    assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (NAMES.len(), 1));
    fleet::wait_together(&[&last, &frozen, &asleep, &moment, &jump]);
}

fn a_cloned_store_is_a_node_of_its_own_and_a_name_of_two_nodes_is_told(lab: &Lab, engine: &mut Engine) {
    let site = Site::new(lab, engine, Authority::new(lab));
    let mut original = site.node(1, &["a.test"]).start();
    let serial = site.wait_served(&[1], "a.test", SOON);
    // A new domain for both, at the same time.
    let names = ["a.test", "b.test"];
    let clone = site.node(2, &names);
    fs::create_dir_all(clone.server_root()).unwrap();
    let (from, to) = (original.config.store(), clone.store());
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    original.rewrite(|config| fleet::hosts(config.line("MDomain b.test"), lab.https, &["b.test"]));
    original.next_generation();
    let mut clone = clone.start();
    names.iter().for_each(|name| drop(site.wait_served(&[1, 2], name, SOON)));
    assert_eq!(site.wait_served(&[1, 2], "a.test", SOON), serial);
    fleet::wait_together(&[&original, &clone]);
    let ids = [&original, &clone].map(|node| fleet::report(node)["id"].clone());
    assert_ne!(ids[0], ids[1]);
    clone.graceful();
    fleet::wait_together(&[&original, &clone]);
    assert_eq!(fleet::report(&clone)["id"], ids[1]);
    let told = |node: &Httpd| node.logged("copied").len() + node.logged("copy of this store").len();
    assert_eq!((told(&original), told(&clone)), (0, 1), "{}", clone.log());
    assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (2, 1));
    // Another one has the name of the first.
    let namesake = site.node(3, &names).without_line("MDFleetNode").line("MDFleetNode node1").start();
    let is_told = |node: &Httpd| node.logged("two live nodes have the name node1").len();
    for node in [&original, &namesake] {
        wait_for("a warning", SOON, || (is_told(node) > 0).then_some(()));
        let is_shown = || fleet::report(node)["problem"].as_str()?.contains("MDFleetNode").then_some(());
        wait_for("the warning in md-status", SOON, is_shown);
    }
    namesake.wait_looked_twice();
    assert_eq!((is_told(&original), is_told(&clone), is_told(&namesake)), (1, 0, 1));
    names.iter().for_each(|name| drop(site.wait_served(&[1, 2, 3], name, SOON)));
    namesake.stop();
    wait_for("no warning", SOON, || fleet::report(&original)["problem"].is_null().then_some(()));
    assert_eq!(site.pebble.order_count(), 2);
}

fn the_second_httpd_on_a_store_goes_on_where_the_first_was_killed(lab: &Lab, engine: &mut Engine) {
    let site = Site::new(lab, engine, Authority::new(lab));
    site.front.hold("a.test", Asked::Finalize, Side::Request);
    let first = site.node(1, &["a.test"]).start();
    site.front.wait_held(&["a.test"], SOON);
    let store = first.config.store();
    let second = site.node(2, &["a.test"]).line(&format!("MDStoreDir {}", store.display())).start();
    let since = Instant::now();
    first.kill();
    site.front.cut("a.test");
    fleet::point_names_at(&site.pebble, 2);
    let serial = site.wait_served(&[2], "a.test", LEASE - Duration::from_secs(5));
    println!("served after {:.1} s", since.elapsed().as_secs_f64());
    assert_eq!((site.pebble.order_count(), site.pebble.account_count()), (1, 1));
    // From now on it renews.
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    command.arg("-d").arg(&store).args(["renew", "--force", "a.test"]);
    assert!(command.status().unwrap().success());
    wait_for("a new certificate", SOON, || {
        let served = fleet::served(lab, &site.pebble, 2, "a.test");
        (served.verified && served.serial() != serial).then_some(())
    });
    assert!(fleet::report(&second)["connected"] == true && site.pebble.order_count() == 2);
}
