// SPDX-License-Identifier: Apache-2.0
//! The httpds of a fleet: node N serves at 127.0.0.N, at the ports where the CA validates, and answers tests at
//! ports of its own. The CA looks at one of them, whichever renews.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, iter, thread};

use data_encoding::BASE64;

use super::httpd::{Config, Httpd};
use super::tls::Served;
use super::{Authority, Lab, Pebble, SOON, http, tls, wait_for};

/// Seconds of a node's lease in the engine.
pub const LEASE: Duration = Duration::from_secs(30);

/// The fleet's secret, readable by who starts httpd alone.
pub fn secret(lab: &Lab, name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    let file = lab.path(name);
    fs::write(&file, BASE64.encode(&bytes)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The address of a node, which counts from 1.
pub fn address(number: u8) -> String {
    format!("127.0.0.{number}")
}

/// A node with these MDs, one of each name. `engine`: the directives that name it.
pub fn node(lab: &Lab, authority: &Authority, number: u8, engine: &str, names: &[&str]) -> Config {
    let (http, https, address) = (lab.http, lab.https, address(number));
    let config = Config::with_ca(lab, authority).root(&lab.path(format!("node{number}")));
    let mut config = config
        .ports(lab.port(), lab.port())
        .line(&format!(
            "Listen {address}:{http}\nListen {address}:{https}\nMDPortMap http:{http} https:{https}"
        ))
        .line(&format!("{engine}\nMDFleetNode node{number}"));
    for name in names {
        config = config.line(&format!("MDomain {name}"));
    }
    hosts(config, https, names)
}

/// TLS hosts of these names.
pub fn hosts(config: Config, https: u16, names: &[&str]) -> Config {
    let mut text = String::new();
    for name in names {
        let _ = writeln!(text, "<VirtualHost *:{https}>\nServerName {name}\nSSLEngine on\n</VirtualHost>");
    }
    config.line(&text)
}

/// What a client sees that asks node `number` and trusts the CA alone.
pub fn served(lab: &Lab, pebble: &Pebble, number: u8, name: &str) -> Served {
    tls::served_at(&address(number), lab.https, name, Some(&pebble.authority.root))
}

/// As many handshakes, one after the other, as reach each child of a node: after a set came, some may serve the
/// former one for a moment.
const HANDSHAKES: usize = 8;

/// The serial that all these nodes serve at this moment, in each child, where it is one of the CA's.
pub fn served_by_all(lab: &Lab, pebble: &Pebble, nodes: &[u8], name: &str) -> Option<String> {
    let asked = nodes.iter().flat_map(|&number| iter::repeat_n(number, HANDSHAKES));
    let mut serials = asked.map(|number| {
        let served = served(lab, pebble, number, name);
        served.verified.then(|| served.serial())
    });
    let first = serials.next()??;
    serials.all(|serial| serial.as_ref() == Some(&first)).then_some(first)
}

/// The serial that all these nodes serve in each child, once it is the same and the CA's.
#[track_caller]
pub fn wait_served(lab: &Lab, pebble: &Pebble, nodes: &[u8], name: &str, within: Duration) -> String {
    wait_for(&format!("one certificate of {name} at nodes {nodes:?}"), within, || {
        served_by_all(lab, pebble, nodes, name)
    })
}

/// The CA looks for every name there from now on.
pub fn point_names_at(pebble: &Pebble, number: u8) {
    let body = serde_json::json!({ "ip": address(number) }).to_string();
    let answer =
        http::post(pebble.authority.dns_management, "localhost", "/set-default-ipv4", &body).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Starts these nodes, one directly after the other. Not in threads: with a thread that ends the kernel ends the
/// processes that it has started.
pub fn start(configs: Vec<Config>) -> Vec<Httpd> {
    configs.into_iter().map(Config::start).collect()
}

/// What md-status of a node says of the fleet.
pub fn report(node: &Httpd) -> serde_json::Value {
    node.mds()["fleet"].take()
}

#[track_caller]
pub fn wait_connected(node: &Httpd, connected: bool, within: Duration) {
    wait_for(&format!("connected: {connected}"), within, || {
        (report(node)["connected"] == connected).then_some(())
    });
}

/// Until each of these nodes knows that all of them live.
#[track_caller]
pub fn wait_together(nodes: &[&Httpd]) {
    for node in nodes {
        wait_for("all nodes of the fleet", SOON, || {
            let known = report(node)["nodes"].as_array().map_or(0, Vec::len);
            (known == nodes.len()).then_some(())
        });
    }
}

/// Clients that connect to nodes all the time, until this is dropped.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub good: Arc<AtomicUsize>,
    failed: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Clients {
    /// One for each of these nodes, which trusts the CA alone.
    pub fn connect(lab: &Lab, pebble: &Pebble, nodes: &[u8], name: &'static str) -> Clients {
        let (stop, good, failed) = Default::default();
        let mut clients = Clients { stop, threads: Vec::new(), good, failed };
        for &number in nodes {
            let (root, port) = (pebble.authority.root.clone(), lab.https);
            let (stop, good, failed) = (clients.stop.clone(), clients.good.clone(), clients.failed.clone());
            clients.threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match handshake(&address(number), port, name, &root) {
                        Ok(()) => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failed.lock().unwrap().push(format!("node {number}: {error}")),
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }));
        }
        clients
    }

    /// The failures so far.
    pub fn failed(&self) -> Vec<String> {
        self.failed.lock().unwrap().clone()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn handshake(address: &str, port: u16, name: &str, root: &Path) -> Result<(), String> {
    let served = tls::served_at(address, port, name, Some(root));
    if served.verified { Ok(()) } else { Err(served.verdict) }
}
