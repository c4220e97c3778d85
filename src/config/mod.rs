// SPDX-License-Identifier: Apache-2.0
//! Configuration: the directives, their merged values, and the managed domains that result from them.
//!
//! Three steps, all of them pure. [`table`] has a row per directive; httpd reads a line, the parser of the
//! row stores a value in the [`ServerConfig`] of the `server_rec` or returns an error. [`plan`] merges the
//! values (section, server of its definition, defaults), refuses combinations that cannot work and matches
//! managed domains to hosts. [`Plan::after_tls`] completes the plan once the TLS hosts are known. Callers
//! pass in the functions that read files; findings are returned and never logged here.
//! Imports `model`, `crypto` and the layer below them; neither the store nor the network.

pub mod advice;
mod authority;
mod binding;
mod check;
mod complete;
mod dns01;
mod dns_service;
mod domain;
mod dump;
mod finding;
#[cfg(test)]
mod fixture;
pub mod fleet;
mod host_index;
mod key;
mod matching;
mod plan;
mod planned;
pub mod reference;
mod row;
mod scope;
pub mod table;
mod tls;
pub mod tree;
mod value;

pub use authority::{KNOWN_CAS, rehearsal_of};
pub use domain::{close_section, split_arguments};
pub use dump::{Configuration, DumpedFinding, DumpedFleet, DumpedHost, Unreadable};
pub use finding::Finding;
pub use plan::{draft, plan};
pub use planned::{Global, Host, HostPlan, Plan, PlannedMd, Server};
pub use scope::{Env, Globals, HostSettings, MatchNames, MdSection, PortMap, Scope, ServerConfig, Settings};
pub use table::{Args, Places, ROWS, Row};

/// Texts of findings of a level.
#[cfg(test)]
fn texts(findings: &[Finding], level: crate::log::Level) -> Vec<&str> {
    findings.iter().filter(|f| f.level == level).map(|f| f.text.as_str()).collect()
}

/// The reason why a directive is not accepted: the text that httpd shows to the admin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }
}
