// SPDX-License-Identifier: Apache-2.0
//! This module and the C module beside Caddy, a server that gets its certificates by itself as well, each with the
//! same names at the same CA: until all names have a certificate, memory after that, what the idle server costs,
//! and processor time for a handshake. `tests/interop/setup.sh` fetches Debian's Caddy.

use crate::handshake;
use crate::idle::Spent;
use crate::issue::{self, Variant};
use crate::server;
use crate::site::Module;
use crate::table::{self, Series};
use openssl::ssl::Ssl;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use support::process::{self, Process, Start, args};
use support::{Authority, Config, Httpd, Lab, Need, Pebble, wait_for};

/// Caddy begins ten orders in ten seconds, so this is for hundreds of names.
const PATIENCE: Duration = Duration::from_secs(1800);
const SETTLES: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
const HANDSHAKES: usize = 400;

/// In the order in which they are measured and printed.
const QUANTITIES: [&str; 5] =
    ["all issued s", "PSS MB", "idle % of a core", "wake-ups/s", "handshake cpu µs"];

/// A server that has all its certificates and serves them.
enum Running {
    Httpd(Box<Httpd>),
    Caddy(Process),
}

impl Running {
    fn processes(&self) -> Vec<u32> {
        let pid = match self {
            Running::Httpd(httpd) => httpd.pid(),
            Running::Caddy(process) => process.pid(),
        };
        [pid].into_iter().chain(process::children(pid)).collect()
    }
}

pub fn measure(modules: &[Module], domains: usize, rounds: usize) {
    let caddy = program().expect("Caddy is there: run `sh tests/interop/setup.sh`");
    let variants: Vec<Variant<'_>> = modules.iter().flat_map(Variant::all_of).collect();
    let names = variants.iter().map(Variant::name).chain(["Caddy".to_string()]);
    let none: Vec<Series> = names.map(|name| Series::new(&name)).collect();
    let mut all = QUANTITIES.map(|_| none.clone());
    println!("\nbeside Caddy: {domains} domains, {rounds} rounds, load {}", server::load());
    for _ in 0..rounds {
        for at in 0..none.len() {
            let figures = run(variants.get(at), &caddy, domains);
            for (series, figure) in all.iter_mut().zip(figures) {
                series[at].add(figure);
            }
        }
    }
    for (quantity, series) in QUANTITIES.iter().zip(&all) {
        table::print(&[(quantity, series)], ("a domain", 1.0), domains);
    }
}

/// Without a variant: Caddy.
fn run(variant: Option<&Variant<'_>>, caddy: &Path, domains: usize) -> [f64; QUANTITIES.len()] {
    const NO_NEEDS: &[Need] = &[];
    let lab = Lab::open("bench::caddy", NO_NEEDS).expect("what a bench needs is there");
    // Debian's Caddy refuses a date in Retry-After, which pebble sends by chance.
    let no_advice = serde_json::json!({ "authz": 0, "order": 0 });
    let pebble = Authority::new(&lab).set("retryAfter", no_advice).start();
    let names: Vec<String> = (0..domains).map(|n| format!("d{n}.test")).collect();
    rustix::fs::sync();
    let begin = Instant::now();
    let (running, issued) = match variant {
        Some(variant) => {
            let config = Config::with_ca(&lab, &pebble.authority);
            let config = variant.configure(issue::config(config, variant.module, &names, ""));
            let mut httpd = config.start();
            let store = httpd.config.store();
            all_done(&names, begin, |name| issue::is_done(&store, name));
            let issued = begin.elapsed();
            // The C module serves them from here on.
            httpd.graceful();
            (Running::Httpd(Box::new(httpd)), issued)
        }
        None => {
            let process = start(caddy, &lab, &pebble, &names);
            let stored = stored(&lab);
            all_done(&names, begin, |name| stored(name));
            (Running::Caddy(process), begin.elapsed())
        }
    };
    visit(&lab, &names, names.len());
    thread::sleep(SETTLES);
    let processes = running.processes();
    let memory: u64 = processes.iter().filter_map(|pid| server::pss_kb(*pid)).sum();
    let (before, idle) = (Spent::by(&processes), Instant::now());
    thread::sleep(IDLE);
    let (after, seconds) = (Spent::by(&processes), idle.elapsed().as_secs_f64());
    visit(&lab, &names, HANDSHAKES);
    let visited = Spent::by(&processes);
    [
        issued.as_secs_f64(),
        memory as f64 / 1024.0,
        (after.ns - before.ns) as f64 / 1e7 / seconds,
        (after.wakes - before.wakes) as f64 / seconds,
        (visited.ns - after.ns) as f64 / 1e3 / HANDSHAKES as f64,
    ]
}

fn all_done(names: &[String], begin: Instant, is_done: impl Fn(&str) -> bool) {
    for name in names {
        while !is_done(name) {
            assert!(begin.elapsed() < PATIENCE, "{name} has no certificate");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Full handshakes with one name after the other, each of which has a certificate of the CA.
fn visit(lab: &Lab, names: &[String], count: usize) {
    let context = handshake::client();
    for name in names.iter().cycle().take(count) {
        let served = || {
            let mut ssl = Ssl::new(&context).ok()?;
            ssl.set_hostname(name).ok()?;
            let tcp = TcpStream::connect(("127.0.0.1", lab.https)).ok()?;
            tcp.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
            let stream = ssl.connect(tcp).ok()?;
            let chain = stream.ssl().peer_cert_chain()?;
            (chain.len() > 1).then_some(())
        };
        wait_for("a handshake", PATIENCE, served);
    }
}

fn program() -> Option<PathBuf> {
    let file = support::lab::lab_dir().join("interop/caddy/usr/bin/caddy");
    file.exists().then_some(file)
}

/// With the CA's lab, at the ports that the CA validates.
fn start(caddy: &Path, lab: &Lab, pebble: &Pebble, names: &[String]) -> Process {
    let dir = lab.path("caddy");
    fs::create_dir_all(&dir).unwrap();
    let issuer = serde_json::json!({
        "module": "acme",
        "ca": pebble.authority.directory(),
        "email": "admin@example.org",
        "trusted_roots_pem_files": [pebble.authority.certificate],
        "challenges": { "tls-alpn": { "disabled": true } },
    });
    let config = serde_json::json!({
        "admin": { "disabled": true },
        "storage": { "module": "file_system", "root": dir },
        "logging": { "logs": { "default": { "level": "WARN" } } },
        "apps": {
            "http": {
                "http_port": lab.http,
                "https_port": lab.https,
                "servers": { "sites": {
                    "listen": [format!("127.0.0.1:{}", lab.https)],
                    "routes": [{
                        "match": [{ "host": names }],
                        "handle": [{ "handler": "static_response", "body": "ok" }],
                    }],
                }},
            },
            "tls": { "automation": { "policies": [{ "issuers": [issuer] }] } },
        },
    });
    let file = dir.join("caddy.json");
    fs::write(&file, config.to_string()).unwrap();
    Process::spawn(Start {
        program: caddy,
        args: args([&"run", &"--config", &file]),
        envs: vec![("HOME".into(), dir.display().to_string())],
        log: &dir.join("caddy.log"),
        stop_signal: "KILL",
        user: &[],
    })
}

/// Whether Caddy has stored the certificate of a name.
fn stored(lab: &Lab) -> impl Fn(&str) -> bool {
    let certificates = lab.path("caddy").join("certificates");
    move |name| {
        // One folder for each CA.
        let mut authorities = fs::read_dir(&certificates).into_iter().flatten().flatten();
        authorities.any(|authority| authority.path().join(name).join(format!("{name}.crt")).exists())
    }
}
