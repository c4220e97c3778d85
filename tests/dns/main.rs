// SPDX-License-Identifier: Apache-2.0
//! The DNS client against the servers that people run: updates of BIND and Knot, names through unbound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod lookups;
mod questions;
mod seeds;
mod updates;

use mod_md::dns::{Dns, Name, Sockets};
use mod_md::time::{Clock, SystemClock, Timestamp};
use std::sync::Arc;
use support::Need;

const BIND: Need = Need::Program("named");
const KNOT: Need = Need::Program("knotd");
const UNBOUND: Need = Need::Program("unbound");
/// dig and tsig-keygen; Debian has them in two packages.
const TOOLS: [Need; 2] = [Need::Program("dig"), Need::Program("tsig-keygen")];

fn sockets() -> impl Dns {
    Sockets::new(Arc::new(SystemClock::default()))
}

fn now() -> Timestamp {
    SystemClock::default().now()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}
