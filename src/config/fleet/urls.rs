// SPDX-License-Identifier: Apache-2.0
//! The URLs of an engine: `etcd://HOST[:PORT][/PREFIX]`, `etcds://`, `redis://`, `rediss://`. All of a directive have
//! one scheme and one prefix. Refuses users, passwords, queries and numbers of databases. No text made here
//! quotes what stands before a host.

use super::super::Error;
use super::values::{Scheme, Server};
use crate::url::{Host, Url, UrlError};

/// In braces: a cluster of Redis keeps all keys of a prefix on one node then.
pub const DEFAULT_PREFIX: &str = "{mod_md}";
/// Bytes of a prefix.
const PREFIX_MAX: usize = 100;
/// Far more than an engine has.
const SERVERS_MAX: usize = 16;
const FORM: &str =
    "Write: MDFleet SCHEME://HOST[:PORT][/PREFIX]…, with the scheme etcd, etcds, redis or rediss";

/// What the URLs of a directive say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Engine {
    pub scheme: Scheme,
    pub is_tls: bool,
    pub servers: Vec<Server>,
    pub prefix: String,
}

/// Reads all URLs of a directive.
pub(super) fn engine(args: &[&str]) -> Result<Engine, Error> {
    let Some((first, others)) = args.split_first() else {
        return Err(Error(format!("a URL is missing. {FORM}")));
    };
    let mut engine = single(first)?;
    if others.len() >= SERVERS_MAX {
        return Err(Error(format!(
            "MDFleet has more than {SERVERS_MAX} URLs: name the members of one engine"
        )));
    }
    for other in others {
        let Engine { scheme, is_tls, mut servers, prefix } = single(other)?;
        if (scheme, is_tls) != (engine.scheme, engine.is_tls) {
            return Err(Error(format!(
                "MDFleet has URLs with {}:// and with {}://: all are of one engine and have one scheme",
                engine.scheme.word(engine.is_tls),
                scheme.word(is_tls)
            )));
        }
        if prefix != engine.prefix {
            return Err(Error(format!(
                "MDFleet has URLs with the prefix '{}' and with '{prefix}': write the same one at all",
                engine.prefix
            )));
        }
        if let Some(twice) = servers.iter().find(|server| engine.servers.contains(server)) {
            return Err(Error(format!("MDFleet has the server {twice} twice: remove one of them")));
        }
        engine.servers.append(&mut servers);
    }
    Ok(engine)
}

/// One URL.
fn single(text: &str) -> Result<Engine, Error> {
    let (scheme, rest) =
        text.split_once("://").ok_or_else(|| Error(format!("an argument is no URL. {FORM}")))?;
    let (scheme, is_tls, port) = match scheme.to_ascii_lowercase().as_str() {
        "etcd" => (Scheme::Etcd, false, 2379),
        "etcds" => (Scheme::Etcd, true, 2379),
        "redis" => (Scheme::Redis, false, 6379),
        "rediss" => (Scheme::Redis, true, 6379),
        _ => return Err(Error(format!("the scheme of a URL is not known. {FORM}"))),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(Error::new(
            "a URL of MDFleet has a user or a password, which everybody could read in the configuration: write \
             'MDFleetUser USER FILE' instead, with the password in FILE",
        ));
    }
    let server = server(authority, port)?;
    Ok(Engine { scheme, is_tls, servers: vec![server], prefix: prefix(path, scheme)? })
}

fn server(authority: &str, port: u16) -> Result<Server, Error> {
    let fault =
        |fault: &str| Error(format!("the server '{authority}' of MDFleet has no usable {fault}. {FORM}"));
    // With both schemes: where there is no port, they differ.
    let parsed = [format!("http://{authority}/"), format!("https://{authority}/")];
    let [plain, tls] = parsed.each_ref().map(|url| Url::parse(url));
    let (plain, tls) = match (plain, tls) {
        (Ok(plain), Ok(tls)) => (plain.origin, tls.origin),
        (Err(UrlError::Port), _) => return Err(fault("port")),
        _ => return Err(fault("host")),
    };
    let port = if plain.port == tls.port { plain.port } else { port };
    let host = match plain.host {
        Host::Name(name) => name,
        Host::V4(address) => address.to_string(),
        Host::V6(address) => address.to_string(),
    };
    if port == 0 { Err(fault("port")) } else { Ok(Server { host, port }) }
}

/// What the keys begin with. `path`: with its slash.
fn prefix(path: &str, scheme: Scheme) -> Result<String, Error> {
    let prefix = match path.strip_prefix('/').unwrap_or(path).strip_suffix('/') {
        _ if path.is_empty() || path == "/" => return Ok(DEFAULT_PREFIX.into()),
        Some(prefix) => prefix,
        None => path.strip_prefix('/').unwrap_or(path),
    };
    let fault = |fault: &str| Error(format!("the prefix '{prefix}' of MDFleet {fault}"));
    if path.contains(['?', '#']) {
        return Err(Error::new(
            "a URL of MDFleet has a '?' or a '#': only a prefix stands behind the server",
        ));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/{}".contains(&byte);
    if !prefix.bytes().all(is_plain) {
        return Err(fault("has characters other than letters, digits and '-_.:/{}'"));
    }
    if prefix.split('/').any(str::is_empty) {
        return Err(fault("has an empty part: write one slash between two parts"));
    }
    if prefix.len() > PREFIX_MAX {
        return Err(fault(&format!("is longer than {PREFIX_MAX} bytes")));
    }
    if scheme == Scheme::Redis && prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault(
            "is the number of a database in other programs. Here keys begin with it, always in database 0: write a \
             name",
        ));
    }
    Ok(prefix.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16) -> Server {
        Server { host: host.into(), port }
    }

    #[test]
    fn urls_name_the_servers_of_one_engine() {
        let read = |line: &str| engine(&line.split(' ').collect::<Vec<_>>()).unwrap();
        for (line, scheme, is_tls, servers, prefix) in [
            ("etcd://h", Scheme::Etcd, false, vec![server("h", 2379)], DEFAULT_PREFIX),
            ("ETCDS://H:1/", Scheme::Etcd, true, vec![server("h", 1)], DEFAULT_PREFIX),
            ("redis://127.0.0.1/a", Scheme::Redis, false, vec![server("127.0.0.1", 6379)], "a"),
            ("rediss://[::1]:80/{a}/B-1/", Scheme::Redis, true, vec![server("::1", 80)], "{a}/B-1"),
            ("redis://h:443/0a", Scheme::Redis, false, vec![server("h", 443)], "0a"),
            ("etcd://h/7", Scheme::Etcd, false, vec![server("h", 2379)], "7"),
            (
                "etcds://a/x etcds://b:7/x etcds://[::2]/x",
                Scheme::Etcd,
                true,
                vec![server("a", 2379), server("b", 7), server("::2", 2379)],
                "x",
            ),
        ] {
            assert_eq!(read(line), Engine { scheme, is_tls, servers, prefix: prefix.into() }, "{line}");
        }
    }

    #[test]
    fn what_is_no_url_of_an_engine_is_refused_with_the_reason() {
        let many = (0..17).map(|i| format!("etcd://h{i}")).collect::<Vec<_>>().join(" ");
        let long = format!("etcd://h/{}", "x".repeat(101));
        for (line, reason) in [
            ("", "an argument is no URL. Write: MDFleet"),
            ("etcd", "an argument is no URL. Write: MDFleet"),
            ("http://h", "the scheme of a URL is not known"),
            ("redis+tls://h", "the scheme of a URL is not known"),
            ("etcd://", "the server '' of MDFleet has no usable host"),
            ("etcd:///p", "the server '' of MDFleet has no usable host"),
            ("etcd://h:x", "the server 'h:x' of MDFleet has no usable host"),
            ("etcd://h:0", "the server 'h:0' of MDFleet has no usable port"),
            ("etcd://h:65536", "the server 'h:65536' of MDFleet has no usable port"),
            ("etcd://[::g]", "the server '[::g]' of MDFleet has no usable host"),
            ("etcd://a b", "an argument is no URL"),
            ("redis://:hunter2@h", "write 'MDFleetUser USER FILE' instead"),
            ("redis://user:hunter2@h/x", "write 'MDFleetUser USER FILE' instead"),
            ("redis://h/0", "the prefix '0' of MDFleet is the number of a database"),
            ("redis://h/x*", "the prefix 'x*' of MDFleet has characters other than"),
            ("redis://h/a//b", "the prefix 'a//b' of MDFleet has an empty part"),
            ("redis://h//", "the prefix '' of MDFleet has an empty part"),
            ("redis://h/x?db=1", "a URL of MDFleet has a '?' or a '#'"),
            ("redis://h#x", "a URL of MDFleet has a '?' or a '#'"),
            (&long, "is longer than 100 bytes"),
            ("etcd://a etcds://b", "URLs with etcd:// and with etcds://: all are of one engine"),
            ("etcd://a redis://b", "URLs with etcd:// and with redis://: all are of one engine"),
            ("etcd://a etcd://b/x", "the prefix '{mod_md}' and with 'x': write the same one"),
            ("etcd://a etcd://A:2379", "the server a:2379 twice"),
            (&many, "more than 16 URLs"),
        ] {
            let error = engine(&line.split(' ').collect::<Vec<_>>()).unwrap_err().0;
            assert!(error.contains(reason) && !error.contains("hunter2"), "{line}: {error}");
        }
        assert!(engine(&[]).unwrap_err().0.starts_with("a URL is missing. Write: "));
    }
}
