// SPDX-License-Identifier: Apache-2.0
//! The fleet of a configuration, with everything in force.

use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Etcd,
    Redis,
}

/// A server of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Without brackets where it is an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// Host and port as URLs have them.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Scheme {
    /// As URLs begin.
    pub fn word(self, is_tls: bool) -> &'static str {
        match (self, is_tls) {
            (Scheme::Etcd, false) => "etcd",
            (Scheme::Etcd, true) => "etcds",
            (Scheme::Redis, false) => "redis",
            (Scheme::Redis, true) => "rediss",
        }
    }
}

impl Fleet {
    /// URLs as the directive has them.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let scheme = self.scheme.word(self.is_tls);
        self.servers.iter().map(move |server| format!("{scheme}://{server}/{}", self.prefix))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    pub scheme: Scheme,
    /// `etcds://`, `rediss://`.
    pub is_tls: bool,
    /// Tried in turn.
    pub servers: Vec<Server>,
    /// `{mod_md}` where the URLs have none.
    pub prefix: String,
    /// The first seals, both open.
    pub secret_files: Vec<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// Name and file of the password.
    pub user: Option<(String, PathBuf)>,
    /// For people; the host's without.
    pub node: Option<String>,
}
