// SPDX-License-Identifier: Apache-2.0
//! Each way in which an engine fails a fleet: clients see none of it, every node says what is wrong, and all
//! renew together again when it is over.

use crate::engine::{Engine, ask_renewal, try_a2md, user};
use crate::on_both_engines;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};
use support::fleet::{self, Clients, LEASE, wait_connected, wait_served};
use support::forwarder::Forwarder;
use support::process::{children, signal};
use support::{Authority, Httpd, Lab, Need, Pebble, RaisedAtEnd, SOON, open_lab, wait_for};

on_both_engines![
    a_history_that_is_lost_is_read_as_a_whole,
    an_engine_that_is_slow_delays_renewals_and_nothing_else,
    a_node_that_is_cut_off_serves_and_nobody_waits_for_it_for_long,
];

/// Since the last write of its presence.
const AWAY: Duration = Duration::from_secs(60);

const BOTH: [u8; 2] = [1, 2];

/// Several: a node renews a domain on request once in a minute at most.
const NAMES: [&str; 4] = ["a.test", "b.test", "c.test", "d.test"];

/// Two nodes whose certificates clients ask for all the time.
struct Site<'a> {
    lab: &'a Lab,
    pebble: Pebble,
    nodes: Vec<Httpd>,
    clients: Clients,
    /// Renewals on request so far.
    renewals: usize,
}

impl<'a> Site<'a> {
    fn start(lab: &'a Lab, engine: &Engine) -> Site<'a> {
        Site::with(lab, &BOTH.map(|_| engine.directives()))
    }

    /// Each node joins the fleet by these directives.
    fn with(lab: &'a Lab, directives: &[String; 2]) -> Site<'a> {
        let pebble = Authority::new(lab).start();
        let config = |number: u8| {
            let directives = format!("{}\nMDPrivateKeys secp256r1", directives[usize::from(number) - 1]);
            fleet::node(lab, &pebble.authority, number, &directives, &NAMES)
        };
        let nodes = fleet::start(BOTH.map(config).into());
        for name in NAMES {
            wait_served(lab, &pebble, &BOTH, name, SOON * 2);
        }
        let clients = Clients::connect(lab, &pebble, &BOTH, NAMES[0]);
        Site { lab, pebble, nodes, clients, renewals: 0 }
    }

    /// By one order, for both, which are as if nothing had been.
    #[track_caller]
    fn renews(&mut self) {
        for node in &self.nodes {
            says_nothing(node);
        }
        self.renew(&BOTH);
        self.counts();
        for node in &self.nodes {
            says_nothing(node);
        }
    }

    /// One domain on request, at each call another or by another node, until these serve it. The answer: the
    /// domain and its serial.
    #[track_caller]
    fn renew(&mut self, at: &[u8]) -> (&'static str, String) {
        let (name, by) = (NAMES[self.renewals % NAMES.len()], self.renewals / NAMES.len() % 2);
        let former = fleet::served(self.lab, &self.pebble, at[0], name).serial();
        ask_renewal(&self.nodes[by], name);
        self.renewals += 1;
        let serial = wait_for("a new certificate at all", SOON * 2, || {
            let serial = wait_served(self.lab, &self.pebble, at, name, SOON);
            (serial != former).then_some(serial)
        });
        (name, serial)
    }

    /// One order for each renewal.
    #[track_caller]
    fn counts(&self) {
        let counts = (self.pebble.order_count(), self.pebble.account_count());
        assert_eq!(counts, (NAMES.len() + self.renewals, 1));
    }

    #[track_caller]
    fn ends_well(&self) {
        assert_eq!(self.clients.failed(), Vec::<String>::new());
        let good = self.clients.good.load(Ordering::Relaxed);
        assert!(good > 10, "{good} handshakes");
    }
}

/// That it is connected, and nothing else.
#[track_caller]
fn says_nothing(node: &Httpd) {
    wait_for("a report without problems", SOON * 2, || {
        let report = fleet::report(node);
        (report["connected"] == true && report.get("problem").is_none()).then_some(())
    });
}

/// Status pages and the operator's command have a problem with one of these texts.
#[track_caller]
fn says(node: &Httpd, texts: &[&str], within: Duration) {
    let is_told = |text: &str| texts.iter().any(|wanted| text.contains(wanted));
    let mut seen = String::new();
    wait_for(&format!("a report of {texts:?}"), within, || {
        seen = fleet::report(node)["problem"].to_string();
        is_told(&seen).then_some(())
    });
    let (is_well, said) = try_a2md(node, &["fleet", "status"]);
    assert!(!is_well && is_told(&said), "{texts:?}: {said}");
}

/// So does the log, once and soon.
#[track_caller]
fn logs(node: &Httpd, texts: &[&str]) -> String {
    let lines = || {
        let lines = node.logged("[md:warn]").into_iter().filter(|line| line.contains("fleet: the engine"));
        lines.filter(|line| texts.iter().any(|text| line.contains(text))).collect::<Vec<_>>()
    };
    let line = wait_for(&format!("{texts:?} in the log"), SOON, || lines().pop());
    assert_eq!(lines().len(), 1, "{}", node.log());
    line
}

/// That it is away, and why.
#[track_caller]
fn logs_away(node: &Httpd, texts: &[&str]) {
    let line = wait_for("`is away` in the log", AWAY + SOON, || node.logged("is away:").pop());
    assert!(texts.iter().any(|text| line.contains(text)), "{texts:?}: {line}");
    wait_connected(node, false, SOON);
}

#[test]
fn of_three_members_of_etcd_the_one_in_use_is_killed_and_a_token_ends_unnoticed() {
    let Some(lab) = open_lab!(Need::Program("etcd"), Need::Root) else { return };
    let mut engine = Engine::etcd_with_user(&lab, 3, &["--auth-token", "simple", "--auth-token-ttl", "3"]);
    let mut site = Site::start(&lab, &engine);
    let used = engine.used_by(&site.nodes[0]);
    engine.as_etcd().kill(used);
    for node in &site.nodes {
        wait_for("another member in use", SOON, || (engine.used_by(node) != used).then_some(()));
    }
    site.renews();
    engine.as_etcd().restart(used);
    let other = engine.used_by(&site.nodes[0]);
    let ended = |etcd: &support::etcd::Etcd| etcd.log(other).matches("deleted a simple token").count();
    let before = ended(engine.as_etcd());
    wait_for("the end of a token", SOON, || (ended(engine.as_etcd()) > before).then_some(()));
    site.renews();
    site.ends_well();
}

#[test]
fn an_etcd_that_is_full_is_away_until_there_is_room() {
    let Some(lab) = open_lab!(Need::Program("etcd"), Need::Root) else { return };
    let mut engine = Engine::etcd_with_user(&lab, 1, &["--quota-backend-bytes", "2097152"]);
    let mut site = Site::start(&lab, &engine);
    engine.as_etcd().fill();
    let full = ["database space exceeded"];
    site.nodes[1].graceful();
    says(&site.nodes[1], &full, SOON);
    for node in &site.nodes {
        logs_away(node, &full);
        says(node, &full, SOON);
    }
    engine.as_etcd().make_room();
    site.renews();
    site.ends_well();
}

#[test]
fn a_user_of_etcd_without_the_right_to_write_is_named() {
    if let Some(lab) = open_lab!(Need::Program("etcd"), Need::Root) {
        a_user_loses_rights(&lab, &Engine::etcd_with_user(&lab, 1, &[]));
    }
}

#[test]
fn a_user_of_redis_without_the_right_to_write_is_named() {
    if let Some(lab) = open_lab!(Need::Program("redis-server"), Need::Root) {
        a_user_loses_rights(&lab, &Engine::redis(&lab));
    }
}

fn a_user_loses_rights(lab: &Lab, engine: &Engine) {
    let mut site = Site::start(lab, engine);
    engine.forbid_writes();
    let denied = ["permission denied", "can't run this command"];
    // From its start, the other one while it runs.
    site.nodes[1].graceful();
    says(&site.nodes[1], &denied, SOON);
    site.nodes.iter().for_each(|node| drop(logs(node, &denied)));
    for node in &site.nodes {
        logs_away(node, &denied);
        says(node, &denied, SOON);
    }
    engine.allow_writes();
    site.renews();
    site.ends_well();
}

#[test]
fn of_a_list_of_redis_servers_the_one_that_takes_writes_is_used() {
    let Some(lab) = open_lab!(Need::Program("redis-server"), Need::Root) else { return };
    let debug = if support::redis::version() < (7, 0) { "" } else { "enable-debug-command local" };
    let mut engine = Engine::of_redis(&lab, &[debug]);
    let mut replica = engine.as_redis().replica(&lab);
    let servers = [replica.port, engine.as_redis().port].map(|port| ("127.0.0.1".to_string(), port));
    // The replica does not know the user: each server has its own list.
    replica.cli(&["ACL", "DELUSER", "mod_md"]);
    let mut site = Site::with(&lab, &BOTH.map(|_| engine.directives_at(&servers)));
    engine.let_in(&replica);
    site.renews();
    // The primary dies, and nobody has promoted the replica.
    engine.kill();
    for node in &site.nodes {
        says(node, &["READONLY"], SOON);
    }
    replica.promote();
    site.renews();
    // It starts again, and takes its time.
    replica.cli(&["DEBUG", "POPULATE", "1000"]);
    replica.cli(&["BGREWRITEAOF"]);
    wait_for("a new file", SOON, || {
        replica.cli(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:0").then_some(())
    });
    replica.restart_loading(10_000);
    for node in &site.nodes {
        says(node, &["LOADING"], SOON);
    }
    site.renews();
    site.ends_well();
}

#[test]
fn a_server_of_a_redis_cluster_that_names_another_is_passed_over() {
    let Some(lab) = open_lab!(Need::Program("redis-server"), Need::Root) else { return };
    let cluster = || {
        let bus = lab.port();
        Engine::of_redis(&lab, &["cluster-enabled yes", &format!("cluster-port {bus}")])
    };
    let (mut without, mut with) = (cluster(), cluster());
    with.as_redis().cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    without.as_redis().join_cluster(with.as_redis());
    let servers = [&mut without, &mut with].map(|e| ("127.0.0.1".to_string(), e.as_redis().port));
    let mut site = Site::with(&lab, &BOTH.map(|_| with.directives_at(&servers)));
    site.renews();
    with.kill();
    for node in &site.nodes {
        says(node, &["MOVED", "CLUSTERDOWN"], SOON);
    }
    with.restart();
    site.renews();
    site.ends_well();
}

fn a_history_that_is_lost_is_read_as_a_whole(lab: &Lab, engine: &mut Engine) {
    let mut site = Site::start(lab, engine);
    engine.forget_history();
    site.renews();
    engine.delete_meta();
    site.renews();
    site.nodes[1].graceful();
    site.renews();
    site.ends_well();
    // The same while a node stands still.
    site.clients = Clients::connect(lab, &site.pebble, &[1], NAMES[0]);
    let second = site.nodes[1].pid();
    let all = [vec![second], children(second)].concat();
    all.iter().for_each(|&pid| signal(pid, "STOP"));
    let (name, serial) = site.renew(&[1]);
    engine.forget_history();
    all.iter().for_each(|&pid| signal(pid, "CONT"));
    wait_for("the same certificate at the second", SOON, || {
        (fleet::served(lab, &site.pebble, 2, name).serial() == serial).then_some(())
    });
    assert_eq!(site.clients.failed(), Vec::<String>::new());
    site.clients = Clients::connect(lab, &site.pebble, &BOTH, NAMES[0]);
    engine.delete_all();
    site.renews();
    site.renews();
    site.ends_well();
}

fn an_engine_that_is_slow_delays_renewals_and_nothing_else(lab: &Lab, engine: &mut Engine) {
    let ways = BOTH.map(|_| engine.way(lab));
    let mut site = Site::with(lab, &ways.each_ref().map(|way| engine.directives_by(way)));
    ways.iter().for_each(|way| way.delay(Duration::from_secs(1)));
    site.renews();
    ways.iter().for_each(|way| way.delay(Duration::ZERO));
    // Its connections end all the time.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _is_over = RaisedAtEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                ways.iter().for_each(Forwarder::cut);
                thread::sleep(Duration::from_secs(2));
            }
        });
        drop(site.renew(&BOTH));
    });
    site.counts();
    site.renews();
    for node in &site.nodes {
        assert!(node.logged("is away").is_empty(), "{}", node.log());
    }
    site.ends_well();
}

fn a_node_that_is_cut_off_serves_and_nobody_waits_for_it_for_long(lab: &Lab, engine: &mut Engine) {
    const ALL: [u8; 3] = [1, 2, 3];
    let (authority, way) = (Authority::new(lab).env("PEBBLE_AUTHZREUSE", "0"), engine.way(lab));
    let pebble = authority.start();
    let configs = ALL.map(|number| {
        let directives = if number == 3 { engine.directives_by(&way) } else { engine.directives() };
        fleet::node(lab, &pebble.authority, number, &directives, &["a.test"])
    });
    let nodes = fleet::start(configs.into());
    let old = wait_served(lab, &pebble, &ALL, "a.test", SOON);
    fleet::wait_together(&nodes.iter().collect::<Vec<_>>());
    let clients = Clients::connect(lab, &pebble, &ALL, "a.test");
    way.hold(true);
    let renew = |by: &Httpd, former: &str| {
        ask_renewal(by, "a.test");
        wait_for("a new certificate at the others", SOON, || {
            let serial = wait_served(lab, &pebble, &[1, 2], "a.test", SOON);
            (serial != former).then_some(serial)
        })
    };
    let waited = || nodes[0].logged("node3").len() + nodes[1].logged("node3").len();
    let first = renew(&nodes[0], &old);
    let times = waited();
    assert!(times > 0, "{}", nodes[0].log());
    assert_eq!(fleet::served(lab, &pebble, 3, "a.test").serial(), old);
    for node in &nodes[..2] {
        wait_for("the end of its lease", 2 * LEASE, || {
            (fleet::report(node)["nodes"].as_array()?.len() == 2).then_some(())
        });
    }
    let second = renew(&nodes[1], &first);
    assert_eq!(waited(), times, "{}", nodes[0].log());
    wait_connected(&nodes[2], false, SOON);
    says(&nodes[2], &["not answered in time"], SOON);
    way.hold(false);
    wait_connected(&nodes[2], true, SOON);
    let back = Instant::now();
    assert_eq!(wait_served(lab, &pebble, &ALL, "a.test", SOON), second);
    println!("the set after {:?}", back.elapsed());
    assert_eq!(clients.failed(), Vec::<String>::new());
    assert_eq!((pebble.order_count(), pebble.account_count()), (3, 1));
}

/// Answers each connection with this, at first and then for ever.
fn stranger(lab: &Lab, first: &'static str, ever: &'static str) -> u16 {
    let ever = ever.repeat(10_000);
    let port = lab.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let ever = ever.clone();
            thread::spawn(move || {
                let mut room = [0; 4096];
                let _ = stream.read(&mut room);
                let mut is_open = stream.write_all(first.as_bytes()).is_ok();
                while is_open && !ever.is_empty() {
                    is_open = stream.write_all(ever.as_bytes()).is_ok();
                }
                // A close before all is read would be a reset, and could overtake the answer.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
            });
        }
    });
    port
}

/// What stands in the place of an engine, and what every node has to say of it.
struct Mistake {
    directives: String,
    /// One of these.
    says: &'static [&'static str],
}

/// A server that closes after a part of a request has its system send a reset for the rest, if that comes later.
const CLOSES: &[&str] = &["closed the connection", "reset by peer"];

fn mistakes(lab: &Lab, pebble: &Pebble, etcd: &Engine, redis: &mut Engine) -> Vec<Mistake> {
    const TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
    let secret = format!("\nMDFleetSecretFile {}", etcd.secret.display());
    let (text, lines) = (stranger(lab, TEXT, ""), stranger(lab, "HTTP/1.1 200 OK\r\n\r\n", "line\n"));
    let (status, closed, server) = (stranger(lab, "+", "PONG "), lab.port(), redis.as_redis().port);
    let (members, _) = (etcd.directives(), user(lab, "other.password", "other"));
    let url = members.lines().next().unwrap().to_string();
    let of = |line: String, says| Mistake { directives: line + &secret, says };
    let ca = pebble.authority.root.display();
    vec![
        of(format!("MDFleet etcd://127.0.0.1:{text}"), &["it is no JSON"]),
        of(format!("MDFleet redis://127.0.0.1:{text}"), &["the engine's answer cannot be used"]),
        of(format!("MDFleet etcd://127.0.0.1:{lines}"), &["larger than any good one"]),
        of(format!("MDFleet redis://127.0.0.1:{status}"), &["the engine's answer cannot be used"]),
        of(format!("MDFleet etcd://127.0.0.1:{closed}"), &["cannot be reached"]),
        of(format!("MDFleet redis://127.0.0.1:{closed}"), &["cannot be reached"]),
        of(format!("{url}\nMDFleetCACertificateFile {ca}"), &["certificate"]),
        of(url.replace("etcds", "etcd"), CLOSES),
        of(url.replace("etcds", "rediss"), &["certificate"]),
        of(format!("MDFleet etcd://127.0.0.1:{server}"), CLOSES),
        of(format!("MDFleet rediss://127.0.0.1:{server}"), &["has not answered in time"]),
        of(
            format!("MDFleet redis://127.0.0.1:{server}{}", user(lab, "wrong.password", "wrong")),
            &["WRONGPASS"],
        ),
        Mistake {
            directives: members.replace("engine.password", "other.password"),
            says: &["authentication failed"],
        },
    ]
}

#[test]
fn what_is_no_engine_is_named_and_everything_is_served() {
    let needs = [Need::Program("etcd"), Need::Program("redis-server"), Need::Root];
    let Some(lab) = open_lab!(needs[0], needs[1], needs[2]) else { return };
    let pebble = Authority::new(&lab).start();
    let single = fleet::node(&lab, &pebble.authority, 1, "", &["a.test"]).without_line("MDFleetNode").start();
    let serial = wait_served(&lab, &pebble, &[1], "a.test", SOON);
    let single = single.stop();
    let (etcd, mut redis) = (Engine::etcd_with_user(&lab, 1, &[]), Engine::redis(&lab));
    let mistakes = mistakes(&lab, &pebble, &etcd, &mut redis);
    let configs = (2..).zip(&mistakes).map(|(number, mistake)| {
        let config = fleet::node(&lab, &pebble.authority, number, &mistake.directives, &["a.test"]);
        copy(&single.store(), &config.store());
        config
    });
    let nodes = fleet::start(configs.collect());
    for ((number, mistake), node) in (2..).zip(&mistakes).zip(&nodes) {
        assert_eq!(fleet::served(&lab, &pebble, number, "a.test").serial(), serial);
        says(node, mistake.says, SOON);
        logs(node, mistake.says);
        let (_, said) = try_a2md(node, &["doctor", "--offline"]);
        let is_named = said.contains("fleet-engine") && mistake.says.iter().any(|text| said.contains(text));
        assert!(is_named, "{}: {said}", mistake.directives);
    }
    assert_eq!(pebble.order_count(), 1);
}

/// A store, with its owners.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}
