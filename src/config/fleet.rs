// SPDX-License-Identifier: Apache-2.0
//! The fleet of a configuration: `MDFleet` and the directives beside it. Values only; the files that they name
//! are read by each start.

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
