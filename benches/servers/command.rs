// SPDX-License-Identifier: Apache-2.0
//! What commands of a2md cost on a store of many domains: wall time, processor time with that of the programs
//! they call, and the most memory. A walk that reads the same files stands beside them in each round, as wall
//! times of a machine that does other work mean little.

use crate::server;
use crate::site::{Children, Module, Site, Store};
use crate::table::Series;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::apache;

/// One of so many domains is being renewed.
const RENEWED: usize = 50;
/// Files of a folder that the walk reads.
const WALK: [&str; 3] = ["md.json", "privkey.p-256.pem", "pubcert.p-256.pem"];

/// The program, built by `make build`, or `A2MD`.
fn program() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/target/cli/release/a2md");
    std::env::var_os("A2MD").map_or_else(|| built.into(), PathBuf::from)
}

struct Row {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    wall: Series,
    cpu: Series,
    memory: Series,
}

pub fn measure(module: &Module, domains: usize, rounds: usize) {
    let program = program();
    assert!(program.exists(), "no a2md at {}: run `make build`", program.display());
    let dir = tempfile::Builder::new().prefix("mod_md-bench-").tempdir().unwrap();
    let site = Site::create(dir.path(), domains);
    let store = site.store(module, Store::Filled);
    fill(&site, &store, domains);
    let config = site.write_config("P-256", module, Store::Filled, Children::One);
    let mut rows = rows(&program, &store, &config);
    for _ in 0..rounds {
        rows.iter_mut().for_each(Row::run);
    }
    println!("\na2md: {domains} domains, {rounds} rounds, load {}; medians, and least", server::load());
    println!("{:28} {:>16} {:>16} {:>9} {:>9}", "", "wall s", "cpu s", "cpu/walk", "peak MB");
    let walk = rows.first().map_or(1.0, |row| row.cpu.median());
    for row in &rows {
        let two = |series: &Series| format!("{:.2} ({:.2})", series.median(), series.least());
        let (ratio, memory) = (row.cpu.median() / walk, row.memory.median());
        println!("{:28} {:>16} {:>16} {ratio:9.2} {memory:9.1}", row.name, two(&row.wall), two(&row.cpu));
    }
}

fn rows(program: &Path, store: &Path, config: &Path) -> Vec<Row> {
    let server = format!("{} -f {}", apache::find().unwrap().program.display(), config.display());
    let row = |name, command: Box<dyn Fn() -> Command>| Row {
        name,
        command,
        wall: Series::new(name),
        cpu: Series::new(name),
        memory: Series::new(name),
    };
    let of_store = |name, arguments: &'static [&'static str]| {
        let (program, store) = (program.to_path_buf(), store.to_path_buf());
        row(
            name,
            Box::new(move || {
                let mut command = Command::new(&program);
                command.arg("-d").arg(&store).args(arguments).env("MD_HTTPD", "/bin/true");
                command
            }),
        )
    };
    let of_server = |name, arguments: &'static [&'static str]| {
        let (program, server) = (program.to_path_buf(), server.clone());
        row(
            name,
            Box::new(move || {
                let mut command = Command::new(&program);
                command.args(arguments).env("MD_HTTPD", &server);
                command
            }),
        )
    };
    let walked = store.join("domains");
    let walk = move || {
        let mut command = Command::new("find");
        command.arg(&walked).args(["-type", "f", "("]);
        for (at, name) in WALK.iter().enumerate() {
            command.args(&["-o", "-name", name][usize::from(at == 0)..]);
        }
        command.args([")", "-exec", "cat", "{}", "+"]);
        command
    };
    let (httpd, file) = (apache::find().unwrap().program.clone(), config.to_path_buf());
    let dump = move || {
        let mut command = Command::new(&httpd);
        command.arg("-f").arg(&file).args(["-t", "-D", "DUMP_MD_JSON"]);
        command
    };
    let (httpd, file) = (apache::find().unwrap().program.clone(), config.to_path_buf());
    let test = move || {
        let mut command = Command::new(&httpd);
        command.arg("-f").arg(&file).arg("-t");
        command
    };
    vec![
        row("walk: find -exec cat", Box::new(walk)),
        of_store("status", &["status"]),
        of_store("status -j", &["status", "-j"]),
        of_store("status NAME", &["status", "d1.test"]),
        of_store("check", &["check"]),
        of_store("list -j", &["-j", "list"]),
        row("httpd -t", Box::new(test)),
        row("httpd -t -D DUMP_MD_JSON", Box::new(dump)),
        of_server("status, httpd asked", &["status"]),
        of_server("status -j, httpd asked", &["status", "-j"]),
        of_server("check, httpd asked", &["check"]),
        of_store("doctor --offline", &["doctor", "--offline"]),
        of_store("gc --dry-run", &["gc", "--dry-run"]),
        of_store("store verify", &["store", "verify"]),
        of_server("doctor --offline, asked", &["doctor", "--offline"]),
        of_server("gc --dry-run, asked", &["gc", "--dry-run"]),
    ]
}

impl Row {
    fn run(&mut self) {
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        let (mut peak, wanted) = (0, rustix::process::Pid::from_child(&child));
        let ended = || {
            use rustix::process::{WaitId, WaitIdOptions, waitid};
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            waitid(WaitId::Pid(wanted), options).unwrap().is_some()
        };
        while !ended() {
            peak = most_memory(pid).unwrap_or(peak);
            thread::sleep(Duration::from_millis(1));
        }
        self.wall.add(begin.elapsed().as_secs_f64());
        // A process that has ended and was not waited for still has its times.
        self.cpu.add(server::cpu_time_with_children(pid).as_secs_f64());
        self.memory.add(peak as f64 / 1024.0);
        // Those that judge end with 1 or 2 where they find something. What fails at once is not fast.
        let judges = ["check", "doctor", "store verify"].iter().any(|name| self.name.starts_with(name));
        let code = child.wait().unwrap().code();
        assert!(code == Some(0) || judges && matches!(code, Some(1 | 2)), "{}: {code:?}", self.name);
    }
}

/// In kB.
fn most_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn folder(path: &Path, mode: u32) {
    DirBuilder::new().recursive(true).mode(mode).create(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn put(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// As a server leaves it that has had all its certificates, and renews some.
fn fill(site: &Site, store: &Path, domains: usize) {
    folder(store, 0o755);
    put(
        &store.join("md_store.json"),
        json!({"store": {"version": 3.0}, "key": "A".repeat(64)}).to_string().as_bytes(),
        0o600,
    );
    for (group, mode) in
        [("accounts", 0o700), ("archive", 0o700), ("challenges", 0o755), ("domains", 0o700), ("ocsp", 0o755)]
            .into_iter()
            .chain([("staging", 0o755), ("tmp", 0o700)])
    {
        folder(&store.join(group), mode);
    }
    for (n, name) in (0..domains).map(|n| (n, format!("d{n}.test"))) {
        let dir = store.join("domains").join(&name);
        folder(&dir, 0o700);
        put(&dir.join("md.json"), format!("{:#}", md(&name)).as_bytes(), 0o600);
        for (kind, file) in [("key", WALK[1]), ("pem", WALK[2])] {
            put(&dir.join(file), &fs::read(site.certificate(&name, kind)).unwrap(), 0o600);
        }
        if n % RENEWED == 0 {
            crate::site::write_job(&store.join("staging").join(&name), &name, n);
        }
    }
}

fn md(name: &str) -> Value {
    json!({
        "name": name, "domains": [name], "contacts": ["mailto:admin@example.test"], "transitive": 1,
        "ca": {"proto": "ACME", "url": "https://ca.example.test/directory",
            "urls": ["https://ca.example.test/directory"], "agreement": "accepted"},
        "privkey": {"type": "EC", "curve": "P-256"},
        "state": 2, "renew-mode": 1, "renew-window": "33%", "warn-window": "10%", "must-staple": false,
        "proto": {"acme-tls/1": []}, "stapling": false, "profile-mandatory": false, "ari-renewals": true,
    })
}
