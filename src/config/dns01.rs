// SPDX-License-Identifier: Apache-2.0
//! `MDChallengeDns01`, whose first word chooses the way, and `MDDnsPropagation`. Refuses what cannot work: words
//! too many or too few, servers, zones and URLs of no usable form. A first word that is no way begins a command.
//! Reads no file. Imports `value` and `domain` of this room.

use super::domain::split_arguments;
use super::value::{duration, first, path};
use super::{Env, Error};
use crate::model::dns01::{Command, Hook, HookKind, Propagation, Rfc2136, SecretFile, Way, host_and_port};
use crate::names;
use crate::url::Url;
use std::time::Duration;

/// Seconds; where `ttl=` is not given.
const TTL: u32 = 60;
const TTL_MAX: u32 = 86_400;

/// The first words that are no command. A kind of hook follows the last one.
const HOOK: &str = "hook:";

/// The arguments of one way, and the form they should have.
struct Arguments<'a> {
    env: &'a Env<'a>,
    words: &'a [String],
    form: &'static str,
}

/// `None`: no way, also where an outer level has one.
pub(super) fn way(env: &Env<'_>, args: &[&str]) -> Result<Option<Way>, Error> {
    let line = first(args).trim();
    let words = split_arguments(line);
    let Some((first, words)) = words.split_first() else { return Ok(None) };
    let with = |form| Arguments { env, words, form };
    Ok(Some(match first.as_str() {
        "rfc2136" => with("rfc2136 SERVER[:PORT] KEYFILE [zone=ZONE] [ttl=SECONDS]").rfc2136()?,
        "acme-dns" => with("acme-dns URL").acme_dns()?,
        "responder" => {
            with("responder").positional(0, &[])?;
            Way::Responder
        }
        word => match word.strip_prefix(HOOK) {
            Some(kind) => with("").hook(kind)?,
            None => Way::Command(Command { line: line.to_string(), version: 1 }),
        },
    }))
}

impl<'a> Arguments<'a> {
    /// The first `count` words, and after them the values of `known` options. `NAME=VALUE` counts as an option
    /// where `NAME` is known, and behind the first words.
    fn positional<const N: usize>(
        &self,
        count: usize,
        known: &[&'static str; N],
    ) -> Result<(&'a [String], [Option<&'a str>; N]), Error> {
        let is_known = |word: &&String| option(word).is_some_and(|(name, _)| known.contains(&name));
        let before = self.words.iter().take(count).take_while(|word| !is_known(word)).count();
        let (words, rest) = self.words.split_at_checked(before).unwrap_or_default();
        if before < count || words.iter().any(String::is_empty) {
            return Err(self.wrong(format_args!("an argument is missing")));
        }
        let mut values = [None; N];
        for word in rest {
            let (name, value) =
                option(word).ok_or_else(|| self.wrong(format_args!("'{word}' is one argument too many")))?;
            let slot = known.iter().position(|known| *known == name).and_then(|at| values.get_mut(at));
            let slot = slot.ok_or_else(|| self.wrong(format_args!("'{name}=' is not known")))?;
            if value.is_empty() || slot.replace(value).is_some() {
                return Err(self.wrong(format_args!("'{name}=' needs a value, and once only")));
            }
        }
        Ok((words, values))
    }

    fn wrong(&self, fault: std::fmt::Arguments<'_>) -> Error {
        Error(format!("{fault}. Write: MDChallengeDns01 {}", self.form))
    }

    fn file(&self, name: &str) -> Result<SecretFile, Error> {
        path(self.env, &[name]).map(SecretFile::at)
    }

    fn rfc2136(&self) -> Result<Way, Error> {
        let (words, [zone, ttl]) = self.positional(2, &["zone", "ttl"])?;
        let [server, key] = words else { return Err(self.wrong(format_args!("an argument is missing"))) };
        server_name(server).map_err(|fault| self.wrong(format_args!("{fault}")))?;
        let zone = zone.map(|zone| domain_name(zone).map_err(|e| self.wrong(format_args!("zone=: {e}"))));
        let ttl = ttl.map(|ttl| {
            let seconds = ttl.parse::<u32>().ok().filter(|seconds| *seconds <= TTL_MAX);
            seconds.ok_or_else(|| self.wrong(format_args!("ttl={ttl} is not a number from 0 to {TTL_MAX}")))
        });
        Ok(Way::Rfc2136(Rfc2136 {
            server: server.clone(),
            key: self.file(key)?,
            zone: zone.transpose()?,
            ttl: ttl.transpose()?.unwrap_or(TTL),
        }))
    }

    fn acme_dns(&self) -> Result<Way, Error> {
        match self.positional(1, &[])?.0 {
            [url] => self.url(url).map(Way::AcmeDns),
            _ => Err(self.wrong(format_args!("an argument is missing"))),
        }
    }

    /// A URL that a path is appended to.
    fn url(&self, text: &str) -> Result<String, Error> {
        let fault = match Url::parse(text) {
            Err(error) => error.to_string(),
            Ok(url) if url.origin.port == 0 => "the port is 0".into(),
            Ok(url) if url.has_user => {
                "it must not have a user or password, which status pages would show".into()
            }
            Ok(_) if text.contains(['?', '#']) => "it has a query or a fragment".into(),
            Ok(_) => return Ok(text.trim_end_matches('/').to_string()),
        };
        // What stands before an @ may be a password.
        let shown = if text.contains('@') { "the URL" } else { text };
        Err(self.wrong(format_args!("{shown} cannot be used: {fault}")))
    }

    fn hook(self, kind: &str) -> Result<Way, Error> {
        let found = HookKind::from_word(kind).ok_or_else(|| {
            let known: Vec<String> =
                HookKind::ALL.iter().map(|kind| format!("{HOOK}{}", kind.word())).collect();
            Error(format!("'{HOOK}{kind}' is not known: MDChallengeDns01 has {}", known.join(", ")))
        })?;
        let (form, count) = match found {
            HookKind::Lego => ("hook:lego PROGRAM [env=FILE]", 1),
            HookKind::Dehydrated => ("hook:dehydrated PROGRAM [env=FILE]", 1),
            HookKind::Certbot => ("hook:certbot AUTH_PROGRAM CLEANUP_PROGRAM [env=FILE]", 2),
            HookKind::AcmeSh => ("hook:acme.sh PROGRAM dns_API [env=FILE]", 2),
            HookKind::HttpReq => return Arguments { form: "hook:httpreq URL [USERFILE]", ..self }.httpreq(),
        };
        let this = Arguments { form, ..self };
        let (words, [env]) = this.positional(count, &["env"])?;
        if let (HookKind::AcmeSh, [_, api]) = (found, words) {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if !api.starts_with("dns_") || !api.bytes().all(is_word) {
                return Err(this.wrong(format_args!("'{api}' is no API of acme.sh, such as dns_cf")));
            }
        }
        let programs = found.programs();
        let word =
            |(i, word): (usize, &String)| if i < programs { this.program(word) } else { Ok(word.clone()) };
        let words = words.iter().enumerate().map(word).collect::<Result<_, _>>()?;
        let env = env.map(|file| this.file(file)).transpose()?;
        Ok(Way::Hook(Hook { kind: found, words, user: None, env }))
    }

    /// Without a `/` it is looked for in PATH.
    fn program(&self, word: &str) -> Result<String, Error> {
        if word.contains('/') { path(self.env, &[word]) } else { Ok(word.to_string()) }
    }

    /// No command is started, so none has an environment.
    fn httpreq(&self) -> Result<Way, Error> {
        let count = self.words.len().clamp(1, 2);
        let (words, []) = self.positional(count, &[])?;
        let kind = HookKind::HttpReq;
        let (url, user) = match words {
            [url] => (url, None),
            [url, file] if !file.starts_with("env=") => (url, Some(self.file(file)?)),
            [_, _] => {
                let fault = format_args!("env= is for hooks that are programs, {HOOK}httpreq starts none");
                return Err(self.wrong(fault));
            }
            _ => return Err(self.wrong(format_args!("an argument is missing"))),
        };
        Ok(Way::Hook(Hook { kind, words: vec![self.url(url)?], user, env: None }))
    }
}

/// `NAME=VALUE`
fn option(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())).then_some((name, value))
}

/// A name of the DNS: no address, no wildcard.
pub(super) fn domain_name(text: &str) -> Result<String, String> {
    let name = names::normalize(text).map_err(|error| format!("'{text}' is not a domain name: {error}"))?;
    match names::is_wildcard(&name) || names::is_address(&name) {
        true => Err(format!("'{text}' is a wildcard or an address, not a domain name")),
        false => Ok(name),
    }
}

fn server_name(text: &str) -> Result<(), String> {
    host_and_port(text).map(|_| ()).ok_or_else(|| {
        format!("'{text}' is not a server: it has the form HOST, HOST:PORT or, with an IPv6 address, [ADDRESS]:PORT")
    })
}

/// `off|DURATION [SERVER…]`
pub(super) fn propagation(args: &[&str]) -> Result<Propagation, Error> {
    const FORM: &str = "Write: MDDnsPropagation off|DURATION [SERVER…]";
    let limit = match first(args) {
        "" => return Err(Error(format!("a duration is missing. {FORM}"))),
        off if off.eq_ignore_ascii_case("off") => None,
        _ => {
            let short = "MDDnsPropagation must be 'off', or one second or more";
            Some(duration(args, Duration::from_secs(1), 1000, short)?)
        }
    };
    let servers = args.get(1..).unwrap_or_default();
    for (i, server) in servers.iter().enumerate() {
        server_name(server).map_err(|fault| Error(format!("{fault}. {FORM}")))?;
        if servers.iter().take(i).any(|before| before.eq_ignore_ascii_case(server)) {
            return Err(Error(format!("the server '{server}' stands there twice. {FORM}")));
        }
    }
    Ok(Propagation { limit, servers: servers.iter().map(ToString::to_string).collect() })
}
