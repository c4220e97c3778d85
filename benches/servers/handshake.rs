// SPDX-License-Identifier: Apache-2.0
//! What a staple costs a handshake: the same certificate and the same client, with servers that staple in
//! different ways or not at all. They take turns in short blocks, so that whatever else the machine does
//! meets all of them, and what is compared are blocks of the same round.

use crate::cpu;
use crate::staple::{IDLE, authority, lab};
use crate::table::{self, Series};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion, StatusType};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::responder::Responder;
use support::tls::Files;
use support::{Config, Httpd, Lab, module, process, staple, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);
/// Handshakes with one server before the next has its turn.
const BLOCK: usize = 25;
/// Handshakes of which the instructions are counted.
const COUNTED: usize = 200;
const ALONE: &str =
    "StartServers 1\nServerLimit 1\nSSLSessionCache none\nSSLSessionTickets off\nLogLevel notice";

/// One way to staple.
struct Way {
    name: &'static str,
    module: PathBuf,
    lines: String,
    is_stapled: bool,
}

struct Server {
    way: usize,
    httpd: Httpd,
    lab: Lab,
    /// Until it was ready.
    handshakes: usize,
}

/// The site that all of them serve.
struct Site {
    lab: Lab,
    root: PathBuf,
    files: Files,
    ways: Vec<Way>,
    context: SslContext,
    _responder: Responder,
}

/// Processor time of httpd's child for a full TLS 1.3 handshake of a client that asks for a staple; `count`
/// handshakes with each server in each round, and new servers for each round: where in memory things lie
/// makes a difference, too.
pub fn measure(count: usize, rounds: usize) {
    let site = Site::new();
    let mut spent: Vec<Series> = site.ways.iter().map(|way| Series::new(way.name)).collect();
    for round in 0..rounds {
        let servers: Vec<Server> = (0..site.ways.len()).map(|way| site.start(way, &[])).collect();
        for block in 0..count.div_ceil(BLOCK) {
            for turn in 0..servers.len() {
                // Who comes first changes, too.
                let at = (turn + block + round) % servers.len();
                let before = cpu::time(&servers[at].httpd);
                site.visit(&servers[at], BLOCK);
                let took = cpu::time(&servers[at].httpd) - before;
                spent[at].add(took.as_secs_f64() * 1e6 / BLOCK as f64);
            }
        }
    }
    println!("\n{count} handshakes each in {rounds} rounds, TLS 1.3, P-256, in blocks of {BLOCK}");
    table::print(&[("cpu µs", &spent)], ("µs a handshake", 1.0), 1);
    table::print_ratios(&spent, "ours");
    match has_valgrind() {
        true => count_instructions(&site),
        false => println!("valgrind is not here: instructions are not counted"),
    }
}

/// A second opinion that no other work on the machine can change.
fn count_instructions(site: &Site) {
    println!("\ninstructions of httpd's child for a handshake, thousands, mean of {COUNTED} (callgrind)");
    let mut counted: Vec<Series> = site.ways.iter().map(|way| Series::new(way.name)).collect();
    for (way, series) in counted.iter_mut().enumerate() {
        // All but the handshakes is the same.
        let (more, fewer) = (instructions(site, way, BLOCK + COUNTED), instructions(site, way, BLOCK));
        series.add((more.0 - fewer.0) / (more.1 - fewer.1) / 1e3);
    }
    table::print(&[("thousands", &counted)], ("thousands a handshake", 1.0), 1);
}

/// Of httpd's child, from its beginning to its end, and how many handshakes there were in it.
fn instructions(site: &Site, way: usize, handshakes: usize) -> (f64, f64) {
    let dir = site.lab.path(format!("callgrind-{way}-{handshakes}"));
    fs::create_dir_all(&dir).unwrap();
    // The child writes there, too.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let out = format!("--callgrind-out-file={}/out.%p", dir.display());
    let server = site.start(way, &["valgrind", "--tool=callgrind", "--vgdb=no", "-q", &out]);
    let child = *process::children(server.httpd.pid()).first().expect("a child");
    site.visit(&server, handshakes);
    let handshakes = server.handshakes + handshakes;
    server.httpd.stop();
    let text = fs::read_to_string(dir.join(format!("out.{child}"))).expect("what callgrind has counted");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    (total.and_then(|total| total.trim().parse().ok()).expect("a total"), handshakes as f64)
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Site {
    fn new() -> Site {
        let lab = lab("handshake");
        let (ca, responder) = authority(&lab);
        let files = ca.issue(&lab, "own.test", &responder.url());
        let (root, ours) = (ca.root.clone(), module::under_test());
        let way = |name, module: &Path, lines: String, is_stapled| Way {
            name,
            module: module.to_path_buf(),
            lines,
            is_stapled,
        };
        let on = || "MDStapling on".to_string();
        let own = || {
            let cache = "SSLStaplingCache shmcb:staples(128000)";
            format!("SSLUseStapling on\n{cache}")
        };
        let mut site = Site {
            ways: vec![
                way("off", &ours, String::new(), false),
                way("mod_ssl", &ours, own(), true),
                way("ours", &ours, on(), true),
            ],
            lab,
            root,
            files,
            context: client(),
            _responder: responder,
        };
        if let Some(c) = module::c_module() {
            site.ways.extend([way("c off", &c, String::new(), false), way("c", &c, on(), true)]);
        }
        let response = site.lab.path("response.der");
        let server = site.start(2, &[]);
        let der = staple::staple(server.lab.https, "own.test", &site.root).unwrap().der;
        fs::write(&response, der).unwrap();
        let constant = build_constant(&site.lab);
        let lines = format!(
            "LoadModule constant_staple_module {}\nConstantStaple {}",
            constant.display(),
            response.display()
        );
        site.ways.push(way("constant", &ours, lines, true));
        site
    }

    /// Returns once it staples, if it does, and has warmed up. `under`: the program that runs httpd.
    fn start(&self, way: usize, under: &[&str]) -> Server {
        let Way { name, module, lines, is_stapled } = &self.ways[way];
        let lab = lab(&format!("handshake-{}", name.replace(' ', "-")));
        // The C module runs only where there is a domain.
        let config = Config::new(&lab).module(module).line(ALONE).line(IDLE).line(lines).under(under);
        let httpd = config.site_with("own.test", &self.files.directives()).start();
        if lines.contains("MDStapling on") {
            let dir = httpd.config.store().join("ocsp/other");
            let is_response = |file: fs::DirEntry| file.file_name().to_string_lossy().starts_with("ocsp-");
            let files = || fs::read_dir(&dir).into_iter().flatten().flatten();
            wait_for("a response", PATIENCE, || files().any(is_response).then_some(()));
        }
        let mut handshakes = BLOCK * 2;
        wait_for(name, PATIENCE, || {
            handshakes += 1;
            (staple::staple(lab.https, "own.test", &self.root).is_some() == *is_stapled).then_some(())
        });
        let server = Server { way, httpd, lab, handshakes };
        self.visit(&server, BLOCK * 2);
        server
    }

    fn visit(&self, server: &Server, count: usize) {
        for _ in 0..count {
            let mut ssl = Ssl::new(&self.context).unwrap();
            ssl.set_hostname("own.test").unwrap();
            ssl.set_status_type(StatusType::OCSP).unwrap();
            let tcp = TcpStream::connect(("127.0.0.1", server.lab.https)).unwrap();
            tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let stream = ssl.connect(tcp).expect("a handshake");
            assert_eq!(stream.ssl().ocsp_status().is_some(), self.ways[server.way].is_stapled);
            assert!(!stream.ssl().session_reused());
        }
    }
}

pub fn client() -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
    builder.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    builder.build()
}

/// `constant.c` as a module, with the compiler and the headers of this machine's httpd.
fn build_constant(lab: &Lab) -> PathBuf {
    let file = lab.path("mod_constant_staple.so");
    let script = r#"
        apxs=$(command -v apxs || command -v apxs2) && apr=$("$apxs" -q APR_CONFIG) &&
        cc -O2 -fPIC -shared -Wall -Werror -I"$("$apxs" -q INCLUDEDIR)" $("$apr" --includes --cppflags) -o "$2" "$1""#;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/servers/constant.c");
    let output = Command::new("sh").args(["-c", script, "sh"]).args([&source, &file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}
