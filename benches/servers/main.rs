// SPDX-License-Identifier: Apache-2.0
//! Measures whole httpd processes with many domains, module against module: `make bench`.
//!
//! ```text
//! make bench                                  # startup and rss with 1000 domains, 3 rounds
//! make bench ARGS="startup 2000 5"            # scenario, domains, rounds
//! make bench ARGS="second-start 10000 1 floor ours"
//! make bench ARGS="status 1000 3 c ours"
//! make bench ARGS="idle 10000 1"             # domains, rounds of a minute and a half for each server
//! make bench ARGS="issue slowca"              # 200 and 30 domains, 1 round
//! make bench ARGS="dns 200 3"                 # domains, rounds
//! make bench ARGS="handshake 2000 3"          # handshakes with each server in each round, rounds
//! make bench ARGS="staples 1000 ours"         # certificates
//! make bench ARGS="fallback 200 3 floor ours" # without `c`, whose keys take a minute and more in each round
//! make bench ARGS="planted 2000 5 ours"       # folders, rounds
//! make bench ARGS="a2md 10000 3"              # domains, rounds
//! make bench ARGS="caddy 50 3 c ours"         # domains, rounds; after `sh tests/interop/setup.sh`
//! make bench ARGS="questions 100000 3"        # DNS questions of a kind in each round, rounds
//! ```
//!
//! Scenarios: `first-start` (empty store) and `second-start` (a certificate in use for every domain), or both
//! as `startup`: seconds from exec to the first answered request; `fallback`: the first start where domains
//! are to have keys of P-256, and where they are to have the default, RSA, beside the floor; `rss`: the summed PSS of
//! all processes; `idle`: processor time and wake-ups of a server with 16 children, to which nothing comes; `issue`:
//! seconds from exec until every domain has its first certificate from a local CA (pebble, which refuses one nonce in
//! twenty) in staging, with the module's own account key, RSA with 3072 bits, and where it knows `MDAccountKey` with
//! P-256; `slowca`: the same where the CA waits up to five
//! seconds before it validates a name; `dns`: `issue` by http-01, and with wildcards by dns-01 through dynamic
//! updates of BIND and through httpd's responder; `status`: how long md-status, server-status, its text for scripts and
//! md-dashboard take, from the request to the last byte, the first time, idle, and while renewals write their state;
//! `status-storm`: the same while all domains get their first certificates, beside a file of the JSON's
//! length; `handshake`: httpd's processor time for a full TLS 1.3 handshake with no stapling (ours and the C
//! module's off), with mod_ssl's own, the C module's and ours, and with a constant staple of a module that
//! does nothing else (`constant.c`), and the instructions it takes where valgrind is installed; `planted`:
//! starts with folders in staging of names that are not configured, as any process of httpd's `User` can make
//! them, beside starts without; `staples`: seconds from exec until all certificates of a responder that takes
//! 200 ms for each answer are stapled; `questions`: processor time of a child for a DNS question, and handshakes
//! beside five thousand questions a second; `a2md`: what commands take that read a store; `caddy`: certificates, memory,
//! idle cost and handshakes beside Caddy. Modules: `floor` (the same hosts with certificate files and no
//! module), `c` (the C module, where it is installed), `ours` (the release build, or `MODULE`), or the path
//! of a module file.
//!
//! Every round runs each module once, so that whatever else the machine does meets all of them. What is
//! measured lies in the temporary folder (`TMPDIR`) and is removed at the end. On a file system in memory a
//! first start says little; on ext4 it is slow for minutes after many files were removed, as by an earlier
//! run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod caddy;
mod certificate;
mod command;
#[path = "../live/cpu.rs"]
mod cpu;
mod dns;
mod handshake;
mod idle;
mod issue;
mod planted;
mod questions;
mod server;
mod site;
mod staple;
mod table;

use issue::{Validation, Variant};
use site::{Module, Site};
use std::fs;
use std::path::PathBuf;
use support::{apache, pebble};
use table::Series;

/// What one run of this program measures.
struct Request {
    scenarios: Vec<Scenario>,
    /// `None`: what the scenario takes by itself.
    domains: Option<usize>,
    rounds: Option<usize>,
    modules: Vec<Module>,
}

/// How often a page is asked for.
const ANSWERS: usize = 20;

#[derive(Clone, Copy, PartialEq)]
enum Scenario {
    FirstStart,
    SecondStart,
    Fallback,
    Rss,
    Idle,
    Issue,
    SlowCa,
    Dns,
    Status,
    StatusStorm,
    Handshake,
    Staples,
    Planted,
    Questions,
    A2md,
    Caddy,
}

impl Scenario {
    /// Domains and rounds.
    fn defaults(self) -> (usize, usize) {
        match self {
            Scenario::FirstStart | Scenario::SecondStart | Scenario::Rss | Scenario::Status => (1000, 3),
            Scenario::StatusStorm | Scenario::Idle => (1000, 1),
            Scenario::Issue | Scenario::Dns => (200, 1),
            Scenario::Fallback => (200, 3),
            Scenario::SlowCa => (30, 1),
            Scenario::Handshake => (2000, 3),
            Scenario::Staples => (1000, 1),
            // Folders.
            Scenario::Planted => (2000, 5),
            Scenario::Questions => (100_000, 3),
            Scenario::A2md => (10_000, 3),
            Scenario::Caddy => (50, 3),
        }
    }
}

fn main() {
    let request = match Request::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(2);
        }
    };
    let is_issuing = |scenario: &Scenario| {
        matches!(
            scenario,
            Scenario::Issue | Scenario::SlowCa | Scenario::Dns | Scenario::StatusStorm | Scenario::Caddy
        )
    };
    let is_stapling = |scenario: &Scenario| {
        matches!(scenario, Scenario::Handshake | Scenario::Staples | Scenario::Questions)
    };
    let is_planted = |scenario: &&Scenario| **scenario == Scenario::Planted;
    let is_command = |scenario: &&Scenario| **scenario == Scenario::A2md;
    let (commands, others): (Vec<_>, Vec<_>) = request.scenarios.iter().partition(is_command);
    let (planted, others): (Vec<_>, Vec<_>) = others.into_iter().partition(is_planted);
    let (stapling, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|s| is_stapling(s));
    let (issuing, starting): (Vec<_>, Vec<_>) = others.into_iter().partition(|s| is_issuing(s));
    if let Some((domains, _)) = starting.first().map(|scenario: &Scenario| scenario.defaults()) {
        let domains = request.domains.unwrap_or(domains);
        let dir = tempfile::Builder::new().prefix("mod_md-bench-").tempdir().unwrap();
        let site = Site::create(dir.path(), domains);
        for scenario in starting {
            match scenario {
                Scenario::Status => measure_status(&site, domains, &request),
                Scenario::Idle => idle::measure(&site, domains, &request),
                Scenario::Fallback => measure_fallback(&site, domains, &request),
                _ => measure(scenario, &site, domains, &request),
            }
        }
    }
    for scenario in issuing {
        match scenario {
            Scenario::StatusStorm => measure_storm(&request),
            Scenario::Dns => measure_dns(&request),
            Scenario::Caddy => measure_caddy(&request),
            _ => measure_issuance(scenario, &request),
        }
    }
    stapling.into_iter().for_each(|scenario| measure_stapling(scenario, &request));
    planted.into_iter().for_each(|_| measure_planted(&request));
    commands.into_iter().for_each(|_| measure_commands(&request));
}

fn measure_commands(request: &Request) {
    let (domains, rounds) = Scenario::A2md.defaults();
    let (domains, rounds) = (request.domains.unwrap_or(domains), request.rounds.unwrap_or(rounds));
    let has_dump = |file: &PathBuf| !support::module::is_c(file);
    for module in request.modules.iter().filter(|module| module.file.as_ref().is_some_and(has_dump)) {
        command::measure(module, domains, rounds);
    }
}

fn measure_planted(request: &Request) {
    let (folders, rounds) = Scenario::Planted.defaults();
    let (folders, rounds) = (request.domains.unwrap_or(folders), request.rounds.unwrap_or(rounds));
    for module in request.modules.iter().filter(|module| module.file.is_some()) {
        let dir = tempfile::Builder::new().prefix("mod_md-bench-").tempdir().unwrap();
        planted::measure(&Site::create(dir.path(), planted::DOMAINS), module, folders, rounds);
    }
}

impl Request {
    /// Words in any order; of two numbers the first is that of domains. `cargo bench` adds options of its
    /// own.
    fn parse(args: impl Iterator<Item = String>) -> Result<Request, String> {
        let (mut scenarios, mut modules, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for word in args.filter(|word| !word.starts_with("--")) {
            match word.as_str() {
                "startup" => scenarios.extend([Scenario::FirstStart, Scenario::SecondStart]),
                "first-start" => scenarios.push(Scenario::FirstStart),
                "second-start" => scenarios.push(Scenario::SecondStart),
                "fallback" => scenarios.push(Scenario::Fallback),
                "rss" => scenarios.push(Scenario::Rss),
                "idle" => scenarios.push(Scenario::Idle),
                "issue" => scenarios.push(Scenario::Issue),
                "dns" => scenarios.push(Scenario::Dns),
                "slowca" => scenarios.push(Scenario::SlowCa),
                "status-storm" => scenarios.push(Scenario::StatusStorm),
                "status" => scenarios.push(Scenario::Status),
                "handshake" => scenarios.push(Scenario::Handshake),
                "planted" => scenarios.push(Scenario::Planted),
                "questions" => scenarios.push(Scenario::Questions),
                "caddy" => scenarios.push(Scenario::Caddy),
                "a2md" => scenarios.push(Scenario::A2md),
                "staples" => scenarios.push(Scenario::Staples),
                "floor" => modules.push(Module::floor()),
                "c" => modules.push(Module::c().ok_or("the C module is not installed")?),
                "ours" => modules.push(Module::ours()),
                path if path.contains('/') => modules.push(Module::file(PathBuf::from(path))),
                number => numbers.push(number.parse().map_err(|_| format!("'{number}' is not understood"))?),
            }
        }
        if scenarios.is_empty() {
            scenarios = vec![Scenario::FirstStart, Scenario::SecondStart, Scenario::Rss];
        }
        if modules.is_empty() {
            modules =
                [Some(Module::floor()), Module::c(), Some(Module::ours())].into_iter().flatten().collect();
        }
        if let Some(missing) = modules.iter().filter_map(|m| m.file.as_ref()).find(|file| !file.exists()) {
            return Err(format!("no module at {}: run `make build`", missing.display()));
        }
        apache::find().ok_or("no httpd here: run `make setup`")?;
        pebble::binary("pebble").ok_or("no pebble here: run `make setup`")?;
        let mut numbers = numbers.into_iter();
        let (domains, rounds): (Option<usize>, Option<usize>) = (numbers.next(), numbers.next());
        if domains == Some(0) || rounds == Some(0) {
            return Err("domains and rounds are at least 1".into());
        }
        Ok(Request { scenarios, domains, rounds, modules })
    }
}

fn measure(scenario: Scenario, site: &Site, domains: usize, request: &Request) {
    let modules = &request.modules;
    let rounds = request.rounds.unwrap_or(scenario.defaults().1);
    let mut wall: Vec<Series> = modules.iter().map(|module| Series::new(&module.name)).collect();
    let mut second = wall.clone();
    if scenario != Scenario::FirstStart {
        modules.iter().for_each(|module| site.fill_store(module));
    }
    for _ in 0..rounds {
        for (i, module) in modules.iter().enumerate() {
            // What an earlier run left to be written shall not slow down this one.
            rustix::fs::sync();
            if scenario == Scenario::Rss {
                let memory = site.start(module, site::Store::Filled, site::Children::Several).pss();
                wall[i].add(memory.total);
                second[i].add(memory.parent);
                continue;
            }
            let store = match scenario {
                Scenario::FirstStart => site::Store::Empty,
                _ => site::Store::Filled,
            };
            let server = site.start(module, store, site::Children::One);
            wall[i].add(server.first_answer.as_secs_f64());
            second[i].add(server.cpu.as_secs_f64());
        }
    }
    let (what, first, other) = match scenario {
        Scenario::FirstStart => ("first start, empty store", "wall s", "cpu s"),
        Scenario::Rss => ("summed PSS of all processes", "all MB", "parent MB"),
        _ => ("second start, filled store", "wall s", "cpu s"),
    };
    println!("\n{what}: {domains} domains, {rounds} rounds, load {}", server::load());
    let per_domain = match scenario {
        Scenario::Rss => ("kB a domain", 1024.0),
        _ => ("µs a domain", 1e6),
    };
    table::print(&[(first, &wall), (other, &second)], per_domain, domains);
}

/// The kinds of keys take turns, too.
/// The floor has certificate files, whose keys say nothing.
fn measure_fallback(site: &Site, domains: usize, request: &Request) {
    let rounds = request.rounds.unwrap_or(Scenario::Fallback.defaults().1);
    let kinds = |module: &Module| if module.file.is_some() { &["P-256", "RSA"][..] } else { &["P-256"] };
    let runs =
        request.modules.iter().flat_map(|module| kinds(module).iter().map(move |keys| (module, *keys)));
    let runs: Vec<(&Module, &str)> = runs.collect();
    let name = |module: &Module, keys: &str| match module.file {
        Some(_) => format!("{} with {keys}", module.name),
        None => module.name.clone(),
    };
    let mut wall: Vec<Series> = runs.iter().map(|(module, keys)| Series::new(&name(module, keys))).collect();
    for _ in 0..rounds {
        for ((module, keys), series) in runs.iter().zip(&mut wall) {
            rustix::fs::sync();
            let server = site.start_with_keys(keys, module, site::Store::Empty, site::Children::One);
            series.add(server.first_answer.as_secs_f64());
        }
    }
    println!(
        "\nfirst start without certificates: {domains} domains, {rounds} rounds, load {}",
        server::load()
    );
    table::print(&[("wall s", &wall)], ("µs a domain", 1e6), domains);
}

const DASHBOARD: &str = "/md-dashboard";

const PAGES: [(&str, &str); 7] = [
    ("JSON ms", "/md-status"),
    ("page ms", "/server-status"),
    ("text ms", "/server-status?auto"),
    ("dashboard ms", DASHBOARD),
    ("its search ms", "/md-dashboard?q=99"),
    ("its page 2 by name ms", "/md-dashboard?sort=name&page=2"),
    ("a domain ms", "/md-dashboard/d1.test"),
];

/// What a module answers: other and older ones have no dashboard.
fn pages_of(module: &Module) -> Vec<(usize, &'static str)> {
    let mark = b"md-dashboard";
    let content = module.file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
    let has_dashboard = content.windows(mark.len()).any(|text| text == mark);
    let paths = PAGES.iter().map(|(_, path)| *path).enumerate();
    paths.filter(|(_, path)| has_dashboard || !path.starts_with(DASHBOARD)).collect()
}

/// Idle, and while twenty renewals write their state ten times a second. The first answers of a child, which
/// has read and printed nothing yet, stand for themselves.
fn measure_status(site: &Site, domains: usize, request: &Request) {
    let modules: Vec<&Module> = request.modules.iter().filter(|module| module.file.is_some()).collect();
    let rounds = request.rounds.unwrap_or(Scenario::Status.defaults().1);
    let none: Vec<Series> = modules.iter().map(|module| Series::new(&module.name)).collect();
    let mut all =
        ["first answer", "idle", "while renewals write"].map(|what| (what, PAGES.map(|_| none.clone())));
    let pages: Vec<_> = modules.iter().map(|module| pages_of(module)).collect();
    modules.iter().for_each(|module| site.fill_store(module));
    for _ in 0..rounds {
        for (i, module) in modules.iter().enumerate() {
            let server = site.start(module, site::Store::Filled, site::Children::One);
            let time = |path| server.time(path).as_secs_f64() * 1000.0;
            let [(_, first), (_, idle), (_, busy)] = &mut all;
            for (page, path) in pages[i].iter().copied() {
                first[page][i].add(time(path));
                (0..ANSWERS).for_each(|_| idle[page][i].add(time(path)));
            }
            site.while_renewals_write(module, || {
                for (page, path) in pages[i].iter().copied() {
                    (0..ANSWERS).for_each(|_| busy[page][i].add(time(path)));
                }
            });
        }
    }
    for (what, series) in &all {
        println!("\nanswers, {what}: {domains} domains, {rounds} rounds, load {}", server::load());
        for ((page, _), series) in PAGES.iter().zip(series) {
            let answered: Vec<Series> = series.iter().filter(|series| !series.is_empty()).cloned().collect();
            if !answered.is_empty() {
                table::print(&[(page, &answered)], ("µs a domain", 1000.0), domains);
            }
        }
    }
}

fn measure_storm(request: &Request) {
    let (domains, rounds) = Scenario::StatusStorm.defaults();
    let (domains, rounds) = (request.domains.unwrap_or(domains), request.rounds.unwrap_or(rounds));
    let modules: Vec<&Module> = request.modules.iter().filter(|module| module.file.is_some()).collect();
    let mut json: Vec<Series> = modules.iter().map(|module| Series::new(&module.name)).collect();
    let mut page = json.clone();
    let mut file = Series::new("file of the JSON's length");
    println!(
        "\nanswers while all domains are renewed: {domains} domains, {rounds} rounds, load {}",
        server::load()
    );
    for _ in 0..rounds {
        for (i, module) in modules.iter().enumerate() {
            let answers = issue::storm(module, domains);
            answers.json.into_iter().for_each(|seconds| json[i].add(seconds * 1000.0));
            answers.page.into_iter().for_each(|seconds| page[i].add(seconds * 1000.0));
            answers.file.into_iter().for_each(|seconds| file.add(seconds * 1000.0));
        }
    }
    json.push(file);
    table::print(&[("JSON ms", &json), ("page ms", &page)], ("µs a domain", 1000.0), domains);
}

fn measure_dns(request: &Request) {
    let (domains, rounds) = Scenario::Dns.defaults();
    let (domains, rounds) = (request.domains.unwrap_or(domains), request.rounds.unwrap_or(rounds));
    let has_ways = |file: &PathBuf| !support::module::is_c(file);
    let modules = request.modules.iter().filter(|module| module.file.as_ref().is_some_and(has_ways));
    dns::measure(&modules.collect::<Vec<_>>(), domains, rounds);
}

fn measure_caddy(request: &Request) {
    let (domains, rounds) = Scenario::Caddy.defaults();
    let modules: Vec<Module> =
        request.modules.iter().filter(|module| module.file.is_some()).cloned().collect();
    caddy::measure(&modules, request.domains.unwrap_or(domains), request.rounds.unwrap_or(rounds));
}

fn measure_issuance(scenario: Scenario, request: &Request) {
    let (domains, rounds) = scenario.defaults();
    let (domains, rounds) = (request.domains.unwrap_or(domains), request.rounds.unwrap_or(rounds));
    let modules = request.modules.iter().filter(|module| module.file.is_some());
    let variants: Vec<Variant<'_>> = modules.flat_map(Variant::all_of).collect();
    let none: Vec<Series> = variants.iter().map(|variant| Series::new(&variant.name())).collect();
    let (mut wall, mut cpu, mut authority) = (none.clone(), none.clone(), none);
    let (what, validation) = match scenario {
        Scenario::SlowCa => ("first certificates of a CA that validates after up to 5 s", Validation::Slow),
        _ => ("first certificates of a fast CA", Validation::Fast),
    };
    println!("\n{what}: {domains} domains, {rounds} rounds, load {}", server::load());
    for _ in 0..rounds {
        for (i, variant) in variants.iter().enumerate() {
            let run = issue::run(variant, domains, validation);
            println!("{}: {} accounts and {} orders at the CA", variant.name(), run.accounts, run.orders);
            wall[i].add(run.wall);
            cpu[i].add(run.cpu);
            authority[i].add(run.authority_cpu);
        }
    }
    let quantities: [(&str, &[Series]); 3] =
        [("wall s", &wall), ("httpd cpu s", &cpu), ("CA cpu s", &authority)];
    table::print(&quantities, ("ms a domain", 1e3), domains);
}

fn measure_stapling(scenario: Scenario, request: &Request) {
    let (count, rounds) = scenario.defaults();
    let (count, rounds) = (request.domains.unwrap_or(count), request.rounds.unwrap_or(rounds));
    match scenario {
        Scenario::Handshake => return handshake::measure(count, rounds),
        Scenario::Questions => return questions::measure(count, rounds),
        _ => {}
    }
    let modules: Vec<&Module> = request.modules.iter().filter(|module| module.file.is_some()).collect();
    for _ in 0..rounds {
        staple::staples(count, &modules);
    }
}
