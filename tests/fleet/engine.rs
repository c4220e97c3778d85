// SPDX-License-Identifier: Apache-2.0
//! A real engine, etcd or Redis, as one value, and the secret of a fleet that uses it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::etcd::{self, Etcd};
use support::redis::{self, Redis};
use support::{Httpd, Lab, fleet};

const PASSWORD: &str = "the engine's password";

enum Kind {
    Etcd(Etcd),
    Redis(Redis),
}

pub struct Engine {
    kind: Kind,
    pub secret: PathBuf,
    directives: String,
}

impl Engine {
    /// Over TLS.
    pub fn etcd(lab: &Lab) -> Engine {
        let etcd = Etcd::with(lab, etcd::Options { tls: etcd::Tls::On, ..etcd::Options::default() });
        let url = |(host, port): &(String, u16)| format!("etcds://{host}:{port}");
        let urls: Vec<String> = etcd.servers().iter().map(url).collect();
        let ca = etcd.ca_pem();
        Engine::new(lab, Kind::Etcd(etcd), &urls.join(" "), ca)
    }

    /// With a user that may do no more than a fleet needs.
    pub fn redis(lab: &Lab) -> Engine {
        // In its configuration: what `ACL SETUSER` makes is gone after a restart.
        let user = "user mod_md on nopass ~{mod_md}/* resetchannels -@all +@read +@write +@scripting \
                    +@connection -@dangerous +time";
        let lines = ["appendonly yes", "appendfsync always", user].map(str::to_string).to_vec();
        let redis = Redis::with(lab, redis::Options { lines, ..redis::Options::default() });
        let url = format!("redis://127.0.0.1:{}", redis.port);
        Engine::new(lab, Kind::Redis(redis), &url, None)
    }

    fn new(lab: &Lab, kind: Kind, urls: &str, ca: Option<Vec<u8>>) -> Engine {
        let secret = fleet::secret(lab, "fleet.secret");
        let mut directives = format!("MDFleet {urls}\nMDFleetSecretFile {}", secret.display());
        if let Some(pem) = ca {
            let file = lab.path("engine-ca.pem");
            fs::write(&file, pem).unwrap();
            directives += &format!("\nMDFleetCACertificateFile {}", file.display());
        }
        if let Kind::Redis(_) = kind {
            let file = lab.path("engine.password");
            fs::write(&file, PASSWORD).unwrap();
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            directives += &format!("\nMDFleetUser mod_md {}", file.display());
        }
        Engine { kind, secret, directives }
    }

    /// That join a node to the fleet.
    pub fn directives(&self) -> String {
        self.directives.clone()
    }

    pub fn kill(&mut self) {
        match &mut self.kind {
            Kind::Etcd(etcd) => etcd.kill(0),
            Kind::Redis(redis) => redis.kill(),
        }
    }

    pub fn restart(&mut self) {
        match &mut self.kind {
            Kind::Etcd(etcd) => etcd.restart(0),
            Kind::Redis(redis) => redis.restart(),
        }
    }

    /// All data are lost.
    pub fn wipe(&mut self) {
        match &mut self.kind {
            Kind::Etcd(etcd) => etcd.wipe(),
            Kind::Redis(redis) => redis.wipe(),
        }
    }

    /// Connections are accepted, nothing is answered.
    pub fn freeze(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.halt(0),
            Kind::Redis(redis) => redis.halt(),
        }
    }

    pub fn go_on(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.resume(0),
            Kind::Redis(redis) => redis.resume(),
        }
    }

    /// All keys and values, as an operator of the engine sees them.
    pub fn dump(&self) -> String {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.ctl(&["get", "--prefix", ""]),
            Kind::Redis(redis) => {
                let keys = redis.cli(&["KEYS", "*"]);
                keys.lines().map(|key| format!("{key}\n{}\n", value(redis, key))).collect()
            }
        }
    }
}

fn value(redis: &Redis, key: &str) -> String {
    match redis.cli(&["TYPE", key]).as_str() {
        "string" => redis.cli(&["GET", key]),
        "hash" => redis.cli(&["HGETALL", key]),
        "set" => redis.cli(&["SMEMBERS", key]),
        "zset" => redis.cli(&["ZRANGE", key, "0", "-1"]),
        "stream" => redis.cli(&["XRANGE", key, "-", "+"]),
        other => other.to_string(),
    }
}

/// The operator's command for the store of a node.
#[track_caller]
pub fn a2md(node: &Httpd, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    let output = command.arg("-d").arg(node.config.store()).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "a2md {arguments:?}: {text}");
    text
}
