// SPDX-License-Identifier: Apache-2.0
//! Why a DNS server gave no answer that can be used. Each text names the server. Imports `wire` of this room.

use super::Name;
use super::wire::{Malformed, OptRcode, Question, Rtype};
use crate::log::{counted, plain};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server process is stopping")]
    Stopped,
    #[error("the DNS server {server} did not answer within {} seconds", .limit.as_secs())]
    Timeout { server: SocketAddr, limit: Duration },
    #[error("the DNS server {server} has not answered lately, and is not asked again for {}", minutes(.wait))]
    Silent { server: SocketAddr, wait: Duration },
    #[error("the DNS server {server} cannot be reached by {way}: {}", plain(.source))]
    Io { server: SocketAddr, way: &'static str, source: io::Error },
    #[error("the answer of the DNS server {server} cannot be read: {reason}")]
    Malformed { server: SocketAddr, reason: Malformed },
    #[error("the DNS server {server} answered another question than {asked}")]
    OtherQuestion { server: SocketAddr, asked: Name },
    #[error(
        "the DNS server {server} answered {rcode} to the question for {rtype} of {name}{}",
        advice(*.rcode)
    )]
    Refused { server: SocketAddr, name: Name, rtype: Rtype, rcode: OptRcode },
    #[error("no DNS server is configured: write one into /etc/resolv.conf, or name one in MDDnsPropagation")]
    NoServers,
    #[error("{name}: its CNAME records form a loop")]
    Loop { name: Name },
    #[error("{name}: more than {limit} CNAME records lead on from it")]
    TooManyAliases { name: Name, limit: usize },
    #[error("{name}: no zone found, no name above it has an SOA record")]
    NoZone { name: Name },
    #[error("the zone {zone} has no name server with an address")]
    NoNameServer { zone: Name },
    #[error("no request can be made: {0}")]
    Local(String),
}

impl Error {
    pub(super) fn refused(server: SocketAddr, question: &Question, rcode: OptRcode) -> Error {
        Error::Refused { server, name: question.name.clone(), rtype: question.rtype, rcode }
    }

    /// Whether another try, or another server, may do better.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout { .. } | Error::Silent { .. })
    }
}

fn minutes(time: &Duration) -> String {
    counted(usize::try_from(time.as_secs().div_ceil(60)).unwrap_or(usize::MAX), "minute")
}

/// The remedy.
fn advice(rcode: OptRcode) -> &'static str {
    match rcode {
        OptRcode::SERVFAIL => ": it got no usable answer from the servers of that zone, ask these with dig",
        OptRcode::REFUSED => ": it does not answer this machine, or does not have that zone",
        _ => "",
    }
}
