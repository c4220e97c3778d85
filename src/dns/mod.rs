// SPDX-License-Identifier: Apache-2.0
//! DNS as a client: questions to a given server, names followed to their zone and its name servers, dynamic
//! updates (RFC 2136) signed with TSIG; and the messages that a server needs as well. Bounded in time and
//! size. Refuses answers to other questions and of other servers. Imports `crypto`, `time` and `log`.

pub mod caa;
pub mod client;
mod error;
mod key;
mod name;
pub mod resolve;
pub mod tsig;
pub mod update;
pub mod wire;

pub use client::Sockets;
pub use error::Error;
pub use key::{Algorithm, BadKey, TsigKey};
pub use name::{BadName, Name};
pub use resolve::Resolver;
pub use update::{Change, Update};
pub use wire::{
    Class, Data, Edns, Flags, Malformed, Message, Opcode, OptRcode, Question, Record, Rtype, Soa,
};

use std::net::SocketAddr;

/// The port of name servers.
pub const PORT: u16 = 53;

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// A resolver, which asks others.
    Desired,
    /// An authoritative server, which answers from its own zones.
    No,
}

/// Sends requests to DNS servers.
pub trait Dns: Send + Sync {
    /// The answer of `server`, whatever its rcode: by UDP, or by TCP where that is too short.
    fn ask(&self, server: SocketAddr, question: &Question, recursion: Recursion) -> Result<Message, Error>;

    /// The answer to a message that may be sent once only: by TCP.
    fn exchange(&self, server: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Error>;
}
