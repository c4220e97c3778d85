// SPDX-License-Identifier: Apache-2.0
//! A real engine, etcd or Redis, as one value, and the secret of a fleet that uses it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::etcd::{self, Etcd};
use support::forwarder::Forwarder;
use support::redis::{self, Redis};
use support::{Httpd, Lab, fleet, wait_for};

const USER: &str = "mod_md";
const PASSWORD: &str = "password-of-the-engine";
/// The default of `MDFleet`.
const PREFIX: &str = "{mod_md}/";
const RIGHTS: &str = "on >password-of-the-engine ~{mod_md}/* resetchannels -@all +@read +@write +@scripting \
                      +@connection -@dangerous +time";

pub enum Kind {
    Etcd(Etcd),
    Redis(Redis),
}

pub struct Engine {
    pub kind: Kind,
    pub secret: PathBuf,
    scheme: &'static str,
    /// Host and port.
    servers: Vec<(String, u16)>,
    /// Beside those that name the servers.
    directives: String,
}

impl Engine {
    /// Over TLS.
    pub fn etcd(lab: &Lab) -> Engine {
        let etcd = Etcd::with(lab, etcd::Options { tls: etcd::Tls::On, ..etcd::Options::default() });
        Engine::of_etcd(lab, etcd)
    }

    /// The same, with a user that may do no more than a fleet needs.
    pub fn etcd_with_user(lab: &Lab, members: usize, args: &[&str]) -> Engine {
        let args = args.iter().map(ToString::to_string).collect();
        let etcd = Etcd::with(lab, etcd::Options { members, tls: etcd::Tls::On, args });
        etcd.add_user(USER, PASSWORD, "readwrite", PREFIX);
        let mut engine = Engine::of_etcd(lab, etcd);
        engine.directives += &user(lab, "engine.password", PASSWORD);
        engine
    }

    fn of_etcd(lab: &Lab, etcd: Etcd) -> Engine {
        let (ca, servers) = (etcd.ca_pem(), etcd.servers());
        let mut engine = Engine::new(lab, Kind::Etcd(etcd), "etcds", servers);
        let file = lab.path("engine-ca.pem");
        fs::write(&file, ca.unwrap()).unwrap();
        engine.directives += &format!("\nMDFleetCACertificateFile {}", file.display());
        engine
    }

    /// With a user that may do no more than a fleet needs.
    pub fn redis(lab: &Lab) -> Engine {
        Engine::of_redis(lab, &[])
    }

    /// The same, with further lines of its configuration.
    pub fn of_redis(lab: &Lab, further: &[&str]) -> Engine {
        // In its configuration: what `ACL SETUSER` makes is gone after a restart.
        let user_line = format!("user {USER} {RIGHTS}");
        let lines = [&["appendonly yes", "appendfsync always", &user_line], further].concat();
        let lines = lines.iter().map(ToString::to_string).collect();
        let redis = Redis::with(lab, redis::Options { lines, ..redis::Options::default() });
        let servers = vec![("127.0.0.1".to_string(), redis.port)];
        let mut engine = Engine::new(lab, Kind::Redis(redis), "redis", servers);
        engine.directives += &user(lab, "engine.password", PASSWORD);
        engine
    }

    fn new(lab: &Lab, kind: Kind, scheme: &'static str, servers: Vec<(String, u16)>) -> Engine {
        let secret = fleet::secret(lab, "fleet.secret");
        let directives = format!("\nMDFleetSecretFile {}", secret.display());
        Engine { kind, secret, scheme, servers, directives }
    }

    /// That join a node to the fleet.
    pub fn directives(&self) -> String {
        self.directives_at(&self.servers)
    }

    /// The same by this way to its one server.
    pub fn directives_by(&self, way: &Forwarder) -> String {
        self.directives_at(&[(self.servers[0].0.clone(), way.port)])
    }

    /// The same with this list of servers.
    pub fn directives_at(&self, servers: &[(String, u16)]) -> String {
        let urls: Vec<String> = servers.iter().map(|server| self.url(server)).collect();
        format!("MDFleet {}{}", urls.join(" "), self.directives)
    }

    fn url(&self, (host, port): &(String, u16)) -> String {
        format!("{}://{host}:{port}", self.scheme)
    }

    /// To its one server.
    pub fn way(&self, lab: &Lab) -> Forwarder {
        Forwarder::to(lab, self.servers[0].1)
    }

    /// The place of the server that a node uses.
    pub fn used_by(&self, node: &Httpd) -> usize {
        let used = fleet::report(node)["engine"].as_str().unwrap().to_string();
        self.servers.iter().position(|server| self.url(server) == used).unwrap()
    }

    pub fn as_etcd(&mut self) -> &mut Etcd {
        match &mut self.kind {
            Kind::Etcd(etcd) => etcd,
            Kind::Redis(_) => panic!("it is Redis"),
        }
    }

    pub fn as_redis(&mut self) -> &mut Redis {
        match &mut self.kind {
            Kind::Redis(redis) => redis,
            Kind::Etcd(_) => panic!("it is etcd"),
        }
    }

    /// The user of the fleet may read alone.
    pub fn forbid_writes(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => {
                etcd.forbid(USER, PREFIX);
                etcd.allow(USER, "read", PREFIX);
            }
            Kind::Redis(redis) => redis.add_user(USER, "-@write"),
        }
    }

    pub fn allow_writes(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.allow(USER, "readwrite", PREFIX),
            Kind::Redis(redis) => redis.add_user(USER, "+@write"),
        }
    }

    /// Another server of Redis learns of the user.
    pub fn let_in(&self, server: &Redis) {
        server.add_user(USER, RIGHTS);
    }

    /// It forgets how it came to what it has.
    pub fn forget_history(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => etcd.compact(),
            Kind::Redis(redis) => redis.trim("{mod_md}", 0),
        }
    }

    /// The key that all nodes read first is deleted.
    pub fn delete_meta(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => drop(etcd.ctl(&["del", "{mod_md}/v1/meta"])),
            Kind::Redis(redis) => {
                for part in ["heads", "values"] {
                    redis.cli(&["HDEL", &format!("{PREFIX}{part}"), "v1/meta"]);
                }
                redis.cli(&["ZREM", &format!("{PREFIX}names"), "v1/meta"]);
            }
        }
    }

    /// An operator deletes all keys of the fleet, and the server goes on.
    pub fn delete_all(&self) {
        match &self.kind {
            Kind::Etcd(etcd) => drop(etcd.ctl(&["del", "--prefix", PREFIX])),
            Kind::Redis(redis) => redis.wipe(),
        }
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

/// The directive for the user with this password, in a file of this name.
pub fn user(lab: &Lab, file: &str, password: &str) -> String {
    let file = lab.path(file);
    fs::write(&file, password).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, mode).unwrap();
    format!("\nMDFleetUser {USER} {}", file.display())
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
    let (is_well, text) = try_a2md(node, arguments);
    assert!(is_well, "a2md {arguments:?}: {text}");
    text
}

/// The same, and whether all was well.
pub fn try_a2md(node: &Httpd, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2md"));
    let output = command.arg("-d").arg(node.config.store()).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), text)
}

/// Asks a node to renew a domain now; again while it answers that it was asked less than a minute ago.
#[track_caller]
pub fn ask_renewal(node: &Httpd, name: &str) {
    let asked = wait_for("a renewal that is not refused", Duration::from_secs(90), || {
        let (is_well, text) = try_a2md(node, &["renew", "--force", name]);
        (is_well || !text.contains("there is one a minute at most")).then_some((is_well, text))
    });
    assert!(asked.0, "{}", asked.1);
}
