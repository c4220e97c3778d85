// SPDX-License-Identifier: Apache-2.0
//! The way in which TXT records for dns-01 come and go: the effective values of `MDChallengeDns01` and its
//! companions for a managed domain. Values, and their form in md.json; nothing here asks a name server, runs
//! a command or reads a file. Imports `names`.

mod secret;

pub use secret::{FileFault, SecretFile, SecretKind, environment, user_and_password};

use crate::names;
use serde_json::{Map, Value, json};
use std::time::Duration;

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

impl HookKind {
    pub const ALL: [HookKind; 5] =
        [HookKind::Lego, HookKind::Dehydrated, HookKind::Certbot, HookKind::AcmeSh, HookKind::HttpReq];

    /// What follows `hook:`.
    pub fn word(self) -> &'static str {
        match self {
            HookKind::Lego => "lego",
            HookKind::Dehydrated => "dehydrated",
            HookKind::Certbot => "certbot",
            HookKind::AcmeSh => "acme.sh",
            HookKind::HttpReq => "httpreq",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        HookKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// How many of [`Hook::words`] are programs that are started.
    pub fn programs(self) -> usize {
        match self {
            HookKind::Certbot => 2,
            HookKind::Lego | HookKind::Dehydrated | HookKind::AcmeSh => 1,
            HookKind::HttpReq => 0,
        }
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]` or `[ADDRESS]:PORT`, the host without
/// brackets. `None`: it is none of these; an IPv6 address without brackets is not.
pub fn host_and_port(server: &str) -> Option<(String, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = port.map_or(Some(PORT), |port| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|port| is_number && *port > 0)
    })?;
    let host = names::normalize(host).ok().filter(|host| !names::is_wildcard(host))?;
    Some((host, port))
}

/// Of DNS.
const PORT: u16 = 53;

/// Of a text in md.json: longer than a line of httpd's configuration can be, others have written it.
const TEXT_MAX: usize = 16 * 1024;
const WORDS_MAX: usize = 4;

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

    /// The files whose content root loads, and what is in each.
    pub fn secret_files(&mut self) -> impl Iterator<Item = (SecretKind, &mut SecretFile)> {
        let (one, two) = match &mut self.way {
            Way::Rfc2136(update) => (Some((SecretKind::TsigKey, &mut update.key)), None),
            Way::Hook(hook) => (
                hook.user.as_mut().map(|file| (SecretKind::User, file)),
                hook.env.as_mut().map(|file| (SecretKind::Environment, file)),
            ),
            Way::Command(_) | Way::AcmeDns(_) | Way::Responder => (None, None),
        };
        one.into_iter().chain(two)
    }

    /// The command line, where the way is a command.
    pub fn command_line(&self) -> Option<&str> {
        self.way.command_line()
    }
}

impl Way {
    pub fn command_line(&self) -> Option<&str> {
        match self {
            Way::Command(command) => Some(&command.line),
            _ => None,
        }
    }

    /// The first word of the directive. A command has none.
    pub fn word(&self) -> String {
        match self {
            Way::Command(_) => String::new(),
            Way::Rfc2136(_) => "rfc2136".into(),
            Way::AcmeDns(_) => "acme-dns".into(),
            Way::Responder => "responder".into(),
            Way::Hook(hook) => format!("hook:{}", hook.kind.word()),
        }
    }

    /// `dns-01` of md.json: names of files, never their content. A command stands there under the key of the
    /// C module.
    pub fn to_json(&self) -> Option<Value> {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| _ = out.insert(key.into(), value);
        put("way", json!(self.word()));
        match self {
            Way::Command(_) => return None,
            Way::Rfc2136(update) => {
                put("server", json!(update.server));
                put("key-file", json!(update.key.path));
                update.zone.iter().for_each(|zone| put("zone", json!(zone)));
                put("ttl", json!(update.ttl));
            }
            Way::AcmeDns(url) => put("url", json!(url)),
            Way::Responder => {}
            Way::Hook(hook) => {
                put("words", json!(hook.words));
                hook.user.iter().for_each(|file| put("user-file", json!(file.path)));
                hook.env.iter().for_each(|file| put("env-file", json!(file.path)));
            }
        }
        Some(Value::Object(out))
    }

    /// `None`: a later version has written it, or somebody else.
    pub fn from_json(value: &Value) -> Option<Self> {
        let usable = |value: &Value| value.as_str().filter(|text| text.len() <= TEXT_MAX).map(String::from);
        let text = |key: &str| value.get(key).and_then(usable);
        let file = |key: &str| text(key).map(SecretFile::at);
        Some(match text("way")?.as_str() {
            "rfc2136" => Way::Rfc2136(Rfc2136 {
                server: text("server")?,
                key: file("key-file")?,
                zone: text("zone"),
                ttl: value.get("ttl").and_then(Value::as_u64)?.try_into().ok()?,
            }),
            "acme-dns" => Way::AcmeDns(text("url")?),
            "responder" => Way::Responder,
            word => {
                let words =
                    value.get("words").and_then(Value::as_array).filter(|words| words.len() <= WORDS_MAX)?;
                Way::Hook(Hook {
                    kind: HookKind::from_word(word.strip_prefix("hook:")?)?,
                    words: words.iter().map(usable).collect::<Option<_>>()?,
                    user: file("user-file"),
                    env: file("env-file"),
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(zone: Option<&str>) -> Way {
        Way::Rfc2136(Rfc2136 {
            server: "[::1]:5353".into(),
            key: SecretFile::at("/etc/k.key"),
            zone: zone.map(String::from),
            ttl: 60,
        })
    }

    fn hook(kind: HookKind, user: Option<&str>, env: Option<&str>) -> Way {
        let words = vec!["/bin/one".into(), "two".into()];
        Way::Hook(Hook { kind, words, user: user.map(SecretFile::at), env: env.map(SecretFile::at) })
    }

    #[test]
    fn a_way_is_read_back_from_md_json_and_its_secret_is_not_there() {
        let kinds = HookKind::ALL.map(|kind| hook(kind, None, Some("/etc/env")));
        let mut ways =
            vec![update(None), update(Some("b.test")), Way::AcmeDns("https://x.test".into()), Way::Responder];
        ways.extend(kinds);
        ways.push(hook(HookKind::HttpReq, Some("/etc/user"), None));
        for way in ways {
            let mut loaded = way.clone();
            if let Way::Rfc2136(update) = &mut loaded {
                update.key = SecretFile::loaded("/etc/k.key", "c2VjcmV0");
            }
            let json = loaded.to_json().unwrap();
            assert!(!json.to_string().contains("c2VjcmV0") && !format!("{loaded:?}").contains("c2VjcmV0"));
            assert_eq!(Way::from_json(&json), Some(way), "{json}");
        }
        let command = Way::Command(Command { line: "/bin/x".into(), version: 1 });
        assert_eq!(command.to_json(), None);
        for planted in [json!(7), json!({"way": "later"}), json!({"way": "hook:lego", "words": [7]})] {
            assert_eq!(Way::from_json(&planted), None, "{planted}");
        }
    }

    #[test]
    fn a_server_has_a_host_and_maybe_a_port() {
        for (text, host, port) in [
            ("ns.a.test", "ns.a.test", 53),
            ("NS.a.test:5353", "ns.a.test", 5353),
            ("127.0.0.1", "127.0.0.1", 53),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[2001:db8::1]", "2001:db8::1", 53),
            ("[::1]:54", "::1", 54),
        ] {
            assert_eq!(host_and_port(text), Some((host.to_string(), port)), "{text}");
        }
        for text in [
            "",
            ":53",
            "a.test:",
            "a.test:0",
            "a.test:65536",
            "a.test:+5",
            "a.test:x",
            "::1",
            "2001:db8::1:53",
            "[::1",
            "[::1]53",
            "[a.test]:53",
            "a b",
            "*.a.test",
            "a/b",
        ] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }
}
