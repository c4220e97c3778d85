// SPDX-License-Identifier: Apache-2.0
//! One case: a store is made, both modules are started in turn on a copy of it with the second configuration,
//! and asked the same.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::documented;
use crate::facts::{self, Facts};
use crate::rank::{at_least_as_good, is_better};
use crate::seen::{Seen, WEB_ROOT_TOKEN};
use support::issuer::Issuer;
use support::module::{c_module, under_test};
use support::process;
use support::{Authority, Config, Httpd, Lab, Need, Pebble, SOON, http, wait_for};

/// What the second start finds at the address of the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ca {
    /// Nothing listens.
    Down,
    /// It issues for no name of the tests.
    Refusing,
    /// It issues, once the first answers of httpd have been compared.
    Up,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    C,
    Ours,
}

pub type Setup = fn(&World, Config) -> Config;

pub enum Store {
    Empty,
    /// By the test's own issuer.
    Planted(fn(&World, &Path)),
    /// A set waits for a restart: by this module, under this configuration.
    Staged(Who, Setup),
    /// A set is in use after a restart.
    Active(Who, Setup),
    /// A set is served without a restart, as only our module does.
    Live(Setup),
}

pub struct Case {
    /// Of which MDs the first configuration gets certificates, where the store is made by a module.
    pub mds: &'static [&'static str],
    pub store: Store,
    /// What the copies of the store go through.
    pub between: fn(&Path),
    pub second: Setup,
    /// The names that clients ask for.
    pub asked: &'static [&'static str],
}

pub struct World {
    pub lab: Lab,
    pub issuer: Issuer,
    /// All roots whose certificates a test may see.
    pub roots: PathBuf,
    /// Names the CA, whether or not it answers.
    pub ca: String,
}

impl Who {
    pub fn module(self) -> PathBuf {
        match self {
            Who::C => c_module().unwrap(),
            Who::Ours => under_test(),
        }
    }
}

/// The whole grid, and not what fits into a few minutes.
pub fn is_full() -> bool {
    std::env::var_os("DIFFERENTIAL").is_some_and(|value| value == "full")
}

/// A lab with its own issuer, its root known to clients. `None`: skipped.
pub fn open(name: &str) -> Option<World> {
    let lab = Lab::open(&format!("differential::{name}"), &[Need::BothModules])?;
    let issuer = Issuer::new();
    let roots = lab.path("roots.pem");
    fs::write(&roots, issuer.root.to_pem().unwrap()).unwrap();
    Some(World { lab, issuer, roots, ca: String::new() })
}

/// Runs a row of the grid with these answers of the CA, and fails with all that is worse than the C module or
/// unexplained.
#[track_caller]
pub fn run(row: &str, usual: &[Ca], whole: &[Ca], case: &Case) {
    let mut worlds = Vec::new();
    let mut said = String::new();
    let answers = if is_full() { whole } else { usual };
    assert!(!answers.is_empty(), "this row is for `make differential`");
    for &ca in answers {
        let Some(mut world) = open(&format!("grid::{row}::{ca:?}")) else { return };
        for problem in problems(&mut world, row, case, ca) {
            let _ = writeln!(said, "DIFFERS {row}, CA {ca:?}: {problem}");
        }
        worlds.push(world);
    }
    // The labs are open until here: a failed one keeps its folder.
    assert!(said.is_empty(), "\n{said}");
}

/// What was seen at one moment.
struct Look {
    moment: &'static str,
    hosts: Vec<Seen>,
    facts: Option<Facts>,
}

fn problems(world: &mut World, row: &str, case: &Case, ca: Ca) -> Vec<String> {
    let authority = Authority::new(&world.lab);
    world.ca = authority.directives();
    let store = world.lab.path("store");
    let pebble = match (make(world, case, authority, &store), ca) {
        (_, Ca::Down) => None,
        (Maker::Idle(authority), Ca::Up) => Some(start(world, authority)),
        (Maker::Issued(pebble), Ca::Up) => Some(pebble),
        (maker, Ca::Refusing) => {
            let authority = match maker {
                Maker::Idle(authority) => authority,
                Maker::Issued(pebble) => pebble.stop(),
            };
            Some(start(world, authority.set("domainBlocklist", json!(["test"]))))
        }
    };
    let [c, ours] = [Who::C, Who::Ours].map(|who| look(world, case, &store, who, ca, pebble.as_ref()));
    let (c, ours) = match (c, ours) {
        (Err(said), Err(_)) => panic!("a case in which neither starts says nothing: {said}"),
        (Err(_), Ok(_)) => return Vec::new(),
        (Ok(_), Err(said)) => return vec![format!("the C module starts and ours does not: {}", tail(&said))],
        (Ok(c), Ok(ours)) => (c, ours),
    };
    let mut problems = Vec::new();
    for (c, ours) in c.iter().zip(&ours) {
        problems.extend(worse(row, c, ours));
    }
    problems
}

fn worse(row: &str, c: &Look, ours: &Look) -> Vec<String> {
    let moment = c.moment;
    let pairs = c.hosts.iter().zip(&ours.hosts);
    let worse = |(c, ours): (&Seen, &Seen)| {
        at_least_as_good(c, ours).err().map(|why| format!("[{moment}] {}: {why}", c.name))
    };
    let mut problems: Vec<_> = pairs.filter_map(worse).collect();
    if let (Some(theirs), Some(our_facts)) = (&c.facts, &ours.facts) {
        let differences = facts::differences(theirs, our_facts);
        let is_better = c.hosts.iter().zip(&ours.hosts).any(|(c, ours)| is_better(c, ours));
        let is_explained =
            |line: &str| documented::explains(row, line) || (is_better && facts::is_of_certificate(line));
        let unexplained = differences.into_iter().filter(|line| !is_explained(line));
        problems.extend(unexplained.map(|line| format!("[{moment}] {line}")));
    }
    problems
}

/// Whether the CA has had a part in a store.
enum Maker {
    Idle(Authority),
    Issued(Pebble),
}

/// The store as the case wants it, at `store`.
fn make(world: &World, case: &Case, authority: Authority, store: &Path) -> Maker {
    let (who, first) = match case.store {
        Store::Empty => return Maker::Idle(authority),
        Store::Planted(plant) => {
            plant(world, store);
            return Maker::Idle(authority);
        }
        Store::Staged(who, first) | Store::Active(who, first) => (who, first),
        Store::Live(first) => (Who::Ours, first),
    };
    let pebble = start(world, authority);
    let mut httpd = first(world, base(world, who, "first")).start();
    case.mds.iter().for_each(|md| httpd.wait_staged(md));
    match case.store {
        Store::Active(..) => httpd.graceful(),
        Store::Live(_) => case.mds.iter().for_each(|md| {
            wait_for(&format!("{md} live"), SOON, || {
                (httpd.md(md)["activation"]["mode"] == "live").then_some(())
            });
        }),
        _ => {}
    }
    let config = httpd.stop();
    fs::rename(config.store(), store).unwrap();
    Maker::Issued(pebble)
}

fn start(world: &World, authority: Authority) -> Pebble {
    let pebble = authority.start();
    let mut roots = fs::read(&world.roots).unwrap();
    roots.extend(fs::read(&pebble.authority.root).unwrap());
    fs::write(&world.roots, roots).unwrap();
    pebble
}

/// What all configurations have in common.
pub fn base(world: &World, who: Who, folder: &str) -> Config {
    let config = Config::new(&world.lab).module(&who.module()).root(&world.lab.path(folder));
    // Pages are asked from a host without TLS that no domain knows, and the first one takes all other names.
    let pages = format!("<VirtualHost *:{}>\nServerName main.test\n</VirtualHost>", config.http_port());
    config.line(&world.ca).line(&pages).line("MDContactEmail admin@example.test\nMDServerStatus on")
}

/// Starts a module on its copy, and looks: at once, when its renewals have ended for now, and after a
/// restart.
fn look(
    world: &World,
    case: &Case,
    store: &Path,
    who: Who,
    ca: Ca,
    pebble: Option<&Pebble>,
) -> Result<Vec<Look>, String> {
    let folder = if who == Who::C { "c" } else { "ours" };
    let config = (case.second)(world, base(world, who, folder));
    fs::create_dir_all(config.server_root()).unwrap();
    if store.exists() {
        copy(store, &config.store());
    }
    (case.between)(&config.store());
    if let Some(pebble) = pebble {
        pebble.hold();
    }
    let started = config.try_start();
    let first = started.as_ref().ok().map(|httpd| see(world, case, httpd, "at once", Some(false)));
    if let Some(pebble) = pebble {
        pebble.go_on();
    }
    let mut httpd = started?;
    settle(&httpd, ca);
    let issued = ca == Ca::Up;
    let later = see(world, case, &httpd, "after the renewal", (!issued).then_some(false));
    let mut looks: Vec<_> = first.into_iter().chain([later]).collect();
    if issued || is_full() {
        httpd.graceful();
        looks.push(see(world, case, &httpd, "after a restart", Some(issued)));
    }
    httpd.stop();
    for Look { moment, hosts, .. } in &looks {
        hosts.iter().for_each(|seen| println!("{who:?}, CA {ca:?}, {moment}: {seen}"));
    }
    Ok(looks)
}

/// `is_other_order` as of [`facts::ask`]; `None`: what is said now depends on when the module uses what it
/// got.
fn see(
    world: &World,
    case: &Case,
    httpd: &Httpd,
    moment: &'static str,
    is_other_order: Option<bool>,
) -> Look {
    let ports = (httpd.config.http_port(), httpd.config.https_port());
    Look {
        moment,
        hosts: case.asked.iter().map(|name| Seen::ask(ports, name, &world.roots)).collect(),
        facts: is_other_order.map(|is_other_order| facts::ask(httpd, case.asked, is_other_order)),
    }
}

/// Until every renewal has ended, one way or the other, and all children serve what goes live. What takes
/// longer is compared as it is.
fn settle(httpd: &Httpd, ca: Ca) {
    let mut deadline = Instant::now() + Duration::from_secs(if ca == Ca::Up { 40 } else { 8 });
    let is_over = |md: &Value| {
        let is_to_come = md["renew"] == true && md["watched"] == true && md["renew-mode"] != 0;
        let renewal = &md["renewal"];
        let has_failed = renewal["errors"].as_u64().is_some_and(|errors| errors > 0);
        renewal["finished"] == true || has_failed || (renewal.is_null() && !is_to_come)
    };
    let children = || process::children(httpd.pid()).len();
    let is_used = |md: &Value| match md["activation"]["mode"].as_str() {
        Some("live") => md["activation"]["workers"] == children(),
        Some("pending") => false,
        _ => true,
    };
    while Instant::now() < deadline {
        let answer = http::get(httpd.config.http_port(), "main.test", "/md-status").ok();
        let list = answer.map(|answer| answer.json());
        let mds = list.as_ref().and_then(|list| list["managed-domains"].as_array());
        if mds.is_some_and(|mds| mds.iter().all(is_over)) {
            if mds.is_some_and(|mds| mds.iter().all(is_used)) {
                return;
            }
            // Must-staple, or MDActivationDelay.
            deadline = deadline.min(Instant::now() + Duration::from_secs(4));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp -a {}", from.display());
}

/// The last that httpd said, for a message.
pub fn tail(said: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| !line.contains(":debug]")).collect();
    lines[lines.len().saturating_sub(4)..].join(" / ")
}

impl World {
    /// A host of these names, with and without TLS, and with these directives where it has TLS. Its pages
    /// have a challenge's file.
    pub fn host(&self, config: Config, names: &[&str], directives: &str) -> Config {
        let pages = config.server_root().join("htdocs").join(names[0].replace('*', "_"));
        let challenges = pages.join(".well-known/acme-challenge");
        fs::create_dir_all(&challenges).unwrap();
        fs::write(pages.join("index.html"), format!("site {}", names[0])).unwrap();
        fs::write(challenges.join(WEB_ROOT_TOKEN), "from the web root").unwrap();
        let alias = names[1..].join(" ");
        let alias = if alias.is_empty() { alias } else { format!("ServerAlias {alias}\n") };
        let common = format!("ServerName {}\n{alias}DocumentRoot {}", names[0], pages.display());
        let (http, https) = (config.http_port(), config.https_port());
        config.line(&format!(
            "<VirtualHost *:{http}>\n{common}\n</VirtualHost>\n<VirtualHost *:{https}>\n{common}\nSSLEngine on\n{directives}\n</VirtualHost>"
        ))
    }
}
