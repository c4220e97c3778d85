// SPDX-License-Identifier: Apache-2.0
//! The way in which TXT records for dns-01 come and go: the effective values of `MDChallengeDns01` and its
//! companions for a managed domain, which md.json does not show. Values only; nothing here asks a name server
//! or runs a command.

use std::time::Duration;
use zeroize::Zeroizing;

/// `MDChallengeDns01`, with what the directives beside it say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns01 {
    pub way: Way,
    /// `MDChallengeDns01Timeout`: how long one call of a command, or one change at a server, may take.
    pub limit: Duration,
    pub propagation: Propagation,
}

/// The first word of `MDChallengeDns01` chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Command(Command),
    Rfc2136(Rfc2136),
    /// The base URL of the acme-dns server.
    AcmeDns(String),
    /// httpd answers by itself, at the addresses of `MDDnsListen`.
    Responder,
    Hook(Hook),
}

/// A command of the admin, called `LINE setup|teardown DOMAIN [VALUE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub line: String,
    /// `MDChallengeDns01Version`: from 2 on `teardown` is given the challenge too.
    pub version: u8,
}

/// Dynamic update (RFC 2136) signed by TSIG (RFC 8945).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rfc2136 {
    /// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`; port 53 where none is given.
    pub server: String,
    pub key: SecretFile,
    pub zone: Option<String>,
    /// In seconds.
    pub ttl: u32,
}

/// A hook written for another ACME client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: HookKind,
    /// The words after `hook:KIND`, without `env=`: a program, for certbot also that of the
    /// clean-up, for acme.sh the name of its API, for httpreq a URL.
    pub words: Vec<String>,
    /// httpreq: the file with `USER:PASSWORD` on one line.
    pub user: Option<SecretFile>,
    /// Lines NAME=VALUE for the environment of the command.
    pub env: Option<SecretFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    Lego,
    Dehydrated,
    Certbot,
    AcmeSh,
    HttpReq,
}

/// A file that only root may read: its content is loaded before the children are started.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// Absolute.
    pub path: String,
    /// `None`: not loaded, or not readable.
    pub content: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let content = self.content.as_ref().map(|_| "***");
        f.debug_struct("SecretFile").field("path", &self.path).field("content", &content).finish()
    }
}

/// `MDDnsPropagation`: the wait for a record before the CA is asked to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// `None`: the CA is asked at once.
    pub limit: Option<Duration>,
    /// Asked instead of the system's resolvers and of the servers of the zone: `HOST`, `HOST:PORT`.
    pub servers: Vec<String>,
}

impl Default for Propagation {
    fn default() -> Self {
        Propagation { limit: Some(Duration::from_secs(60)), servers: Vec::new() }
    }
}

impl Dns01 {
    /// By a command, with the defaults of everything else.
    pub fn by_command(line: String, version: u8, limit: Duration) -> Self {
        Dns01 { way: Way::Command(Command { line, version }), limit, propagation: Propagation::default() }
    }

    /// The files whose content root loads.
    pub fn secret_files(&mut self) -> impl Iterator<Item = &mut SecretFile> {
        let (one, two) = match &mut self.way {
            Way::Rfc2136(update) => (Some(&mut update.key), None),
            Way::Hook(hook) => (hook.user.as_mut(), hook.env.as_mut()),
            Way::Command(_) | Way::AcmeDns(_) | Way::Responder => (None, None),
        };
        one.into_iter().chain(two)
    }

    /// The command line, where the way is a command.
    pub fn command_line(&self) -> Option<&str> {
        match &self.way {
            Way::Command(command) => Some(&command.line),
            _ => None,
        }
    }
}
