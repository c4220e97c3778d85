// SPDX-License-Identifier: Apache-2.0
//! etcd: one server or a cluster of them, each to be killed, halted and started again on its data.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use openssl::x509::extension::ExtendedKeyUsage;

use super::lab::in_path;
use super::process::{Process, Start, signal};
use super::{Lab, SOON, certificate, http, wait_for};

/// How the servers of a cluster are to be started.
#[derive(Clone, Debug)]
pub struct Options {
    pub members: usize,
    pub tls: Tls,
    /// Further options of etcd(1).
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { members: 1, tls: Tls::Off, args: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    On,
    /// Clients have to identify themselves.
    Mutual,
    /// The same, with a server certificate that is not for clients: the gateway of etcd cannot reach its server.
    MutualWithoutClientUsage,
}

struct Member {
    name: String,
    dir: PathBuf,
    log: PathBuf,
    client: u16,
    peer: u16,
    process: Option<Process>,
}

/// Files of an authority, its server and its client.
struct Files {
    ca: PathBuf,
    server: [PathBuf; 2],
    client: [PathBuf; 2],
    nameless: [PathBuf; 2],
}

pub struct Etcd {
    members: Vec<Member>,
    files: Option<Files>,
    options: Options,
    /// Whether it knows `root`.
    has_users: Cell<bool>,
}

impl Etcd {
    /// A server without TLS, users and limits.
    pub fn start(lab: &Lab) -> Etcd {
        Etcd::with(lab, Options::default())
    }

    pub fn with(lab: &Lab, options: Options) -> Etcd {
        let member = |number| {
            let (name, client) = (format!("m{number}"), lab.port());
            let dir = lab.path(format!("etcd-{client}"));
            let log = lab.path(format!("etcd-{client}.log"));
            Member { name, dir, log, client, peer: lab.port(), process: None }
        };
        let members = (1..=options.members).map(member).collect();
        let files = (options.tls != Tls::Off).then(|| Files::new(lab, options.tls));
        let mut etcd = Etcd { members, files, options, has_users: Cell::new(false) };
        for number in 0..etcd.members.len() {
            etcd.spawn(number);
        }
        for number in 0..etcd.members.len() {
            etcd.await_member(number);
        }
        etcd
    }

    /// Where clients connect, as host and port.
    pub fn servers(&self) -> Vec<(String, u16)> {
        self.members.iter().map(|member| (self.host().to_string(), member.client)).collect()
    }

    /// PEM of the CA.
    pub fn ca_pem(&self) -> Option<Vec<u8>> {
        self.files.as_ref().map(|files| fs::read(&files.ca).unwrap())
    }

    /// PEM of a client certificate and its key.
    pub fn client_pem(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let files = self.files.as_ref().filter(|_| self.options.tls != Tls::On)?;
        Some(read(&files.client))
    }

    /// The same of one whose subject has no common name.
    pub fn nameless_client_pem(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some(read(&self.files.as_ref()?.nameless))
    }

    pub fn log(&self, number: usize) -> String {
        fs::read_to_string(&self.members[number].log).unwrap_or_default()
    }

    /// kill -9.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.members[number].process.take() {
            process.kill_group();
        }
    }

    /// Starts one that was killed, on its data.
    pub fn restart(&mut self, number: usize) {
        self.spawn(number);
        self.await_member(number);
    }

    /// The data of all are lost.
    pub fn wipe(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
            fs::remove_dir_all(&self.members[number].dir).unwrap();
        }
        for number in 0..self.members.len() {
            self.spawn(number);
        }
        for number in 0..self.members.len() {
            self.await_member(number);
        }
    }

    /// Stops it without its noticing: connections stay open, and nothing is answered.
    pub fn halt(&self, number: usize) {
        self.signal(number, "STOP");
    }

    pub fn resume(&self, number: usize) {
        self.signal(number, "CONT");
    }

    /// The servers forget the history before now.
    pub fn compact(&self) {
        let told = self.ctl(&["get", "nothing", "--write-out=json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        self.ctl(&["compact", &told["header"]["revision"].to_string()]);
    }

    /// Writes keys of somebody else until it takes no more: its quota (`--quota-backend-bytes`) is used up.
    pub fn fill(&self) {
        let value = "x".repeat(100_000);
        let urls: Vec<String> = self.members.iter().map(|member| self.url(member.client)).collect();
        for number in 0..1000 {
            let put = self.ctl_at(&urls, &["put", &format!("foreign/{number}"), &value]);
            if String::from_utf8_lossy(&put.stderr).contains("database space exceeded") {
                return;
            }
        }
        panic!("it is never full");
    }

    /// Takes what [`fill`](Etcd::fill) wrote away, as its operator does.
    pub fn make_room(&self) {
        self.ctl(&["del", "--prefix", "foreign/"]);
        self.compact();
        self.ctl(&["defrag"]);
        self.ctl(&["alarm", "disarm"]);
    }

    /// What clients have asked for since it was started: the number of calls of each kind that it has answered.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        let text = self.metrics();
        let calls = text.lines().filter_map(|line| {
            let (labels, count) = line.strip_prefix("grpc_server_handled_total{")?.split_once("} ")?;
            let method = labels.split("grpc_method=\"").nth(1)?.split('"').next()?;
            Some((method.to_string(), count.parse::<f64>().ok()? as u64))
        });
        calls.filter(|(_, count)| *count > 0).fold(BTreeMap::new(), |mut all, (method, count)| {
            *all.entry(method).or_default() += count;
            all
        })
    }

    /// Bytes that clients have sent to it, and those that it has sent to them.
    pub fn traffic(&self) -> [u64; 2] {
        let text = self.metrics();
        ["received", "sent"].map(|what| {
            let name = format!("etcd_network_client_grpc_{what}_bytes_total ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
            value.unwrap_or_default() as u64
        })
    }

    /// Bytes of its data, without history.
    pub fn size(&self) -> u64 {
        self.compact();
        self.ctl(&["defrag"]);
        let told: serde_json::Value =
            serde_json::from_str(&self.ctl(&["endpoint", "status", "--write-out=json"])).unwrap();
        told[0]["Status"]["dbSize"].as_u64().unwrap_or_else(|| panic!("{told}"))
    }

    pub fn pid(&self, number: usize) -> u32 {
        self.members[number].process.as_ref().expect("it runs").pid()
    }

    fn metrics(&self) -> String {
        let get = if self.files.is_some() { http::https_get } else { http::get };
        get(self.members[0].client, "localhost", "/metrics").unwrap().body
    }

    /// Turns on users: `root`, whose password is `root`, and `name` with `password`, who may do this (`read`,
    /// `readwrite`) with keys that begin with `prefix`.
    pub fn add_user(&self, name: &str, password: &str, may: &str, prefix: &str) {
        for args in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", name],
            &["role", "grant-permission", name, "--prefix=true", may, prefix],
            &["user", "add", &format!("{name}:{password}")],
            &["user", "grant-role", name, name],
            &["auth", "enable"],
        ] {
            self.ctl(args);
        }
        self.has_users.set(true);
    }

    /// Takes this right of the user away.
    pub fn forbid(&self, name: &str, prefix: &str) {
        self.ctl(&["role", "revoke-permission", name, "--prefix=true", prefix]);
    }

    /// What the user may do with keys that begin with `prefix`.
    pub fn allow(&self, name: &str, may: &str, prefix: &str) {
        self.ctl(&["role", "grant-permission", name, "--prefix=true", may, prefix]);
    }

    /// What etcdctl(1) says, which has to succeed.
    pub fn ctl(&self, args: &[&str]) -> String {
        let running = self.members.iter().filter(|member| member.process.is_some());
        let urls: Vec<String> = running.map(|member| self.url(member.client)).collect();
        let output = self.ctl_at(&urls, args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ctl_at(&self, urls: &[String], args: &[&str]) -> Output {
        let mut command = Command::new(in_path("etcdctl").expect("etcdctl is there"));
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", urls.join(",")));
        command.arg("--command-timeout=30s");
        if let Some(files) = &self.files {
            let [certificate, key] = &files.client;
            command.arg("--cacert").arg(&files.ca).arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        if self.has_users.get() {
            command.arg("--user=root:root");
        }
        command.args(args).output().unwrap()
    }

    fn host(&self) -> &'static str {
        if self.files.is_some() { "localhost" } else { "127.0.0.1" }
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.files.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.host())
    }

    fn signal(&self, number: usize, name: &str) {
        if let Some(process) = &self.members[number].process {
            signal(process.pid(), name);
        }
    }

    fn spawn(&mut self, number: usize) {
        let peer_url = |member: &Member| format!("http://127.0.0.1:{}", member.peer);
        let cluster: Vec<String> =
            self.members.iter().map(|member| format!("{}={}", member.name, peer_url(member))).collect();
        let member = &self.members[number];
        let scheme = if self.files.is_some() { "https" } else { "http" };
        let mut args: Vec<OsString> = Vec::new();
        for (option, value) in [
            ("name", member.name.clone()),
            ("listen-client-urls", format!("{scheme}://127.0.0.1:{}", member.client)),
            ("advertise-client-urls", self.url(member.client)),
            ("listen-peer-urls", peer_url(member)),
            ("initial-advertise-peer-urls", peer_url(member)),
            ("initial-cluster", cluster.join(",")),
            ("heartbeat-interval", "50".into()),
            ("election-timeout", "500".into()),
            ("logger", "zap".into()),
        ] {
            args.extend([format!("--{option}").into(), value.into()]);
        }
        args.extend(["--data-dir".into(), member.dir.clone().into()]);
        if let Some(files) = &self.files {
            let [certificate, key] = &files.server;
            args.extend(["--cert-file".into(), certificate.into(), "--key-file".into(), key.into()]);
            if self.options.tls != Tls::On {
                args.extend(["--trusted-ca-file".into(), (&files.ca).into(), "--client-cert-auth".into()]);
            }
        }
        args.extend(self.options.args.iter().map(OsString::from));
        let program = in_path("etcd").expect("etcd is there");
        let start = Start {
            program: &program,
            args,
            envs: Vec::new(),
            log: &member.log,
            stop_signal: "KILL",
            user: &[],
        };
        let process = Process::spawn(start);
        self.members[number].process = Some(process);
    }

    fn await_member(&self, number: usize) {
        let member = &self.members[number];
        wait_for("etcd to be ready", SOON, || {
            self.ctl_at(&[self.url(member.client)], &["endpoint", "health"]).status.success().then_some(())
        });
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}

fn read([certificate, key]: &[PathBuf; 2]) -> (Vec<u8>, Vec<u8>) {
    (fs::read(certificate).unwrap(), fs::read(key).unwrap())
}

impl Files {
    fn new(lab: &Lab, tls: Tls) -> Files {
        let (ca, ca_key) = certificate::ca("CA of etcd");
        let issuer = (&ca, &ca_key);
        let mut usage = ExtendedKeyUsage::new();
        usage.server_auth();
        if tls != Tls::MutualWithoutClientUsage {
            usage.client_auth();
        }
        let server = issue(lab, "server", "localhost", issuer, &usage);
        let client = issue(lab, "client", "node", issuer, ExtendedKeyUsage::new().client_auth());
        let nameless = issue(lab, "nameless", "", issuer, ExtendedKeyUsage::new().client_auth());
        let path = lab.path("etcd-ca.pem");
        fs::write(&path, ca.to_pem().unwrap()).unwrap();
        Files { ca: path, server, client, nameless }
    }
}

fn issue(
    lab: &Lab,
    file: &str,
    name: &str,
    issuer: (&X509, &PKey<Private>),
    usage: &ExtendedKeyUsage,
) -> [PathBuf; 2] {
    let key = certificate::new_key();
    let extensions =
        vec![certificate::san(if name.is_empty() { "node" } else { name }), usage.build().unwrap()];
    let leaf = certificate::make(name, &key, Some(issuer), extensions);
    let paths = ["pem", "key"].map(|ending| lab.path(format!("etcd-{file}.{ending}")));
    let write = |path: &Path, bytes: Vec<u8>| fs::write(path, bytes).unwrap();
    write(&paths[0], leaf.to_pem().unwrap());
    write(&paths[1], key.private_key_to_pem_pkcs8().unwrap());
    paths
}
