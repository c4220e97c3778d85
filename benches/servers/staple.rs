//! OCSP stapling with a real responder: what a staple costs a handshake, and how long many certificates wait for theirs.

use crate::cpu;
use crate::site::Module;
use crate::support::own_ca::OwnCa;
use crate::support::responder::{Act, Responder, Signers};
use crate::support::{Config, Lab, Need, module, staple, wait_for};
use crate::table::{self, Series};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion, StatusType};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// More than the slowest module takes for a thousand certificates, one after the other.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Handshakes with one server before the next has its turn.
const BLOCK: usize = 100;
const ALONE: &str =
    "StartServers 1\nServerLimit 1\nSSLSessionCache none\nSSLSessionTickets off\nLogLevel notice";
/// The C module runs only where there is a domain.
const IDLE: &str = "MDomain idle.test\nMDRenewMode manual";

fn lab(name: &str) -> Lab {
    const NO_NEEDS: &[Need] = &[];
    Lab::open(&format!("bench::{name}::here"), NO_NEEDS).expect("what a bench needs is there")
}

fn authority(lab: &Lab) -> (OwnCa, Responder) {
    let (ca, responder) = (OwnCa::new(lab, "Own CA"), Responder::start(lab, Act::Good(86_400)));
    responder.sign_as(Signers::of(ca.cert.clone(), ca.key.clone()));
    (ca, responder)
}

/// Processor time of httpd's children for a full TLS 1.3 handshake of a client that asks for a staple. All servers
/// have the same P-256 certificate; they take turns, so that whatever else the machine does meets all of them.
pub fn handshake(count: usize) {
    let place = lab("staple");
    let (ca, responder) = authority(&place);
    let files = ca.issue(&place, "own.test", &responder.url());
    let own = |lab: &Lab| {
        format!("SSLUseStapling on\nSSLStaplingCache shmcb:{}(128000)", lab.path("staples").display())
    };
    let start = |name: &str, file: &Path, lines: &dyn Fn(&Lab) -> String| {
        let lab = lab(name);
        let config = Config::new(&lab).module(file).line(ALONE).line(IDLE).line(&lines(&lab));
        (name.to_string(), config.site_with("own.test", &files.directives()).start(), lab)
    };
    let ours = module::under_test();
    let mut servers = vec![start("none", &ours, &|_| String::new()), start("mod_ssl", &ours, &own)];
    servers.extend(module::c_module().map(|file| start("c", &file, &|_| "MDStapling on".into())));
    servers.push(start("ours", &ours, &|_| "MDStapling on".into()));
    for (name, _, lab) in servers.iter().skip(1) {
        wait_for(name, PATIENCE, || staple::staple(lab.https, "own.test", &ca.root));
    }
    let context = client();
    servers.iter().enumerate().for_each(|(at, (_, _, lab))| {
        (0..BLOCK * 2).for_each(|_| visit(&context, lab.https, at > 0));
    });
    let mut spent: Vec<Series> = servers.iter().map(|(name, ..)| Series::new(name)).collect();
    for block in 0..count.div_ceil(BLOCK) {
        for turn in 0..servers.len() {
            // Who comes first changes, too.
            let at = (turn + block) % servers.len();
            let (_, httpd, lab) = &servers[at];
            let before = cpu::time(httpd);
            (0..BLOCK).for_each(|_| visit(&context, lab.https, at > 0));
            spent[at].add((cpu::time(httpd) - before).as_secs_f64() * 1e6 / BLOCK as f64);
        }
    }
    println!("\n{count} handshakes each, TLS 1.3, P-256, in blocks of {BLOCK}");
    table::print(&[("cpu µs", &spent)], ("µs a handshake", 1.0), 1);
}

fn client() -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
    builder.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    builder.build()
}

fn visit(context: &SslContext, port: u16, is_stapled: bool) {
    let mut ssl = Ssl::new(context).unwrap();
    ssl.set_hostname("own.test").unwrap();
    ssl.set_status_type(StatusType::OCSP).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = ssl.connect(tcp).expect("a handshake");
    assert_eq!(stream.ssl().ocsp_status().is_some(), is_stapled);
    assert!(!stream.ssl().session_reused());
}

/// Seconds from exec until so many certificates of one responder, which takes 200 ms for each answer, are stapled.
pub fn staples(count: usize, modules: &[&Module]) {
    for module in modules {
        let lab = lab("staples");
        let (ca, responder) = authority(&lab);
        responder.delay(Duration::from_millis(200));
        let names: Vec<String> = (0..count).map(|n| format!("h{n}.test")).collect();
        let mut config = Config::new(&lab).line("MDStapling on\nLogLevel notice").line(IDLE);
        if let Some(file) = &module.file {
            config = config.module(file);
        }
        for name in &names {
            config = config.site_with(name, &ca.issue(&lab, name, &responder.url()).directives());
        }
        let begin = Instant::now();
        let _httpd = config.start();
        let up = begin.elapsed();
        for name in &names {
            wait_for(name, PATIENCE, || staple::staple(lab.https, name, &ca.root));
        }
        println!(
            "\n{count} certificates of one responder, {}: first answer after {:.1} s, all stapled after {:.1} s, {} requests, \
             at most {} at once",
            module.name,
            up.as_secs_f64(),
            begin.elapsed().as_secs_f64(),
            responder.requests(),
            responder.most_open()
        );
    }
}
