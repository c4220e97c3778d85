// SPDX-License-Identifier: Apache-2.0
//! Redis or Valkey: a server, or a primary and its replicas, each to be killed, halted, wiped, and started
//! again on its data. `REDIS_SERVER` names another program than `redis-server`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::in_path;
use super::process::{Process, Start, signal};
use super::{Lab, SOON, certificate, wait_for};

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub tls: Tls,
    /// Further directives, as they stand in its configuration.
    pub lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    #[default]
    Off,
    On,
    /// Clients have to identify themselves.
    Mutual,
}

/// Files of an authority, its server and its client.
#[derive(Clone)]
struct Files {
    ca: PathBuf,
    server: [PathBuf; 2],
    client: [PathBuf; 2],
}

pub struct Redis {
    pub port: u16,
    dir: PathBuf,
    files: Option<Files>,
    options: Options,
    process: Option<Process>,
}

fn program() -> PathBuf {
    std::env::var_os("REDIS_SERVER").map_or_else(|| in_path("redis-server").unwrap(), PathBuf::from)
}

/// Of the program, as major and minor. Valkey goes on from Redis 7.2.
pub fn version() -> (u32, u32) {
    let output = Command::new(program()).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split("v=").nth(1).unwrap_or_else(|| panic!("{text}"));
    let mut parts = number.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Whether the program was built with TLS.
pub fn has_tls() -> bool {
    let (binary, symbol) = (fs::read(program()).unwrap(), b"SSL_CTX_new");
    binary.windows(symbol.len()).any(|window| window == symbol)
}

impl Redis {
    pub fn start(lab: &Lab) -> Redis {
        Redis::with(lab, Options::default())
    }

    pub fn with(lab: &Lab, options: Options) -> Redis {
        let port = lab.port();
        let dir = lab.path(format!("redis-{port}"));
        fs::create_dir_all(&dir).unwrap();
        let files = (options.tls != Tls::Off).then(|| Files::new(&dir));
        let mut redis = Redis { port, dir, files, options, process: None };
        redis.spawn();
        redis.await_answer("PONG", &["PING"]);
        redis
    }

    /// Starts a replica of this server, and waits until it has everything.
    pub fn replica(&self, lab: &Lab) -> Redis {
        let replica = Redis::with(lab, self.options.clone());
        replica.follow(self);
        replica
    }

    /// Becomes a replica of `primary`, and waits until it has everything.
    pub fn follow(&self, primary: &Redis) {
        self.cli(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        wait_for("a replica in step", SOON, || {
            self.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
        self.await_step(primary);
    }

    /// Waits until it has all that the primary has written.
    pub fn await_step(&self, primary: &Redis) {
        let of = |info: String, field: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(field).map(str::to_string));
            line.map(|line| line.trim().to_string())
        };
        wait_for("a replica in step", SOON, || {
            let theirs = of(primary.cli(&["INFO", "replication"]), "master_repl_offset:");
            let ours = of(self.cli(&["INFO", "replication"]), "slave_repl_offset:");
            (ours == theirs).then_some(())
        });
    }

    /// Becomes one of the cluster of `other`.
    pub fn join_cluster(&self, other: &Redis) {
        let bus = other.bus_port();
        self.cli(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), &bus]);
        wait_for("a cluster", SOON, || {
            let both = [self, other].map(|server| server.cli(&["CLUSTER", "INFO"]));
            both.iter().all(|info| info.contains("cluster_state:ok")).then_some(())
        });
    }

    fn bus_port(&self) -> String {
        let port = self.options.lines.iter().find_map(|line| line.strip_prefix("cluster-port "));
        port.unwrap_or_else(|| panic!("no cluster-port: {:?}", self.options)).to_string()
    }

    /// Becomes a primary.
    pub fn promote(&self) {
        self.cli(&["REPLICAOF", "NO", "ONE"]);
    }

    /// What redis-cli(1) says to a command, which has to succeed.
    pub fn cli(&self, words: &[&str]) -> String {
        let said = self.try_cli(words);
        assert!(!said.starts_with("ERR") && !said.starts_with("NOPERM"), "{words:?}: {said}");
        said
    }

    fn try_cli(&self, words: &[&str]) -> String {
        let mut command = Command::new(in_path("redis-cli").expect("redis-cli is there"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if let Some(files) = &self.files {
            let [certificate, key] = &files.client;
            command.arg("--tls").args(["--sni", "localhost", "--cacert"]).arg(&files.ca);
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let output = command.args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// Adds a user with these rules, as ACL SETUSER takes them.
    pub fn add_user(&self, name: &str, rules: &str) {
        let words: Vec<&str> = ["ACL", "SETUSER", name].into_iter().chain(rules.split(' ')).collect();
        assert_eq!(self.cli(&words), "OK");
    }

    /// All data are lost.
    pub fn wipe(&self) {
        self.cli(&["FLUSHALL"]);
    }

    /// The log of the fleet below `prefix` keeps this many entries.
    pub fn trim(&self, prefix: &str, count: usize) {
        self.cli(&["XTRIM", &format!("{prefix}/log"), "MAXLEN", &count.to_string()]);
    }

    /// What clients have asked for since it was started: the number of commands of each kind, without those that
    /// scripts give.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        const ASKED: [&str; 7] = ["auth", "hello", "ping", "eval", "evalsha", "script|load", "xread"];
        let text = self.cli(&["INFO", "commandstats"]);
        let commands = text.lines().filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_string(), rest.split(',').next()?.parse().ok()?))
        });
        commands.filter(|(name, _)| ASKED.contains(&name.as_str())).collect()
    }

    /// Bytes that clients have sent to it, and those that it has sent to them.
    pub fn traffic(&self) -> [u64; 2] {
        let text = self.cli(&["INFO", "stats"]);
        ["total_net_input_bytes:", "total_net_output_bytes:"].map(|name| number(&text, name))
    }

    /// Bytes of its data, without the log of the fleet below `prefix`.
    pub fn size(&self, prefix: &str) -> u64 {
        let keys = self.cli(&["KEYS", &format!("{prefix}*")]);
        let keys = keys.lines().filter(|key| !key.ends_with("/log"));
        let sizes = keys.map(|key| self.cli(&["MEMORY", "USAGE", key, "SAMPLES", "0"]));
        sizes.map(|size| size.trim_start_matches("(integer) ").parse::<u64>().unwrap()).sum()
    }

    /// Bytes of all its memory.
    pub fn memory(&self) -> u64 {
        number(&self.cli(&["INFO", "memory"]), "used_memory:")
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").pid()
    }

    pub fn set(&self, directive: &str, value: &str) {
        assert_eq!(self.cli(&["CONFIG", "SET", directive, value]), "OK");
    }

    /// It cannot save its data any more, and knows it.
    pub fn break_saving(&self) {
        // In the place of the file.
        fs::create_dir(self.dir.join("dump.rdb")).unwrap();
        self.set("save", "3600 1");
        self.cli(&["BGSAVE"]);
        wait_for("a failed save", SOON, || {
            self.cli(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err").then_some(())
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_group();
        }
    }

    /// Starts it again on its data.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.await_answer("PONG", &["PING"]);
    }

    /// Starts it again, and does not wait until it has read its data: for each key it takes this long.
    pub fn restart_loading(&mut self, key_micros: u32) {
        self.kill();
        self.options
            .lines
            .push(format!("key-load-delay {key_micros}\nloading-process-events-interval-bytes 1024"));
        self.spawn();
        self.await_answer("LOADING", &["PING"]);
    }

    /// Stops it without its noticing: connections stay open, and nothing is answered.
    pub fn halt(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// PEM of the CA.
    pub fn ca_pem(&self) -> Option<Vec<u8>> {
        self.files.as_ref().map(|files| fs::read(&files.ca).unwrap())
    }

    /// PEM of a client certificate and its key.
    pub fn client_pem(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let files = self.files.as_ref()?;
        let [certificate, key] = files.client.each_ref().map(|file| fs::read(file).unwrap());
        Some((certificate, key))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            signal(process.pid(), name);
        }
    }

    fn await_answer(&mut self, answer: &str, words: &[&str]) {
        wait_for(&format!("{answer} of Redis"), SOON, || {
            let ended = self.process.as_mut().and_then(Process::exited);
            assert!(ended.is_none(), "it ended: {}", self.log());
            self.try_cli(words).contains(answer).then_some(())
        });
    }

    fn spawn(&mut self) {
        let config = self.dir.join("redis.conf");
        fs::write(&config, self.config()).unwrap();
        let process = Process::spawn(Start {
            program: &program(),
            args: vec![OsString::from(&config)],
            envs: vec![],
            log: &self.dir.join("server.log"),
            stop_signal: "KILL",
            user: &[],
        });
        self.process = Some(process);
    }

    fn config(&self) -> String {
        let Redis { port, dir, options, .. } = self;
        let mut text =
            format!("bind 127.0.0.1\ndir {}\nsave \"\"\nrepl-diskless-sync-delay 0\n", dir.display());
        match &self.files {
            None => text += &format!("port {port}\n"),
            Some(Files { ca, server: [certificate, key], .. }) => {
                let clients = if options.tls == Tls::Mutual { "yes" } else { "no" };
                text += &format!(
                    "port 0\ntls-port {port}\ntls-replication yes\ntls-ca-cert-file {}\ntls-cert-file {}\n\
                     tls-key-file {}\ntls-auth-clients {clients}\n",
                    ca.display(),
                    certificate.display(),
                    key.display()
                );
            }
        }
        for line in &options.lines {
            text += line;
            text.push('\n');
        }
        text
    }
}

fn number(info: &str, name: &str) -> u64 {
    let value = info.lines().find_map(|line| line.trim().strip_prefix(name)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {info}"))
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that was halted does not end before.
        self.kill();
    }
}

impl Files {
    fn new(dir: &Path) -> Files {
        let (ca, ca_key) = certificate::ca("Engine CA");
        let write = |name: &str, pem: Vec<u8>| {
            let file = dir.join(name);
            fs::write(&file, pem).unwrap();
            file
        };
        let leaf = |name: &str| {
            let key = certificate::new_key();
            let leaf = certificate::make(name, &key, Some((&ca, &ca_key)), vec![certificate::san(name)]);
            let certificate = write(&format!("{name}.pem"), leaf.to_pem().unwrap());
            [certificate, write(&format!("{name}.key"), key.private_key_to_pem_pkcs8().unwrap())]
        };
        let (server, client) = (leaf("localhost"), leaf("client"));
        Files { ca: write("ca.pem", ca.to_pem().unwrap()), server, client }
    }
}
