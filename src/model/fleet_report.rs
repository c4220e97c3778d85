// SPDX-License-Identifier: Apache-2.0
//! What the replicating child tells other processes of the fleet: `fleet/status.json`, which status pages,
//! metrics and `a2md fleet status` read. Has no secret.

use crate::time::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetReport {
    /// Scheme, host and port of the server in use.
    pub engine: String,
    pub connected: bool,
    /// Of `connected`.
    pub since: Option<Timestamp>,
    /// Why it is not connected, or what is wrong all the same.
    pub problem: Option<String>,
    /// This node's id and name.
    pub id: String,
    pub name: String,
    pub nodes: Vec<ReportedNode>,
    pub renewing: Vec<Renewing>,
    /// The latest revision known of the engine, and the one applied here.
    pub revision: u64,
    pub applied: u64,
    /// Requests to the engine since the child began: answered, and failed.
    pub requests_ok: u64,
    pub requests_failed: u64,
    /// Names of MDs whose values could not be opened or were refused, with the reason; some at most.
    pub refused: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedNode {
    pub id: String,
    pub name: String,
    pub version: String,
    pub seen: Option<Timestamp>,
    pub applied: u64,
}

/// An MD that a node renews.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewing {
    pub name: String,
    /// By name.
    pub node: String,
    pub since: Option<Timestamp>,
}
