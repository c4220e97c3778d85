// SPDX-License-Identifier: Apache-2.0
//! One name, one challenge, and all that was seen of it. Values; imports `follow`.

use super::follow::Way;
use crate::http::probe::{Failure, Seen};
use std::net::{IpAddr, SocketAddr};

/// Characters of a server's text that are shown.
const SHOWN: usize = 80;

/// Which challenge asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http01,
    TlsAlpn01,
}

impl Kind {
    pub fn port(self) -> u16 {
        match self {
            Kind::Http01 => 80,
            Kind::TlsAlpn01 => 443,
        }
    }

    pub fn type_(self) -> &'static str {
        match self {
            Kind::Http01 => crate::challenge::http01::TYPE,
            Kind::TlsAlpn01 => crate::challenge::tls_alpn01::TYPE,
        }
    }

    pub fn works(self) -> &'static str {
        match self {
            Kind::Http01 => "http-01-reached",
            Kind::TlsAlpn01 => "tls-alpn-01-reached",
        }
    }

    pub fn closed(self) -> &'static str {
        match self {
            Kind::Http01 => "port-80-closed",
            Kind::TlsAlpn01 => "port-443-closed",
        }
    }
}

/// What one address of a name answers.
#[derive(Clone, Debug)]
pub struct Look {
    pub address: IpAddr,
    /// It is one of this machine.
    pub is_here: bool,
    pub way: Way,
}

/// The listener of this machine for the public port.
#[derive(Clone, Debug)]
pub struct Own {
    /// The local port that the public one leads to.
    pub port: u16,
    /// Whether httpd is configured to listen on it; `None`: its configuration is not known.
    pub is_configured: Option<bool>,
    /// The renewing httpd of the store runs; `None`: not known.
    pub is_running: Option<bool>,
    pub answer: Result<Seen, Failure>,
}

/// What is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Up(String),
    /// httpd was not asked to answer, or does not: the reason.
    NotUp(String),
}

/// One name and one challenge.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub looks: &'a [Look],
    pub own: &'a Own,
    pub token: &'a Token,
}

impl Case<'_> {
    /// This answer is the token.
    pub fn has_token(&self, seen: &Seen) -> bool {
        matches!(self.token, Token::Up(text) if seen.body.trim_ascii_end() == text.as_bytes())
    }

    /// The listener of this machine answers with the token.
    pub fn own_has_token(&self) -> bool {
        self.own.answer.as_ref().is_ok_and(|seen| self.has_token(seen))
    }

    /// An address and its port.
    pub fn at(&self, look: &Look) -> String {
        SocketAddr::new(look.address, self.kind.port()).to_string()
    }

    /// The name without `*.`.
    pub fn host(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(self.name)
    }
}

/// Text of a server, which may contain anything.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
