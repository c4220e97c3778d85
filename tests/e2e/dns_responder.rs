// SPDX-License-Identifier: Apache-2.0
//! `MDDnsListen` and `MDDnsZone`: httpd answers the DNS questions that validate dns-01, from the values in
//! the store, over reloads and under load, within its limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mod_md::dns::{Message, Name, Opcode, Question, Rtype};
use serde_json::json;
use support::dns::{Zone, dig, look_up};
use support::named::Named;
use support::pebble::Authority;
use support::process::{children, is_alive, signal};
use support::unbound::Unbound;
use support::{Config, Httpd, Lab, Need, SOON, open_lab, wait_for};

const ZONE: &str = "acme.example.net";

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A server that answers at this port, and does nothing else.
fn config(lab: &Lab, port: u16) -> Config {
    Config::new(lab)
        .line(&format!("MDDnsListen 127.0.0.1:{port}"))
        .line("MDDnsZone acme.example.net ns.example.net ns2.example.net\nMDDnsZone _acme-challenge.one.test ns.example.net")
}

/// Puts values in the store, as the renewing child does.
pub(crate) fn set(config: &Config, name: &str, values: &[&str]) {
    let folder = config.store().join("challenges").join(name);
    fs::create_dir_all(&folder).unwrap();
    let values: Vec<_> = values.iter().map(|value| json!({"owner": "one.test", "value": value})).collect();
    let new = folder.join("new");
    fs::write(&new, json!({ "values": values }).to_string()).unwrap();
    fs::rename(new, folder.join("acme-dns-01.json")).unwrap();
}

fn quoted(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("\"{value}\"")).collect()
}

fn counts(httpd: &Httpd) -> BTreeMap<String, u64> {
    let text = httpd.get("main.test", "/md-metrics").body;
    let samples = text.lines().filter_map(|line| line.strip_prefix("md_dns_queries_total{rcode=\""));
    samples
        .map(|sample| {
            let (rcode, count) = sample.split_once("\"} ").unwrap();
            (rcode.to_string(), count.parse().unwrap())
        })
        .collect()
}

const METRICS: &str = "<Location /md-metrics>\nSetHandler md-metrics\n</Location>";

#[test]
fn questions_are_answered_from_the_store_by_udp_and_tcp() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let server = local(port);
    let httpd = config(&lab, port).line(METRICS).start();
    let unbound = Unbound::start(&lab, &[(ZONE, server), ("_acme-challenge.one.test", server)]);
    let ways: [&[&str]; 4] = [&["+notcp"], &["+tcp"], &["+notcp", "+noedns"], &["+notcp", "+dnssec"]];
    for (name, folder) in
        [("a.acme.example.net", "a.acme.example.net"), ("_acme-challenge.one.test", "one.test")]
    {
        for way in ways {
            let options = [way, &["+norec", "+qr"]].concat();
            let empty = dig(server, name, "TXT", &options);
            assert!(
                empty.contains("status: NOERROR") && empty.contains("ANSWER: 0, AUTHORITY: 1"),
                "{empty}"
            );
            assert!(empty.contains("\tSOA\tns.example.net. hostmaster."), "{empty}");
        }
        set(&httpd.config, folder, &["value-1", "value-2"]);
        for way in ways {
            let options = [way, &["+norec"]].concat();
            let answer = dig(server, name, "TXT", &options);
            assert!(answer.contains("status: NOERROR") && answer.contains("flags: qr aa;"), "{answer}");
            let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&format!("{name}. 0 IN TXT \"value-1\"")), "{answer}");
            assert_eq!(answer.contains("do;"), way.contains(&"+dnssec"), "{answer}");
            assert!(!answer.to_lowercase().contains("warning"), "{answer}");
        }
        assert_eq!(look_up(unbound.address, name, "TXT"), [""; 0], "unbound asks for nothing by itself");
        let resolved = || dig(unbound.address, name, "TXT", &["+short"]).lines().count();
        wait_for("the values by a resolver", SOON, || (resolved() == 2).then_some(()));
        set(&httpd.config, folder, &[]);
        assert_eq!(look_up(server, name, "TXT"), [""; 0], "at once");
    }
    assert_eq!(look_up(server, ZONE, "NS"), ["ns.example.net.", "ns2.example.net."]);
    assert!(dig(server, "elsewhere.net", "A", &["+norec"]).contains("status: REFUSED"));
    assert!(dig(server, "x.acme.example.net", "TYPE65280", &["+norec"]).contains("status: NOERROR"));
    assert!(
        dig(server, "x.acme.example.net", "A", &["+norec", "+edns=1", "+noednsneg"])
            .contains("status: BADVERS")
    );
    assert!(dig(server, "x.acme.example.net", "A", &["+norec", "+opcode=NOTIFY"]).contains("status: NOTIMP"));
    assert!(dig(server, "x.acme.example.net", "A", &["+norec", "+header-only"]).contains("status: FORMERR"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"short", server).unwrap();
    wait_for("counters of all ends", SOON, || {
        let counts = counts(&httpd);
        let is_counted = |rcode: &str| counts.get(rcode).is_some_and(|count| *count > 0);
        ["NOERROR", "REFUSED", "BADVERS", "NOTIMP", "FORMERR", "dropped"]
            .iter()
            .all(|rcode| is_counted(rcode))
            .then_some(())
    });
    assert!(!httpd.logged("dns: TXT a.acme.example.net asked by 127.0.0.1:").is_empty());
}

#[test]
fn values_that_cannot_be_read_are_servfail_and_reported() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let httpd = config(&lab, port).start();
    set(&httpd.config, "a.acme.example.net", &["x"]);
    let file = httpd.config.store().join("challenges/a.acme.example.net/acme-dns-01.json");
    fs::write(&file, "{").unwrap();
    let answer = dig(local(port), "a.acme.example.net", "TXT", &["+norec", "+tries=1"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    let said = httpd.logged("a DNS question about a.acme.example.net is answered with SERVFAIL");
    assert!(
        said.iter().any(|line| line.contains("acme-dns-01.json") && line.contains(":error]")),
        "{said:?}"
    );
    fs::remove_file(&file).unwrap();
    symlink("/etc/passwd", &file).unwrap();
    let answer = dig(local(port), "a.acme.example.net", "TXT", &["+norec", "+tries=1"]);
    assert!(answer.contains("ANSWER: 0"), "{answer}");
}

#[test]
fn a_wildcard_is_validated_by_the_answers_of_httpd() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let unbound = Unbound::start(&lab, &[("_acme-challenge.one.test", local(port))]);
    let pebble = Authority::new(&lab).resolver(unbound.address).start();
    // The command does nothing: the note of the values is enough.
    let httpd = Config::with_ca(&lab, &pebble.authority)
        .line(&format!("MDDnsListen 127.0.0.1:{port}\nMDDnsZone _acme-challenge.one.test ns.example.net"))
        .line("MDCAChallenges dns-01\nMDChallengeDns01 /bin/true\nMDPrivateKeys P-256")
        .line("MDomain one.test *.one.test")
        .site("one.test", &["*.one.test"])
        .start();
    let ready = "The Managed Domain one.test has been setup";
    wait_for("a certificate", SOON, || (!httpd.logged(ready).is_empty()).then_some(()));
    assert!(!httpd.logged("dns: TXT _acme-challenge.one.test asked by").is_empty());
}

/// Inodes of sockets that are bound to a port of 127.0.0.1, by protocol.
fn inodes(port: u16) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for (protocol, state) in [("udp", "07"), ("tcp", "0A")] {
        let table = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[1] == format!("0100007F:{port:04X}") && fields[3] == state {
                found.insert(protocol, fields[9].to_string());
            }
        }
    }
    found
}

/// Whether a process has all of these sockets open.
fn has(pid: u32, inodes: &BTreeMap<&str, String>) -> bool {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let open: BTreeSet<String> =
        links.filter_map(|link| fs::read_link(link.path()).ok()?.to_str().map(str::to_string)).collect();
    inodes.values().all(|inode| open.contains(&format!("socket:[{inode}]")))
}

fn is_answering(port: u16) -> bool {
    ["+tcp", "+notcp"].iter().all(|way| {
        dig(local(port), ZONE, "SOA", &[way, "+norec", "+tries=2", "+time=5"]).contains("status: NOERROR")
    })
}

#[test]
fn sockets_stay_open_over_reloads_as_long_as_they_are_named() {
    let Some(lab) = open_lab!() else { return };
    let (first, second, third) = (lab.port(), lab.port(), lab.port());
    let lines = |ports: &[u16]| {
        let ports: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("MDDnsListen {}", ports.join(" "))
    };
    let with = |ports: &[u16]| {
        Config::new(&lab).line("MDDnsZone acme.example.net ns.example.net").line(&lines(ports))
    };
    let passed = with(&[first]).configtest();
    assert!(passed.0, "{}", passed.1);
    let mut httpd = with(&[first, second]).start();
    let (kept, closed) = (inodes(first), inodes(second));
    assert_eq!((kept.len(), closed.len()), (2, 2));
    for _ in 0..2 {
        httpd.graceful();
        assert_eq!((inodes(first), inodes(second)), (kept.clone(), closed.clone()));
        assert!(children(httpd.pid()).into_iter().all(|child| has(child, &kept)));
        assert!(is_answering(first) && is_answering(second));
    }
    signal(httpd.pid(), "HUP");
    wait_for("answers after a restart", SOON, || is_answering(first).then_some(()));
    assert_eq!(inodes(first), kept);
    // One goes, one comes.
    httpd.rewrite(|_| with(&[first, third]));
    httpd.graceful();
    assert_eq!((inodes(first), inodes(second)), (kept.clone(), BTreeMap::new()));
    assert!(!has(httpd.pid(), &closed) && has(httpd.pid(), &inodes(third)));
    wait_for("answers at the new address", SOON, || is_answering(third).then_some(()));
    // None is left.
    httpd.rewrite(|_| Config::new(&lab));
    httpd.graceful();
    assert_eq!((inodes(first), inodes(third)), (BTreeMap::new(), BTreeMap::new()));
    httpd.rewrite(|_| with(&[first]));
    httpd.graceful();
    assert!(is_answering(first));
    httpd.stop();
    assert_eq!(inodes(first), BTreeMap::new());
}

#[test]
fn an_address_that_is_taken_ends_a_start_and_not_a_reload() {
    let Some(lab) = open_lab!() else { return };
    let (free, taken) = (lab.port(), lab.port());
    let owner = UdpSocket::bind(local(taken)).unwrap();
    let both = format!("MDDnsListen 127.0.0.1:{free} 127.0.0.1:{taken}");
    let with = |line: &str| Config::new(&lab).line("MDDnsZone acme.example.net ns.example.net").line(line);
    let (passes, said) = with(&both).configtest();
    assert!(passes, "configtest binds nothing: {said}");
    let Err(said) = with(&both).try_start() else { panic!("started") };
    let expected = format!(
        "MDDnsListen 127.0.0.1:{taken}: udp 127.0.0.1:{taken} cannot be bound: Address already in use"
    );
    assert!(said.contains(&expected) && said.contains("httpd does not start"), "{said}");
    let mut httpd = with(&format!("MDDnsListen 127.0.0.1:{free}")).start();
    httpd.rewrite(|_| with(&both));
    httpd.graceful();
    let said = httpd.logged(&expected);
    assert!(
        said.last().unwrap().contains(":crit]") && said.last().unwrap().contains("httpd goes on"),
        "{said:?}"
    );
    wait_for("answers at the other address", SOON, || is_answering(free).then_some(()));
    drop(owner);
    httpd.graceful();
    wait_for("answers once it is free", SOON, || is_answering(taken).then_some(()));
}

#[test]
fn nothing_is_open_where_nothing_is_configured() {
    let Some(lab) = open_lab!() else { return };
    let threads = |httpd: &Httpd| {
        let of = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let names = children(httpd.pid()).into_iter().flat_map(of);
        names
            .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
            .filter(|name| name == "md dns\n")
            .count()
    };
    let port = lab.port();
    let others = ["", "MDDnsZone acme.example.net ns.example.net", &format!("MDDnsListen 127.0.0.1:{port}")];
    for line in others {
        let httpd = Config::new(&lab).line(line).start();
        assert_eq!((threads(&httpd), inodes(port).len()), (0, 0), "{line}");
        httpd.stop();
    }
    let httpd = config(&lab, port).start();
    wait_for("a thread in each child", SOON, || (threads(&httpd) >= 2).then_some(()));
    httpd.stop();
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let questions = vec![Question::new(Name::parse(name).unwrap(), Rtype::TXT)];
    Message { questions, ..Message::request(id, Opcode::QUERY) }.to_bytes().unwrap()
}

/// Questions from one address, and when each was answered.
struct Asker {
    socket: UdpSocket,
    /// By id: when it was asked.
    open: Mutex<HashMap<u16, Instant>>,
    slowest: Mutex<Duration>,
}

impl Asker {
    fn new(source: Ipv4Addr, server: SocketAddr) -> Asker {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Asker { socket, open: Mutex::default(), slowest: Mutex::default() }
    }

    fn ask(&self, id: u16) {
        self.open.lock().unwrap().insert(id, Instant::now());
        self.socket.send(&question(id, "a.acme.example.net")).unwrap();
    }

    /// Takes answers until told to stop and none is missing, or for a while longer.
    fn listen(&self, is_over: &AtomicBool) {
        let mut buffer = [0; 2048];
        let mut end = None;
        loop {
            if let Ok(length) = self.socket.recv(&mut buffer) {
                let answer = Message::parse(&buffer[..length]).unwrap();
                assert!(answer.flags.tc || answer.answers.len() == 1, "{answer:?}");
                if let Some(asked) = self.open.lock().unwrap().remove(&answer.id) {
                    let mut slowest = self.slowest.lock().unwrap();
                    *slowest = (*slowest).max(asked.elapsed());
                }
            }
            if is_over.load(Ordering::SeqCst) {
                let since = *end.get_or_insert_with(Instant::now);
                if self.open.lock().unwrap().is_empty() || since.elapsed() > Duration::from_secs(10) {
                    return;
                }
            }
        }
    }
}

/// Asks a thousand times a second and more while `during` runs. How many were asked, how many not answered,
/// and the longest wait.
fn under_load(server: SocketAddr, during: impl FnOnce()) -> (usize, usize, Duration) {
    let askers: Vec<Arc<Asker>> =
        (1..=4).map(|network| Arc::new(Asker::new(Ipv4Addr::new(127, 0, network, 1), server))).collect();
    let (is_over, is_asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let listeners: Vec<_> = askers
        .iter()
        .map(|asker| {
            let (asker, is_asked) = (asker.clone(), is_asked.clone());
            thread::spawn(move || asker.listen(&is_asked))
        })
        .collect();
    let asking = {
        let (askers, is_over) = (askers.clone(), is_over.clone());
        thread::spawn(move || {
            let (begin, mut asked) = (Instant::now(), 0);
            while !is_over.load(Ordering::SeqCst) {
                let due = begin.elapsed().as_micros() / 700;
                while asked < due {
                    askers.iter().cycle().nth((asked % 4) as usize).unwrap().ask((asked / 4) as u16);
                    asked += 1;
                }
                thread::sleep(Duration::from_millis(1));
            }
            asked as usize
        })
    };
    during();
    is_over.store(true, Ordering::SeqCst);
    let asked = asking.join().unwrap();
    // Only now: a listener that ends before the last question would count its answer as lost.
    is_asked.store(true, Ordering::SeqCst);
    listeners.into_iter().for_each(|listener| listener.join().unwrap());
    let lost = askers.iter().map(|asker| asker.open.lock().unwrap().len()).sum();
    (asked, lost, askers.iter().map(|asker| *asker.slowest.lock().unwrap()).max().unwrap())
}

fn assert_answers_over_reloads(lab: &Lab, mpm: &'static str) {
    let port = lab.port();
    let mut httpd = config(lab, port).mpm(mpm).line("LogLevel md:info").start();
    set(&httpd.config, "a.acme.example.net", &["x"]);
    let begin = Instant::now();
    let restarts = |httpd: &mut Httpd| {
        while begin.elapsed() < Duration::from_secs(6) {
            httpd.graceful();
            thread::sleep(Duration::from_millis(300));
        }
    };
    let (asked, lost, slowest) = under_load(local(port), || restarts(&mut httpd));
    println!("{mpm}: {asked} asked, {lost} lost, the slowest after {slowest:?}");
    assert!(asked > 6000, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
    let log = httpd.log();
    httpd.stop();
    assert!(!log.contains("exit signal") && !log.contains("still did not exit"), "{log}");
}

#[test]
fn no_question_is_lost_over_graceful_restarts_under_the_event_mpm() {
    let Some(lab) = open_lab!() else { return };
    assert_answers_over_reloads(&lab, "event");
}

#[test]
fn no_question_is_lost_over_graceful_restarts_under_the_worker_mpm() {
    let Some(lab) = open_lab!() else { return };
    assert_answers_over_reloads(&lab, "worker");
}

#[test]
fn no_question_is_lost_over_graceful_restarts_without_threads() {
    let Some(lab) = open_lab!() else { return };
    assert_answers_over_reloads(&lab, "prefork");
}

/// The parent stands still after it has read the configuration, before it has new children.
#[test]
fn old_children_answer_until_new_ones_are_there() {
    let Some(lab) = open_lab!() else { return };
    for mpm in ["event", "worker"] {
        let port = lab.port();
        let httpd = config(&lab, port).mpm(mpm).start();
        wait_for("answers", SOON, || is_answering(port).then_some(()));
        let old = children(httpd.pid());
        // No program is started for a question: that takes too long on a busy machine.
        let (socket, packet) = (UdpSocket::bind("127.0.0.1:0").unwrap(), question(7, ZONE));
        socket.connect(local(port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let restarts = |httpd: &Httpd| httpd.logged("resuming normal operations").len();
        let before = restarts(&httpd);
        signal(httpd.pid(), "USR1");
        while restarts(&httpd) == before {
            thread::sleep(Duration::from_millis(1));
        }
        signal(httpd.pid(), "STOP");
        let (begin, mut buffer) = (Instant::now(), [0; 2048]);
        let answered = (0..)
            .take_while(|_| begin.elapsed() < Duration::from_millis(1200))
            .filter(|_| {
                thread::sleep(Duration::from_millis(100));
                socket.send(&packet).is_ok() && socket.recv(&mut buffer).is_ok()
            })
            .count();
        let is_old = children(httpd.pid()).iter().all(|child| old.contains(child));
        signal(httpd.pid(), "CONT");
        assert!(is_old, "{mpm}: the parent was too fast for this test");
        assert!(answered >= 2, "{mpm}: {answered}");
        let begin = Instant::now();
        let config = httpd.stop();
        assert!(begin.elapsed() < SOON / 4, "{mpm}: {:?}", begin.elapsed());
        config.forget();
    }
}

/// Connections keep an old child alive: its zones and addresses may not be in force any more.
#[test]
fn an_old_child_that_lives_on_answers_no_more() {
    let Some(lab) = open_lab!() else { return };
    let (port, other) = (lab.port(), lab.port());
    let mut httpd = config(&lab, port).start();
    let mut visitor = TcpStream::connect(local(lab.http)).unwrap();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: main.test\r\n").unwrap();
    let old = children(httpd.pid());
    let is_left = |inodes: &BTreeMap<&str, String>| old.iter().any(|&pid| has(pid, inodes));
    let kept = inodes(port);
    assert!(is_left(&kept));
    httpd.next_generation();
    wait_for("the end of the answers of old children", SOON, || (!is_left(&kept)).then_some(()));
    assert!(old.iter().any(|&pid| is_alive(pid)), "the visitor keeps one");
    assert!(is_answering(port));
    httpd.rewrite(|_| config(&lab, other));
    httpd.next_generation();
    wait_for("a free port", SOON, || inodes(port).is_empty().then_some(()));
    assert!(old.iter().any(|&pid| is_alive(pid)), "the visitor keeps one");
    visitor.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}

#[test]
fn a_stop_does_not_wait_for_the_responder() {
    let Some(lab) = open_lab!() else { return };
    for mpm in ["event", "prefork"] {
        let port = lab.port();
        let httpd = config(&lab, port).mpm(mpm).start();
        wait_for("answers", SOON, || is_answering(port).then_some(()));
        let begin = Instant::now();
        let config = httpd.stop();
        let took = begin.elapsed();
        println!("{mpm}: {took:?}");
        assert!(took < SOON / 8, "{mpm}: {took:?}");
        let log = fs::read_to_string(config.server_root().join("error.log")).unwrap();
        assert!(!log.contains("exit signal") && !log.contains("still did not exit"), "{log}");
        config.forget();
    }
}

#[test]
fn who_asks_too_much_by_udp_is_sent_to_tcp_and_others_are_not() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let httpd = config(&lab, port).line(METRICS).line("LogLevel md:info").start();
    set(&httpd.config, "a.acme.example.net", &["x"]);
    let socket = UdpSocket::bind("127.9.0.1:0").unwrap();
    socket.connect(local(port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    let packet = question(7, "a.acme.example.net");
    let truncated = wait_for("an answer that sends to TCP", SOON, || {
        (0..2000).for_each(|_| drop(socket.send(&packet)));
        let mut found = None;
        while let Ok(length) = socket.recv(&mut buffer) {
            found =
                Some(Message::parse(&buffer[..length]).unwrap()).filter(|answer| answer.flags.tc).or(found);
        }
        found.filter(|answer| answer.flags.tc)
    });
    assert!(truncated.answers.is_empty() && truncated.flags.aa, "{truncated:?}");
    let other = UdpSocket::bind("127.8.0.1:0").unwrap();
    other.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // The kernel drops what arrives while the queue of the socket is still full of the others'.
    let length = wait_for("an answer to another one", SOON, || {
        other.send_to(&packet, local(port)).unwrap();
        other.recv(&mut buffer).ok()
    });
    assert_eq!(Message::parse(&buffer[..length]).unwrap().answers.len(), 1);
    assert_eq!(look_up(local(port), "a.acme.example.net", "TXT"), quoted(&["x"]));
    assert!(counts(&httpd)["limited"] > 0);
}

#[test]
fn idle_connections_keep_nobody_out_and_each_has_sixteen_questions() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let httpd = config(&lab, port).line("LogLevel md:info").start();
    set(&httpd.config, "a.acme.example.net", &["x"]);
    let idle: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(local(port)).unwrap()).collect();
    let answer = dig(local(port), "a.acme.example.net", "TXT", &["+tcp", "+norec", "+tries=1", "+time=3"]);
    assert!(answer.contains("status: NOERROR"), "{answer}");
    drop(idle);
    let mut stream = TcpStream::connect(local(port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let packet = question(7, "a.acme.example.net");
    let framed = [&(packet.len() as u16).to_be_bytes()[..], &packet].concat();
    stream.write_all(&framed.repeat(20)).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let length = 2 + usize::from(u16::from_be_bytes([answers[0], answers[1]]));
    assert_eq!(answers.len(), 16 * length);
    let mut slow = TcpStream::connect(local(port)).unwrap();
    slow.set_read_timeout(Some(SOON)).unwrap();
    // `read_to_end` goes on after a signal, as `read` does not.
    assert_eq!(slow.read_to_end(&mut Vec::new()).unwrap(), 0, "closed after a while");
}

/// A machine has several addresses: clients drop answers of any other than the one they have asked.
#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let Some(lab) = open_lab!() else { return };
    let port = lab.port();
    let line = format!("MDDnsListen 0.0.0.0:{port} [::]:{port}\nMDDnsZone acme.example.net ns.example.net");
    let httpd = Config::new(&lab).line(&line).start();
    let addresses: [IpAddr; 3] = ["127.0.0.1", "127.7.7.7", "::1"].map(|address| address.parse().unwrap());
    for address in addresses {
        for way in ["+notcp", "+tcp"] {
            let answer = dig((address, port).into(), ZONE, "SOA", &["+norec", "+tries=2", way]);
            assert!(answer.contains("status: NOERROR") && !answer.contains("unexpected source"), "{answer}");
        }
    }
    httpd.stop();
}

/// With a responder at this port, whose CA and module ask different resolvers.
fn renewing(lab: &Lab, port: u16, authority: &Authority, resolver: SocketAddr) -> Config {
    Config::with_ca(lab, authority)
        .line(&format!("MDDnsListen 127.0.0.1:{port}\nMDDnsZone {ZONE} ns.example.net"))
        .line(&format!("MDChallengeDns01 responder\nMDCAChallenges dns-01\nMDDnsPropagation 5s {resolver}"))
        .line("MDomain one.test *.one.test\nMDRetryDelay 1h")
        .site("one.test", &["*.one.test"])
}

#[test]
fn a_resolver_that_does_not_reach_this_server_is_not_asked_about_its_zones() {
    let Some(lab) = open_lab!(Need::Program("named"), Need::Program("unbound"), Need::Program("dig")) else {
        return;
    };
    let port = lab.port();
    let zone = Zone::new("one.test").record(&format!("_acme-challenge CNAME one.{ZONE}."));
    let named = Named::primary(&lab, &[zone]);
    let world = Unbound::start(&lab, &[("one.test", named.address), (ZONE, local(port))]);
    // As behind a router that does not hand our own address back to us.
    let near = Unbound::start(&lab, &[("one.test", named.address)]);
    let pebble = Authority::new(&lab).resolver(world.address).start();
    let httpd = renewing(&lab, port, &pebble.authority, near.address).start();
    httpd.wait_staged("one.test");
}

#[test]
fn a_name_that_leads_into_no_zone_is_told_with_the_record_to_set() {
    let Some(lab) = open_lab!(Need::Program("named"), Need::Program("unbound"), Need::Program("dig")) else {
        return;
    };
    let set = format!("'_acme-challenge.one.test. CNAME one.test.{ZONE}.'");
    let typo = "one.acme.example.com";
    for (record, at) in [("@ TXT x", "_acme-challenge.one.test"), ("_acme-challenge CNAME TYPO.", typo)] {
        let port = lab.port();
        let zone = Zone::new("one.test").record(&record.replace("TYPO", typo));
        let named = Named::primary(&lab, &[zone, Zone::new("acme.example.com")]);
        let zones = ["one.test", "acme.example.com"].map(|zone| (zone, named.address));
        let resolver = Unbound::start(&lab, &zones);
        let pebble = Authority::new(&lab).resolver(resolver.address).start();
        let root = lab.path(format!("httpd-{port}"));
        let httpd = renewing(&lab, port, &pebble.authority, resolver.address).root(&root).start();
        let last = wait_for("a failure", SOON, || {
            let last = httpd.md("one.test")["renewal"]["last"].clone();
            last["problem"].is_string().then_some(last)
        });
        assert_eq!(last["problem"], "challenge-setup-failure", "the CA is not asked: {last}");
        let detail = last["detail"].as_str().unwrap();
        for says in [at, "in no zone of MDDnsZone (acme.example.net)", "name servers of one.test", &set] {
            assert!(detail.contains(says), "no '{says}': {detail}");
        }
    }
}
