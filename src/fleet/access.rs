// SPDX-License-Identifier: Apache-2.0
//! What a process needs to reach the engine, with the files that only the start could read.

use super::sealed::Secrets;
use crate::config::fleet::{Scheme, Server};
use crate::managed::peers::SharedSet;
use crate::time::StopFlag;
use std::sync::Mutex;

/// Handed down from the start to the child that replicates. Not `Debug`: it has secrets.
#[derive(Clone)]
pub struct Access {
    pub scheme: Scheme,
    pub is_tls: bool,
    pub servers: Vec<Server>,
    pub prefix: String,
    /// PEM certificates trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM certificate chain and key.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
    pub user: Option<(String, Vec<u8>)>,
    pub stop: StopFlag,
}

/// What a start hands down to the child that replicates. Not `Debug`: it has secrets.
pub struct Inherited {
    pub access: Access,
    pub secrets: Secrets,
    /// For people.
    pub node: String,
    /// Sets in use that `fleet/` has no copy of, by the names of their MDs: a child cannot read their keys.
    pub unshared: Mutex<Vec<(String, SharedSet)>>,
}
