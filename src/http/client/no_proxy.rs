// SPDX-License-Identifier: Apache-2.0
//! The proxy variables of the environment (`https_proxy`, `no_proxy`, …), read as curl and therefore the C
//! module read them.

use std::net::IpAddr;

/// The proxy for URLs of this scheme. `http_proxy` in capital letters is left alone: in a CGI it is a header
/// of the client.
pub(super) fn proxy_for(scheme: &str, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let names: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    names.iter().find_map(|name| env(name).filter(|value| !value.is_empty()))
}

/// The hosts of `no_proxy`, reached without a proxy even where `MDHttpProxy` configures one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    All,
    /// A host, and those below it.
    Name(String),
    Network(IpAddr, u32),
}

impl NoProxy {
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Self {
        let list = ["no_proxy", "NO_PROXY"].iter().find_map(|name| env(name).filter(|list| !list.is_empty()));
        NoProxy::parse(&list.unwrap_or_default())
    }

    fn parse(list: &str) -> Self {
        let list = list.trim();
        if list == "*" {
            return NoProxy(vec![Entry::All]);
        }
        NoProxy(
            list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).filter_map(Entry::parse).collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `host`: without its port.
    pub fn has(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        self.0.iter().any(|entry| match (entry, address) {
            (Entry::All, _) => true,
            (Entry::Network(network, bits), Some(address)) => is_in(address, *network, *bits),
            (Entry::Name(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        })
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        let (address, bits) = match entry.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (entry, None),
        };
        match address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => {
                let longest = if address.is_ipv4() { 32 } else { 128 };
                Some(Entry::Network(address, bits.unwrap_or(longest)))
                    .filter(|_| bits.is_none_or(|b| b <= longest))
            }
            Err(_) if bits.is_some() => None,
            Err(_) => {
                let name = entry.strip_prefix('.').unwrap_or(entry);
                let name = name.strip_suffix('.').unwrap_or(name);
                (!name.is_empty()).then(|| Entry::Name(name.to_ascii_lowercase()))
            }
        }
    }
}

/// Whether the first `bits` of both are the same.
fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let differing = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => u128::from(a.to_bits() ^ n.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(n)) => a.to_bits() ^ n.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(values: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    }

    #[test]
    fn hosts_are_exempt_as_curl_has_it() {
        for (list, host, is_exempt) in [
            ("a.test", "a.test", true),
            ("a.test", "A.TEST", true),
            ("A.test", "a.test.", true),
            ("a.test", "www.a.test", true),
            ("a.test", "wwwa.test", false),
            (".a.test", "a.test", true),
            (".a.test", "www.a.test", true),
            ("a.test.", "a.test", true),
            ("b.test,a.test", "a.test", true),
            ("b.test, a.test", "a.test", true),
            ("b.test a.test", "a.test", true),
            ("b.test ,\ta.test", "a.test", true),
            (", ,", "a.test", false),
            ("*", "a.test", true),
            (" * ", "10.1.2.3", true),
            ("*.a.test", "www.a.test", false),
            ("a.test:443", "a.test", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("x, 10.1.2.0/23", "10.1.3.255", true),
            ("10.1.2.0/23", "10.1.4.0", false),
            ("0.0.0.0/0", "10.1.4.0", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/8", "10.a.test", false),
            ("::1", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("::/0", "10.1.2.3", false),
        ] {
            assert_eq!(NoProxy::parse(list).has(host), is_exempt, "{list} {host}");
        }
        assert!(NoProxy::parse("").is_empty());
    }

    #[test]
    fn the_names_in_small_letters_come_first() {
        let list = |values: &[(&str, &str)]| NoProxy::from_env(env(values));
        assert_eq!(list(&[("NO_PROXY", "a")]), NoProxy::parse("a"));
        assert_eq!(list(&[("NO_PROXY", "a"), ("no_proxy", "b")]), NoProxy::parse("b"));
        assert_eq!(list(&[("NO_PROXY", "a"), ("no_proxy", "")]), NoProxy::parse("a"));
        let proxy = |scheme, values: &[(&str, &str)]| proxy_for(scheme, env(values));
        let all = [("https_proxy", "s"), ("HTTPS_PROXY", "S"), ("http_proxy", "h"), ("HTTP_PROXY", "H")];
        assert_eq!(proxy("https", &all).unwrap(), "s");
        assert_eq!(proxy("https", &all[1..]).unwrap(), "S");
        assert_eq!(proxy("https", &all[2..]), None);
        assert_eq!(proxy("http", &all).unwrap(), "h");
        assert_eq!(proxy("http", &all[3..]), None);
        assert_eq!(proxy("http", &[("ALL_PROXY", "a")]).unwrap(), "a");
        assert_eq!(proxy("https", &[("https_proxy", ""), ("ALL_PROXY", "a")]).unwrap(), "a");
    }
}
