// SPDX-License-Identifier: Apache-2.0
//! What a process needs to reach the engine, with the files that only the start could read.

use crate::config::fleet::{Scheme, Server};
use crate::time::StopFlag;

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
