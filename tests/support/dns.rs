// SPDX-License-Identifier: Apache-2.0
//! What the tests with real DNS servers share: TSIG keys of BIND's own tool, zones, questions by dig(1).
//! The servers are [`Named`](crate::named::Named), [`Knot`](crate::knot::Knot) and
//! [`Unbound`](crate::unbound::Unbound); each has a folder of its own in the lab and listens on 127.0.0.1.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::in_path;
use super::process::{Process, Start};
use super::{Lab, SOON, wait_for};

/// Shared by a server and whoever may update its zones.
#[derive(Clone, Debug)]
pub struct TsigKey {
    pub name: String,
    pub algorithm: String,
    /// In base64.
    pub secret: String,
    /// As `tsig-keygen` writes it, for the key's owner alone.
    pub file: PathBuf,
}

impl TsigKey {
    /// Has `tsig-keygen` make one, such as `("acme", "hmac-sha256")`.
    pub fn generate(lab: &Lab, name: &str, algorithm: &str) -> TsigKey {
        let output =
            Command::new(in_path("tsig-keygen").unwrap()).args(["-a", algorithm, name]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let secret = text.split("secret \"").nth(1).unwrap().split('"').next().unwrap().to_string();
        let file = lab.path(format!("{name}-{algorithm}-{}.key", lab.port()));
        let mut out = File::options().write(true).create_new(true).mode(0o600).open(&file).unwrap();
        out.write_all(text.as_bytes()).unwrap();
        TsigKey { name: name.to_string(), algorithm: algorithm.to_string(), secret, file }
    }

    /// The same key under another secret, name or algorithm, in a file of its own.
    #[must_use]
    pub fn but(&self, lab: &Lab, change: impl FnOnce(&mut TsigKey)) -> TsigKey {
        let mut other = self.clone();
        change(&mut other);
        other.file = lab.path(format!("other-{}.key", lab.port()));
        fs::write(&other.file, other.bind()).unwrap();
        other
    }

    /// As `named.conf` has it.
    pub fn bind(&self) -> String {
        let TsigKey { name, algorithm, secret, .. } = self;
        format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n")
    }

    /// As `knot.conf` has it, below `key:`.
    pub fn knot(&self) -> String {
        let TsigKey { name, algorithm, secret, .. } = self;
        format!("  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n")
    }
}

/// A zone of a primary server. Its name server is `ns.ZONE` at 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Zone {
    pub name: String,
    /// Lines of a zone file; names without a last dot are below the zone.
    pub records: String,
    /// May change TXT records.
    pub key: Option<TsigKey>,
    /// Seconds after which a secondary asks again, which nobody notifies.
    pub refresh: u32,
}

impl Zone {
    pub fn new(name: &str) -> Zone {
        Zone { name: name.to_string(), records: String::new(), key: None, refresh: 3600 }
    }

    #[must_use]
    pub fn record(mut self, line: &str) -> Zone {
        self.records += &format!("{line}\n");
        self
    }

    #[must_use]
    pub fn updated_by(mut self, key: &TsigKey) -> Zone {
        self.key = Some(key.clone());
        self
    }

    #[must_use]
    pub fn refresh(mut self, seconds: u32) -> Zone {
        self.refresh = seconds;
        self
    }

    /// The zone file, with a wildcard for hosts at 127.0.0.1 where no other record is.
    pub fn text(&self) -> String {
        let Zone { name, records, refresh, .. } = self;
        format!(
            "$ORIGIN {name}.\n$TTL 1\n@ SOA ns hostmaster 1 {refresh} {refresh} 86400 1\n@ NS ns\n\
             @ A 127.0.0.1\nns A 127.0.0.1\n* A 127.0.0.1\n{records}"
        )
    }
}

/// A folder of the lab for one server.
pub(crate) fn folder(lab: &Lab, kind: &str, port: u16) -> PathBuf {
    let dir = lab.path(format!("{kind}-{port}"));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Starts a server in the foreground and waits until it answers by TCP at `address`, whatever it says.
pub(crate) fn start(program: &str, args: &[&str], dir: &Path, address: SocketAddr) -> Process {
    let program = in_path(program).unwrap();
    let log = dir.join("server.log");
    let args = args.iter().map(Into::into).collect();
    let mut process = Process::spawn(Start {
        program: &program,
        args,
        envs: vec![],
        log: &log,
        stop_signal: "KILL",
        user: &[],
    });
    wait_for(&format!("an answer of {}", program.display()), SOON, || {
        let ended = process.exited();
        assert!(ended.is_none(), "it ended: {}", fs::read_to_string(&log).unwrap_or_default());
        is_up(address).then_some(())
    });
    process
}

fn is_up(address: SocketAddr) -> bool {
    let answer = |way| dig(address, ".", "SOA", &[way, "+time=1", "+tries=1", "+norec"]);
    ["+tcp", "+notcp"].iter().all(|way| answer(way).contains("status:"))
}

/// All that dig(1) prints.
pub fn dig(server: SocketAddr, name: &str, rtype: &str, options: &[&str]) -> String {
    let mut command = Command::new("dig");
    command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), name, rtype]);
    let output = command.args(options).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The data of the answers, one a line, sorted; TXT values in quotes.
pub fn look_up(server: SocketAddr, name: &str, rtype: &str) -> Vec<String> {
    let text = dig(server, name, rtype, &["+short", "+norec", "+tcp", "+time=5", "+tries=2"]);
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

/// Waits until the TXT records of `name` are exactly these.
#[track_caller]
pub fn wait_for_txt(server: SocketAddr, name: &str, values: &[&str]) {
    let mut wanted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    wanted.sort();
    wait_for(&format!("{wanted:?} at {name}"), SOON, || {
        (look_up(server, name, "TXT") == wanted).then_some(())
    });
}
