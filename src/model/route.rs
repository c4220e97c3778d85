// SPDX-License-Identifier: Apache-2.0
//! How to reach a CA and how to answer its dns-01 challenges: the effective values of a managed domain that
//! md.json does not show. Values only; nothing here connects or runs anything.

use std::time::Duration;

/// The way to a CA. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Route {
    pub ca_file: Option<String>,
    pub proxy_url: Option<String>,
    pub proxy_ca_file: Option<String>,
}

/// The command that changes the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns01Command {
    pub line: String,
    /// `MDChallengeDns01Version`: from 2 on `teardown` is given the challenge too.
    pub version: u8,
    /// `MDChallengeDns01Timeout`.
    pub limit: Duration,
}
