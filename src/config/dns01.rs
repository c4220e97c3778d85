// SPDX-License-Identifier: Apache-2.0
//! `MDChallengeDns01`, whose first word chooses the way, and `MDDnsPropagation`. Refuses what cannot work:
//! words too many or too few, servers, zones and URLs of no usable form. A first word that is no way begins a
//! command. Reads no file. Imports `value` and `domain` of this room.

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
    /// The first `count` words, and after them the values of `known` options. `NAME=VALUE` counts as an
    /// option where `NAME` is known, and behind the first words.
    fn positional<const N: usize>(
        &self,
        count: usize,
        known: &[&'static str; N],
    ) -> Result<(&'a [String], [Option<&'a str>; N]), Error> {
        let is_known = |word: &&String| option(word).is_some_and(|(name, _)| known.contains(&name));
        let before = self.words.iter().take(count).take_while(|word| !is_known(word)).count();
        let (words, rest) = self.words.split_at_checked(before).unwrap_or_default();
        if before < count || words.iter().any(String::is_empty) {
            return Err(self.missing());
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

    fn missing(&self) -> Error {
        self.wrong(format_args!("an argument is missing"))
    }

    fn wrong(&self, fault: std::fmt::Arguments<'_>) -> Error {
        Error(format!("{fault}. Write: MDChallengeDns01 {}", self.form))
    }

    fn file(&self, name: &str) -> Result<SecretFile, Error> {
        path(self.env, &[name]).map(SecretFile::at)
    }

    fn rfc2136(&self) -> Result<Way, Error> {
        let (words, [zone, ttl]) = self.positional(2, &["zone", "ttl"])?;
        let [server, key] = words else { return Err(self.missing()) };
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
            _ => Err(self.missing()),
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

    /// A path is made absolute. A program without one is looked for in PATH; one with arguments, which stands
    /// in quotes, is left as it is.
    fn program(&self, word: &str) -> Result<String, Error> {
        match word.contains('/') && !word.contains(char::is_whitespace) {
            true => path(self.env, &[word]),
            false => Ok(word.to_string()),
        }
    }

    /// No command is started, so none has an environment.
    fn httpreq(&self) -> Result<Way, Error> {
        if self.words.iter().any(|word| word.starts_with("env=")) {
            return Err(
                self.wrong(format_args!("env= is for hooks that are programs, {HOOK}httpreq starts none"))
            );
        }
        let count = self.words.len().clamp(1, 2);
        let (url, user) = match self.positional(count, &[])?.0 {
            [url] => (url, None),
            [url, file] => (url, Some(self.file(file)?)),
            _ => return Err(self.missing()),
        };
        Ok(Way::Hook(Hook { kind: HookKind::HttpReq, words: vec![self.url(url)?], user, env: None }))
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

#[cfg(test)]
mod tests {
    use super::super::fixture::apply;
    use super::super::{Scope, ServerConfig};
    use super::*;
    use std::path::Path;

    fn read(line: &str) -> Result<ServerConfig, String> {
        let read_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let server_root = Path::new("/srv");
        let env = Env { server_root, file: "f", line: 7, conditional: false, read_file: &read_file };
        let mut server = ServerConfig::default();
        let (name, raw) = line.split_once(' ').unwrap_or((line, ""));
        apply(&mut Scope::new(&mut server, &env), name, raw).map_err(|error| error.0)?;
        Ok(server)
    }

    fn way(args: &str) -> Option<Way> {
        let line = format!("MDChallengeDns01 {args}");
        read(&line).unwrap_or_else(|error| panic!("{line}: {error}")).settings.dns01.unwrap()
    }

    fn update(server: &str, key: &str, zone: Option<&str>, ttl: u32) -> Way {
        let (server, zone) = (server.into(), zone.map(String::from));
        Way::Rfc2136(Rfc2136 { server, key: SecretFile::at(key), zone, ttl })
    }

    fn hook(kind: HookKind, words: &[&str], user: Option<&str>, env: Option<&str>) -> Way {
        let words = words.iter().map(ToString::to_string).collect();
        Way::Hook(Hook { kind, words, user: user.map(SecretFile::at), env: env.map(SecretFile::at) })
    }

    #[test]
    fn the_first_word_chooses_the_way() {
        use HookKind::{AcmeSh, Certbot, Dehydrated, HttpReq, Lego};
        let url = |url: &str| Way::AcmeDns(url.into());
        for (args, expected) in [
            ("rfc2136 ns.a.test k.key", update("ns.a.test", "/srv/k.key", None, 60)),
            ("rfc2136 [::1]:54 /k ttl=0 zone=A.test.", update("[::1]:54", "/k", Some("a.test"), 0)),
            ("rfc2136 127.0.0.1:53 '/a b=c' ttl=86400", update("127.0.0.1:53", "/a b=c", None, 86_400)),
            ("acme-dns https://auth.a.test/", url("https://auth.a.test")),
            ("acme-dns http://[::1]:8053/x/", url("http://[::1]:8053/x")),
            ("responder", Way::Responder),
            (" responder  ", Way::Responder),
            ("hook:lego /bin/x", hook(Lego, &["/bin/x"], None, None)),
            ("hook:lego lego-exec env=x.env", hook(Lego, &["lego-exec"], None, Some("/srv/x.env"))),
            ("hook:dehydrated hooks/x.sh", hook(Dehydrated, &["/srv/hooks/x.sh"], None, None)),
            ("hook:certbot /bin/a \"/bin/b c\"", hook(Certbot, &["/bin/a", "/bin/b c"], None, None)),
            (
                "hook:acme.sh /x/acme.sh dns_cf env=/e",
                hook(AcmeSh, &["/x/acme.sh", "dns_cf"], None, Some("/e")),
            ),
            ("hook:httpreq https://x.test/", hook(HttpReq, &["https://x.test"], None, None)),
            ("hook:httpreq https://x.test u", hook(HttpReq, &["https://x.test"], Some("/srv/u"), None)),
        ] {
            assert_eq!(way(args), Some(expected), "{args}");
        }
        for line in ["/bin/rfc2136 a", "RFC2136 a b", "rfc2163 a b", "acme-dns.sh x", "responders", "hook x"]
        {
            assert_eq!(way(line), Some(Way::Command(Command { line: line.into(), version: 1 })));
        }
        assert_eq!(way(""), None);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_form_it_should_have() {
        let rfc2136 = "Write: MDChallengeDns01 rfc2136 SERVER[:PORT] KEYFILE [zone=ZONE] [ttl=SECONDS]";
        for (args, fault, form) in [
            ("rfc2136", "an argument is missing", rfc2136),
            ("rfc2136 ns.a.test", "an argument is missing", rfc2136),
            ("rfc2136 ns.a.test zone=a.test", "an argument is missing", rfc2136),
            ("rfc2136 ns.a.test \"\" ttl=1", "an argument is missing", rfc2136),
            (
                "rfc2136 ::1 /k",
                "'::1' is not a server: it has the form HOST, HOST:PORT or, with an IPv6",
                rfc2136,
            ),
            ("rfc2136 ns.a.test:0 /k", "'ns.a.test:0' is not a server", rfc2136),
            (
                "rfc2136 ns.a.test /k zone=a..test",
                "zone=: 'a..test' is not a domain name: it has an empty",
                rfc2136,
            ),
            ("rfc2136 ns.a.test /k zone=*.a.test", "zone=: '*.a.test' is a wildcard", rfc2136),
            ("rfc2136 ns.a.test /k zone=10.0.0.1", "zone=: '10.0.0.1' is a wildcard or an address", rfc2136),
            ("rfc2136 ns.a.test /k zone=", "'zone=' needs a value, and once only", rfc2136),
            ("rfc2136 ns.a.test /k ttl=1 ttl=1", "'ttl=' needs a value, and once only", rfc2136),
            ("rfc2136 ns.a.test /k ttl=86401", "ttl=86401 is not a number from 0 to 86400", rfc2136),
            ("rfc2136 ns.a.test /k ttl=-1", "ttl=-1 is not a number", rfc2136),
            ("rfc2136 ns.a.test /k name=x", "'name=' is not known", rfc2136),
            ("rfc2136 ns.a.test /k a.test", "'a.test' is one argument too many", rfc2136),
            ("acme-dns", "an argument is missing", "MDChallengeDns01 acme-dns URL"),
            ("acme-dns ftp://x.test", "ftp://x.test cannot be used: the scheme is not http", "acme-dns URL"),
            ("acme-dns https://x.test:0", "the port is 0", "acme-dns URL"),
            ("acme-dns https://x.test/?a", "it has a query", "acme-dns URL"),
            ("acme-dns https://x.test y", "'y' is one argument too many", "acme-dns URL"),
            ("responder x", "'x' is one argument too many", "MDChallengeDns01 responder"),
            ("hook:lego", "an argument is missing", "hook:lego PROGRAM [env=FILE]"),
            ("hook:lego env=/e", "an argument is missing", "hook:lego PROGRAM [env=FILE]"),
            ("hook:lego /x present", "'present' is one argument too many", "hook:lego PROGRAM [env=FILE]"),
            ("hook:lego /x evn=/e", "'evn=' is not known", "hook:lego PROGRAM [env=FILE]"),
            ("hook:certbot /a", "an argument is missing", "hook:certbot AUTH_PROGRAM CLEANUP_PROGRAM"),
            ("hook:acme.sh /a cf", "'cf' is no API of acme.sh", "hook:acme.sh PROGRAM dns_API [env=FILE]"),
            ("hook:acme.sh /a dns_c;f", "'dns_c;f' is no API", "hook:acme.sh PROGRAM"),
            ("hook:httpreq", "an argument is missing", "hook:httpreq URL [USERFILE]"),
            ("hook:httpreq x.test", "x.test cannot be used", "hook:httpreq URL [USERFILE]"),
            ("hook:httpreq https://x.test env=/e", "env= is for hooks that are programs", "hook:httpreq URL"),
            (
                "hook:httpreq https://x.test /u env=/e",
                "env= is for hooks that are programs",
                "hook:httpreq URL",
            ),
            (
                "hook:lgeo /x",
                "'hook:lgeo' is not known",
                "hook:lego, hook:dehydrated, hook:certbot, hook:acme.sh, hook:httpreq",
            ),
        ] {
            let told = read(&format!("MDChallengeDns01 {args}")).unwrap_err();
            assert!(told.contains(fault), "{args}: {told}");
            assert!(told.contains(form), "{args}: {told}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_told() {
        for args in ["acme-dns https://u:hunter2@x.test", "hook:httpreq https://u:hunter2@x.test/"] {
            let told = read(&format!("MDChallengeDns01 {args}")).unwrap_err();
            assert!(told.contains("must not have a user or password") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn propagation_is_off_or_takes_a_time_and_servers_may_be_named() {
        let of = |args: &str| {
            read(&format!("MDDnsPropagation {args}")).map(|s| s.settings.dns01_propagation.unwrap())
        };
        let after = |seconds: Option<u64>, servers: &[&str]| Propagation {
            limit: seconds.map(Duration::from_secs),
            servers: servers.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(of("off"), Ok(after(None, &[])));
        assert_eq!(of("OFF 10.0.0.1"), Ok(after(None, &["10.0.0.1"])));
        assert_eq!(of("90"), Ok(after(Some(90), &[])));
        assert_eq!(of("5mi ns.a.test [::1]:54"), Ok(after(Some(300), &["ns.a.test", "[::1]:54"])));
        for (args, fault) in [
            ("", "a duration is missing. Write: MDDnsPropagation off|DURATION [SERVER…]"),
            ("0", "MDDnsPropagation must be 'off', or one second or more"),
            ("on", "unrecognized duration format"),
            ("off ::1", "'::1' is not a server"),
            ("60 a.test A.test", "the server 'A.test' stands there twice"),
        ] {
            assert!(of(args).unwrap_err().starts_with(fault), "{args}");
        }
    }
}
