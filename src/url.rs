// SPDX-License-Identifier: Apache-2.0
//! URLs of http and https (RFC 3986 §3, RFC 9110 §4.2): which server a request goes to. Hosts are in normal
//! form, so that origins can be compared.
//!
//! Refuses what parsers disagree about: a backslash, white space, percent signs or letters beyond ASCII in
//! the authority. Nothing is resolved, decoded or repaired. Imports nothing of this crate; a test in `http`
//! holds that the HTTP client sees the same host and port.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text is no URL that a request can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the scheme is not http or https")]
    Scheme,
    #[error("the host is missing")]
    NoHost,
    #[error("the port is not a number up to 65535")]
    Port,
    #[error("it has characters before its path that have to be written in another way")]
    Encoding,
    #[error("it is not a URL")]
    Invalid,
}

/// An absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url<'t> {
    pub origin: Origin,
    /// A user or a password stands before the host.
    pub has_user: bool,
    /// As written.
    path_and_query: &'t str,
}

/// Scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub is_https: bool,
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// In lower case. A final dot stays.
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'t> Url<'t> {
    pub fn parse(text: &'t str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::Scheme)?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme);
        }
        let rest = rest.strip_prefix("//").ok_or(UrlError::NoHost)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = split_port(server)?;
        let host = Host::parse(host);
        // What is wrong with the port is worse than letters that can be written otherwise.
        let port = match host {
            Ok(_) | Err(UrlError::Encoding) => port_number(port)?,
            Err(error) => return Err(error),
        };
        if user.bytes().any(|b| b == b'\\' || !b.is_ascii_graphic()) {
            return Err(UrlError::Encoding);
        }
        let port = port.unwrap_or(default_port(is_https));
        Ok(Url {
            origin: Origin { is_https, host: host?, port },
            has_user: !matches!(user, "" | ":"),
            path_and_query: rest.split('#').next().unwrap_or_default(),
        })
    }

    pub fn host(&self) -> &Host {
        &self.origin.host
    }

    /// What a request line has after the authority, with what cannot stand there percent-encoded.
    pub fn target(&self) -> String {
        let mut target = String::with_capacity(self.path_and_query.len() + 1);
        if !self.path_and_query.starts_with('/') {
            target.push('/');
        }
        for byte in self.path_and_query.bytes() {
            match byte {
                b'"' | b'<' | b'>' | b'`' | b'{' | b'}' => percent(&mut target, byte),
                byte if byte.is_ascii_graphic() => target.push(char::from(byte)),
                byte => percent(&mut target, byte),
            }
        }
        target
    }
}

fn percent(text: &mut String, byte: u8) {
    let _ = write!(text, "%{byte:02X}");
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

/// The host, an address of IPv6 in its brackets, and what follows the colon behind it.
fn split_port(server: &str) -> Result<(&str, &str), UrlError> {
    let end = match server.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or(UrlError::Invalid)? + 2,
        None => server.find(':').unwrap_or(server.len()),
    };
    let (host, port) = server.split_at(end);
    match port.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if port.is_empty() => Ok((host, "")),
        None => Err(UrlError::Invalid),
    }
}

/// `None`: that of the scheme.
fn port_number(text: &str) -> Result<Option<u16>, UrlError> {
    let is_number = |text: &str| text.rsplit(':').next().is_some_and(|last| last.parse::<i64>().is_ok());
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(port)),
        _ if is_number(text) => Err(UrlError::Port),
        _ => Err(UrlError::Invalid),
    }
}

impl Origin {
    /// Host and port as a URL has them: without the port of the scheme.
    pub fn authority(&self) -> String {
        match self.port == default_port(self.is_https) {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::NoHost);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse().map(Host::V6).map_err(|_| UrlError::Invalid);
        }
        if text
            .bytes()
            .any(|b| b.is_ascii_control() || matches!(b, b' ' | b'<' | b'>' | b'[' | b']' | b'^' | b'|'))
        {
            return Err(UrlError::Invalid);
        }
        if !text.is_ascii() || text.bytes().any(|b| matches!(b, b'%' | b'\\' | b'"' | b'`' | b'{' | b'}')) {
            return Err(UrlError::Encoding);
        }
        match number(text) {
            None => Ok(Host::Name(text.to_ascii_lowercase())),
            Some(address) => address.map(Host::V4).ok_or(UrlError::Invalid),
        }
    }

    /// On this machine, whatever the port.
    pub fn is_local(&self) -> bool {
        match self {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
        }
    }
}

/// A host whose last label is a number has to be an address of IPv4: one to four numbers, decimal, octal
/// (`0…`) or hexadecimal (`0x…`), as `getaddrinfo` reads them. `None`: it is a name; inner `None`: it is
/// neither.
fn number(text: &str) -> Option<Option<Ipv4Addr>> {
    let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let (last, front) = labels.split_last()?;
    let is_decimal = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if !is_decimal && !hex(last).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
        return None;
    }
    let address = || {
        let room = 32_u32.checked_sub(8 * u32::try_from(front.len()).ok()?).filter(|room| *room > 0)?;
        let last = part(last).filter(|last| u64::from(*last) < 1 << room)?;
        let mut high = 0;
        for label in front {
            high = high << 8 | part(label).filter(|octet| *octet < 256)?;
        }
        Some(Ipv4Addr::from_bits(high.checked_shl(room).unwrap_or_default() | last))
    };
    Some(address())
}

fn hex(label: &str) -> Option<&str> {
    label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"))
}

fn part(label: &str) -> Option<u32> {
    let (digits, radix) = match hex(label) {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if label.len() > 1 && label.starts_with('0') => (label, 8),
        None => (label, 10),
    };
    // `from_str_radix` would take a sign.
    let is_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| is_digits)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            // Folders of accounts are named so: in hexadecimal to the end.
            Host::V6(address) => match address.to_ipv4_mapped() {
                Some(_) => {
                    let [.., high, low] = address.segments();
                    write!(f, "[::ffff:{high:x}:{low:x}]")
                }
                None => write!(f, "[{address}]"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<(String, u16, String), UrlError> {
        Url::parse(text).map(|url| {
            let scheme = if url.origin.is_https { "https" } else { "http" };
            (
                format!("{scheme}://{}{}", url.origin.authority(), url.target()),
                url.origin.port,
                url.host().to_string(),
            )
        })
    }

    /// Normal forms are those of the URL Standard: accounts lie in folders with the host in their name, and
    /// the `url` crate, which was used before, wrote the same.
    #[test]
    fn a_url_is_brought_into_its_normal_form() {
        for (text, normal, port, host) in [
            ("https://ca.test/dir", "https://ca.test/dir", 443, "ca.test"),
            ("HTTPS://CA.Test/Dir", "https://ca.test/Dir", 443, "ca.test"),
            ("https://ca.test", "https://ca.test/", 443, "ca.test"),
            ("https://ca.test?q#f", "https://ca.test/?q", 443, "ca.test"),
            ("https://ca.test#f", "https://ca.test/", 443, "ca.test"),
            ("https://ca.test:443/x", "https://ca.test/x", 443, "ca.test"),
            ("http://ca.test:080/", "http://ca.test/", 80, "ca.test"),
            ("http://ca.test:443/", "http://ca.test:443/", 443, "ca.test"),
            ("https://ca.test:/", "https://ca.test/", 443, "ca.test"),
            ("https://ca.test:0/", "https://ca.test:0/", 0, "ca.test"),
            ("https://ca.test./", "https://ca.test./", 443, "ca.test."),
            ("https://ca_1..test/", "https://ca_1..test/", 443, "ca_1..test"),
            ("https://XN--BCHER-KVA.test/", "https://xn--bcher-kva.test/", 443, "xn--bcher-kva.test"),
            ("https://a!$&'()*+,;=~.test/", "https://a!$&'()*+,;=~.test/", 443, "a!$&'()*+,;=~.test"),
            ("https://u:p@ca.test/", "https://ca.test/", 443, "ca.test"),
            ("https://ca.test:443@evil.test/", "https://evil.test/", 443, "evil.test"),
            ("https://a@b@ca.test/", "https://ca.test/", 443, "ca.test"),
            ("https://evil.test#@ca.test/", "https://evil.test/", 443, "evil.test"),
            ("https://evil.test?@ca.test/", "https://evil.test/?@ca.test/", 443, "evil.test"),
            ("https://127.0.0.1:14000/dir", "https://127.0.0.1:14000/dir", 14000, "127.0.0.1"),
            ("http://127.1/", "http://127.0.0.1/", 80, "127.0.0.1"),
            ("http://0x7f.1/", "http://127.0.0.1/", 80, "127.0.0.1"),
            ("http://0x7F000001/", "http://127.0.0.1/", 80, "127.0.0.1"),
            ("http://2130706433/", "http://127.0.0.1/", 80, "127.0.0.1"),
            ("http://017700000001/", "http://127.0.0.1/", 80, "127.0.0.1"),
            ("http://1.65535/", "http://1.0.255.255/", 80, "1.0.255.255"),
            ("http://4294967295/", "http://255.255.255.255/", 80, "255.255.255.255"),
            ("http://0x/", "http://0.0.0.0/", 80, "0.0.0.0"),
            ("http://1.2.3.4./", "http://1.2.3.4/", 80, "1.2.3.4"),
            ("http://1.a/", "http://1.a/", 80, "1.a"),
            ("https://[::1]:8443/", "https://[::1]:8443/", 8443, "[::1]"),
            ("https://[2001:DB8:0:0:0::1]/", "https://[2001:db8::1]/", 443, "[2001:db8::1]"),
            ("https://[1:0:0:2:0:0:0:3]/", "https://[1:0:0:2::3]/", 443, "[1:0:0:2::3]"),
            ("https://[::ffff:1.2.3.4]/", "https://[::ffff:102:304]/", 443, "[::ffff:102:304]"),
            ("https://[::1.2.3.4]/", "https://[::102:304]/", 443, "[::102:304]"),
            ("http://o.test/a b?\"<>`{}ü", "http://o.test/a%20b?%22%3C%3E%60%7B%7D%C3%BC", 80, "o.test"),
            ("http://o.test/a%2Fb/%zz|^[]\\", "http://o.test/a%2Fb/%zz|^[]\\", 80, "o.test"),
        ] {
            let expected = Ok((normal.to_string(), port, host.to_string()));
            assert_eq!(parsed(text), expected, "{text}");
            assert_eq!(parsed(normal), expected, "the normal form of {text} is its own");
        }
    }

    /// The request goes out as it is written: dots stay, as they always did without a proxy.
    #[test]
    fn a_path_is_not_rewritten() {
        for path in ["/a/../b", "/a/./b", "/..//../x", "/%2e%2e/x", "/?a'b"] {
            assert_eq!(Url::parse(&format!("https://ca.test{path}")).unwrap().target(), path);
        }
    }

    #[test]
    fn hostile_and_broken_urls_are_refused() {
        use UrlError::{Encoding, Invalid, NoHost, Port, Scheme};
        for (text, error) in [
            ("", Scheme),
            ("ca.test", Scheme),
            ("//ca.test/", Scheme),
            ("ftp://ca.test/", Scheme),
            (" https://ca.test/", Scheme),
            ("ht\ttps://ca.test/", Scheme),
            ("javascript:alert(1)", Scheme),
            ("https:ca.test", NoHost),
            ("https:/ca.test/", NoHost),
            ("https:///ca.test/", NoHost),
            ("https:\\\\ca.test\\x", NoHost),
            ("https://", NoHost),
            ("https://:80/", NoHost),
            ("https://u@/", NoHost),
            ("https://ca.test:65536/", Port),
            ("https://ca.test:-1/", Port),
            ("https://ca.test:+80/", Port),
            ("https://ca.test:80:90/", Port),
            ("https://ca.test:x/", Invalid),
            ("https://ca.test\\@evil.test/", Encoding),
            ("https://evil.test\\.ca.test/", Encoding),
            ("https://ca.test\\x", Encoding),
            ("https://u\\@ca.test/", Encoding),
            ("https://ü@ca.test/", Encoding),
            ("https://bücher.test/", Encoding),
            ("https://ca.test\u{3002}evil.test/", Encoding),
            ("https://\u{ff21}.test/", Encoding),
            ("https://ca.test\u{ad}/", Encoding),
            ("https://%63a.test/", Encoding),
            ("https://ca.test%2fevil.test/", Encoding),
            ("https://bücher.test:99999/", Port),
            ("https://ca\t.test/", Invalid),
            ("https://ca .test/", Invalid),
            ("https://ca\0.test/", Invalid),
            ("https://a<b/", Invalid),
            ("https://a|b/", Invalid),
            ("https://1.2.3.4.5/", Invalid),
            ("https://256.1.1.1/", Invalid),
            ("https://4294967296/", Invalid),
            ("https://1..2/", Invalid),
            ("https://a.1/", Invalid),
            ("https://08.1/", Invalid),
            ("https://0x999999999/", Invalid),
            ("https://::1/", NoHost),
            ("https://[::g]/", Invalid),
            ("https://[::1/", Invalid),
            ("https://[::1]x/", Invalid),
            ("https://[::1]@x]/", Invalid),
            ("https://[fe80::1%25eth0]/", Invalid),
            ("https://[]/", Invalid),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_user_is_seen_and_one_that_is_empty_is_none() {
        let has_user = |text: &str| Url::parse(text).unwrap().has_user;
        for text in
            ["https://u@ca.test/", "https://u:p@ca.test/", "https://:p@ca.test/", "https://u:@ca.test/"]
        {
            assert!(has_user(text), "{text}");
        }
        for text in ["https://ca.test/", "https://@ca.test/", "https://:@ca.test/", "https://ca.test/u@x"] {
            assert!(!has_user(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_its_own_normal_form(rest in "[a-z0-9:.@/?#%\\[\\]x ü\\\\]{0,24}", is_https: bool) {
            let text = format!("http{}://{rest}", if is_https { "s" } else { "" });
            if let Ok((normal, port, host)) = parsed(&text) {
                prop_assert_eq!(parsed(&normal), Ok((normal.clone(), port, host)));
            }
        }
    }
}
