// SPDX-License-Identifier: Apache-2.0
//! What runs: a CA behind a way that can be cut, an OCSP responder, an engine, one httpd with many domains, whose
//! store has a disk of its own, and two httpds of a fleet.

use super::client::Client;
use super::engine::Engine;
use super::signals::Signals;
use super::{Options, PATIENCE};
use nix::sched::{CloneFlags, unshare};
use openssl::ssl::SslVersion;
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::clocks::Clocks;
use support::forwarder::Forwarder;
use support::responder::{Act, Responder, Signers};
use support::{Authority, Config, Httpd, Lab, Pebble, fleet, http, wait_for};

/// The nodes of the fleet, by the last number of their addresses. The other httpd is at 127.0.0.1.
const NODES: [u8; 2] = [2, 3];
/// The file that fills the disk.
pub const FILL: &str = ".fill";

/// A name, and where it is served.
#[derive(Clone)]
pub struct Target {
    pub address: String,
    pub name: String,
}

/// In the order in which it has to end.
pub struct Stack {
    /// The one that is alone, and then the nodes.
    pub httpds: Vec<Httpd>,
    pub engine: Engine,
    pub pebble: Pebble,
    pub way: Forwarder,
    pub clocks: Clocks,
    pub disk: Option<Disk>,
    pub targets: Vec<Target>,
    /// What cannot be done on this machine, and why.
    pub left_out: Vec<String>,
    _responder: Responder,
}

impl Stack {
    /// Returns once every name is served with a certificate of the CA.
    pub fn start(lab: &Lab, options: &Options, signals: &Signals) -> Stack {
        let responder = Responder::start(lab, Act::Good(3600));
        let authority = Authority::new(lab)
            .lifetime(lab, options.lifetime)
            .set("ocspResponderURL", serde_json::json!([responder.url()][0]));
        let way = Forwarder::to(lab, authority.api());
        let clocks = Clocks::build(lab, "site");
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}.test")).collect::<Vec<_>>();
        let (own, shared) = (names("d", options.domains), names("f", options.shared));
        let site = Config::with_ca(lab, &authority).without_line("MDCertificateAuthority");
        let site = own.iter().fold(clocks.of(common(site, &way)), |config, name| {
            config.line(&managed(name, options)).site(name, &[])
        });
        let disk = Disk::mount(&site.store());
        let left_out = disk.as_ref().err().map(|reason| format!("disk full: {reason}"));
        let stack = signals.at_their_defaults(|| {
            let engine = if options.engine == "etcd" { Engine::etcd(lab) } else { Engine::redis(lab) };
            let pebble = authority.start();
            let (certificate, key) = pebble.issuer();
            responder.sign_as(Signers::of(certificate, key));
            // The CA looks at one of them, whichever renews.
            shared.iter().for_each(|name| point(&pebble, name, NODES[1]));
            let nodes =
                NODES.map(|number| node(lab, &pebble.authority, number, &engine, &way, &shared, options));
            let httpds = std::iter::once(site).chain(nodes).map(|config| config.patience(PATIENCE).start());
            let httpds = httpds.collect();
            let own = own.iter().map(|name| (1, name));
            let shared = NODES.iter().flat_map(|number| shared.iter().map(|name| (*number, name)));
            let targets = own.chain(shared);
            let targets = targets
                .map(|(number, name)| Target { address: fleet::address(number), name: name.clone() })
                .collect();
            Stack {
                httpds,
                engine,
                pebble,
                way,
                clocks,
                disk: disk.ok(),
                targets,
                left_out: left_out.into_iter().collect(),
                _responder: responder,
            }
        });
        stack.wait_issued(lab);
        stack
    }

    fn wait_issued(&self, lab: &Lab) {
        let client = Client::new(lab.https, &self.pebble.authority.root, SslVersion::TLS1_3);
        for target in &self.targets {
            // In a row, so that no child alone takes them all.
            let is_good = || client.visit(&target.address, &target.name).flaw.is_none();
            wait_for(&format!("a certificate of {}", target.name), PATIENCE, || {
                (0..8).all(|_| is_good()).then_some(())
            });
        }
    }
}

/// The directives of all of them.
fn common(config: Config, way: &Forwarder) -> Config {
    config
        .line(&format!("MDCertificateAuthority https://127.0.0.1:{}/dir", way.port))
        // The more requests at once, the more often pebble stands still (tests/support/pebble.rs).
        .line("MDRenewViaARI off\nMDCheckInterval 5s\nMDRetryDelay 1s\nMDRenewParallel 4")
        .line("MDPrivateKeys P-256\nMDAccountKey P-256\nMDStapling on\nMDStaplingKeepResponse 5mi\nLogLevel notice md:info")
        .line("<Location /md-metrics>\nSetHandler md-metrics\n</Location>")
        // As many children all the time.
        .line("StartServers 3\nMinSpareThreads 16\nMaxSpareThreads 64")
}

fn node(
    lab: &Lab,
    authority: &Authority,
    number: u8,
    engine: &Engine,
    way: &Forwarder,
    names: &[String],
    options: &Options,
) -> Config {
    let config = fleet::node(lab, authority, number, &engine.directives(), &[]);
    let config = common(config.without_line("MDCertificateAuthority"), way);
    let pages = config.server_root().join("htdocs");
    let mut text = String::new();
    for name in names {
        let page = pages.join(name);
        fs::create_dir_all(&page).unwrap();
        fs::write(page.join("index.html"), format!("site {name}")).unwrap();
        let _ = writeln!(
            text,
            "{}\n<VirtualHost *:{}>\nServerName {name}\nDocumentRoot {}\nSSLEngine on\n</VirtualHost>",
            managed(name, options),
            lab.https,
            page.display()
        );
    }
    config.line(&text)
}

fn point(pebble: &Pebble, name: &str, number: u8) {
    let body = serde_json::json!({ "host": format!("{name}."), "addresses": [fleet::address(number)] });
    let answer =
        http::post(pebble.authority.dns_management, "localhost", "/add-a", &body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A file system in memory, for the store of one httpd, seen by this program and what it starts alone.
pub struct Disk {
    path: PathBuf,
}

const SIZE: &str = "size=256m,mode=755";

impl Disk {
    fn mount(path: &Path) -> Result<Disk, String> {
        if !support::lab::is_root() {
            return Err("a disk of its own for the store needs root".to_string());
        }
        fs::create_dir_all(path).map_err(|e| e.to_string())?;
        // It ends with the last process that sees it, even where this program is killed.
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| format!("no namespace of its own: {e}"))?;
        command("mount", &["--make-rprivate", "/"])?;
        command("mount", &["-t", "tmpfs", "-o", SIZE, "soak", &path.display().to_string()])?;
        Ok(Disk { path: path.to_path_buf() })
    }

    /// Until nothing more can be written.
    pub fn fill(&self) {
        let part = vec![0; 64 * 1024];
        if let Ok(mut file) = fs::File::create(self.path.join(FILL)) {
            while file.write_all(&part).is_ok() {}
            // The rest of the last block.
            while file.write_all(&[0]).is_ok() {}
        }
    }

    pub fn free(&self) {
        let _ = fs::remove_file(self.path.join(FILL));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = command("umount", &["-l", &self.path.display().to_string()]);
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}

/// The windows of names differ by up to this percentage of a lifetime: so renewals are always under way.
pub const SPREAD: u32 = 10;

/// `MDRenewWindow`, in percent.
fn window(name: &str, options: &Options) -> u32 {
    let number: u32 =
        name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default();
    options.window + number % (SPREAD + 1)
}

fn managed(name: &str, options: &Options) -> String {
    format!("<MDomainSet {name}>\nMDRenewWindow {}%\n</MDomainSet>", window(name, options))
}

/// The time after which a renewal is due.
pub fn due(name: &str, options: &Options) -> Duration {
    Duration::from_secs(u64::from(options.lifetime) * u64::from(100 - window(name, options)) / 100)
}
