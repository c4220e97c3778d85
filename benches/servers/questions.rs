// SPDX-License-Identifier: Apache-2.0
//! What DNS questions cost: processor time of one child for each, and how long handshakes take beside five
//! thousand a second.

use crate::cpu;
use crate::staple::{IDLE, authority, lab};
use crate::table::{self, Series};
use mod_md::dns::{Message, Name, Opcode, Question, Rtype};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Config, Httpd, Lab};

const ALONE: &str =
    "StartServers 1\nServerLimit 1\nSSLSessionCache none\nSSLSessionTickets off\nLogLevel notice md:info";

/// So many networks that none reaches its limit.
const SOURCES: u8 = 200;
/// Questions that are under way at once.
const WINDOW: usize = 50;
const LOAD: Duration = Duration::from_micros(200);
const HANDSHAKES: usize = 500;

struct Site {
    httpd: Httpd,
    lab: Lab,
    server: SocketAddr,
    askers: Vec<UdpSocket>,
}

/// `count` questions of each kind in each round, and new servers for each round.
pub fn measure(count: usize, rounds: usize) {
    let kinds = [("value", "a.acme.test"), ("empty", "b.acme.test"), ("refused", "a.elsewhere.test")];
    let mut spent = kinds.map(|(kind, _)| Series::new(kind));
    let mut rate = kinds.map(|(kind, _)| Series::new(kind));
    let mut handshakes = ["quiet", "beside"].map(Series::new);
    for _ in 0..rounds {
        let site = Site::start();
        for (at, (_, name)) in kinds.iter().enumerate() {
            let (before, begin) = (cpu::time(&site.httpd), Instant::now());
            site.ask(name, count);
            spent[at].add((cpu::time(&site.httpd) - before).as_secs_f64() * 1e6 / count as f64);
            rate[at].add(count as f64 / begin.elapsed().as_secs_f64() / 1e3);
        }
        site.handshakes(&mut handshakes[0]);
        site.beside_load(|| site.handshakes(&mut handshakes[1]));
        site.httpd.stop();
    }
    println!("\n{count} questions of a kind in {rounds} rounds, one child; handshakes TLS 1.3, P-256");
    table::print(&[("cpu µs", &spent)], ("µs a question", 1.0), 1);
    table::print(&[("1000/s", &rate)], ("thousands a second", 1.0), 1);
    table::print(&[("wall µs", &handshakes)], ("µs a handshake", 1.0), 1);
}

impl Site {
    fn start() -> Site {
        let lab = lab("questions");
        let (ca, responder) = authority(&lab);
        let files = ca.issue(&lab, "own.test", &responder.url());
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.port()));
        let httpd = Config::new(&lab)
            .line(ALONE)
            .line(IDLE)
            .line(&format!("MDDnsListen {server}\nMDDnsZone acme.test ns.example.net"))
            .site_with("own.test", &files.directives())
            .start();
        let folder = httpd.config.store().join("challenges/a.acme.test");
        fs::create_dir_all(&folder).unwrap();
        let note = format!(r#"{{"values": [{{"owner": "a", "value": "{}"}}]}}"#, "v".repeat(43));
        fs::write(folder.join("acme-dns-01.json"), note).unwrap();
        let asker = |network| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, network, 1), 0)).unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket
        };
        let site = Site { httpd, lab, server, askers: (0..SOURCES).map(asker).collect() };
        site.ask("a.acme.test", 1000);
        site
    }

    fn ask(&self, name: &str, count: usize) {
        let packet = question(name);
        let mut buffer = [0; 2048];
        let mut askers = self.askers.iter().cycle();
        for _ in 0..count.div_ceil(WINDOW) {
            let window: Vec<_> = askers.by_ref().take(WINDOW).collect();
            window.iter().for_each(|asker| assert!(asker.send(&packet).is_ok()));
            for asker in window {
                asker.recv(&mut buffer).expect("an answer");
                assert_eq!(buffer[2] & 2, 0, "over the limit");
            }
        }
    }

    fn handshakes(&self, took: &mut Series) {
        let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
        builder.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        let context = builder.build();
        for _ in 0..HANDSHAKES {
            let mut ssl = Ssl::new(&context).unwrap();
            ssl.set_hostname("own.test").unwrap();
            let begin = Instant::now();
            let tcp = TcpStream::connect(("127.0.0.1", self.lab.https)).unwrap();
            ssl.connect(tcp).expect("a handshake");
            took.add(begin.elapsed().as_secs_f64() * 1e6);
        }
    }

    /// Five thousand questions a second meanwhile.
    fn beside_load(&self, run: impl FnOnce()) {
        let is_over = Arc::new(AtomicBool::new(false));
        let (server, packet, flag) = (self.server, question("a.acme.test"), is_over.clone());
        let load = thread::spawn(move || {
            let bind = |network| UdpSocket::bind((Ipv4Addr::new(127, 2, network, 1), 0)).unwrap();
            let sockets: Vec<UdpSocket> = (0..SOURCES).map(bind).collect();
            sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
            let (begin, mut buffer) = (Instant::now(), [0; 2048]);
            let (mut asked, mut answered) = (0_u32, 0_u32);
            let mut next = sockets.iter().cycle();
            while !flag.load(Ordering::SeqCst) {
                while LOAD * asked < begin.elapsed() {
                    let Some(socket) = next.next() else { break };
                    while socket.recv(&mut buffer).is_ok() {
                        answered += 1;
                    }
                    asked += u32::from(socket.send_to(&packet, server).is_ok());
                }
                thread::sleep(Duration::from_millis(1));
            }
            (f64::from(asked) / begin.elapsed().as_secs_f64(), answered, asked)
        });
        run();
        is_over.store(true, Ordering::SeqCst);
        let (rate, answered, asked) = load.join().unwrap();
        println!("beside {rate:.0} questions a second, {answered} of {asked} answered by then");
    }
}

fn question(name: &str) -> Vec<u8> {
    let questions = vec![Question::new(Name::parse(name).unwrap(), Rtype::TXT)];
    Message { questions, ..Message::request(7, Opcode::QUERY) }.to_bytes().unwrap()
}
