// SPDX-License-Identifier: Apache-2.0
//! What `add`, `update` and `acme newreg` refuse: names, URLs and contacts. Pure; messages are the C module's,
//! by whose ends scripts tell them apart.

use super::document;
use crate::names;
use serde_json::Value;

/// The names as they are kept: in lower case, each once.
pub fn folded(names: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()) {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// Refuses the names of a managed domain that are no host names.
pub fn names(md: &str, all: &[String]) -> Result<(), String> {
    match all.iter().find(|name| !is_host_name(name)) {
        Some(wrong) => Err(format!("md {md} with invalid domain name: {wrong}")),
        None => Ok(()),
    }
}

/// Letters, digits, `-` and `.`, with one inner dot at least; `*` as the leftmost label alone.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let base = name.strip_prefix("*.").unwrap_or(name);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    base.bytes().all(is_allowed) && name.contains('.') && names::normalize(name).is_ok()
}

/// Refuses names that another managed domain has.
pub fn overlap(md: &str, all: &[String], stored: &[Value]) -> Result<(), String> {
    for other in stored.iter().filter(|other| document::name(other) != md) {
        let theirs = document::names(other);
        if let Some(shared) = all.iter().find(|name| theirs.contains(name)) {
            return Err(format!("md {md} shares domain '{shared}' with md {}", document::name(other)));
        }
    }
    Ok(())
}

/// Refuses what is no URL of a CA or of its terms.
pub fn url(md: &str, url: &str) -> Result<(), String> {
    match uri_fault(url) {
        Some(fault) => Err(format!("CA url for {md} invalid ({fault}): {url}")),
        None => Ok(()),
    }
}

fn uri_fault(uri: &str) -> Option<&'static str> {
    if uri.contains(char::is_whitespace) {
        return Some("whitespace in uri");
    }
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    if !scheme.is_some_and(is_scheme) {
        return Some("missing uri scheme");
    }
    has_bad_port(uri).then_some("invalid port")
}

fn has_bad_port(uri: &str) -> bool {
    let Some((_, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = authority.rsplit('@').next().unwrap_or_default();
    let port = match server.rsplit_once(']') {
        Some((_, after)) => after.strip_prefix(':'),
        None => server.split_once(':').map(|(_, port)| port),
    };
    port.is_some_and(|port| !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The contact as a URI: a plain address is one of mail.
pub fn contact(text: &str) -> String {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_uri = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if is_uri { text.to_string() } else { format!("mailto:{text}") }
}

/// What is wrong with a contact; those that are no mail are for the CA to judge.
pub fn contact_fault(uri: &str) -> Option<&'static str> {
    let address = uri.strip_prefix("mailto:")?;
    let (local, host) = match address.split_once('@') {
        _ if address.contains(char::is_whitespace) => return Some("whitespace in uri"),
        None => return Some("missing @"),
        Some(parts) => parts,
    };
    match () {
        () if host.contains('@') => Some("duplicate @"),
        () if local.is_empty() => Some("missing local part"),
        () if host.is_empty() => Some("missing hostname"),
        () if address.contains("..") => Some("double period"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_host_names_with_a_wildcard_on_the_left_alone() {
        for good in ["a.test", "A.Test", "*.wildcard.com", "xn--bcher-kva.example", "a.test.", "9.9"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in [
            "tld",
            "",
            "white space.com",
            "invalid.*.wildcard.com",
            "b\u{fc}cher.example",
            "a..test",
            "*.tld.*",
            "_a.test",
            ".",
            "tld.",
            "*.*.x.test",
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
        let text = names("a.test", &["a.test".into(), "tld".into()]).unwrap_err();
        assert_eq!(text, "md a.test with invalid domain name: tld");
        assert_eq!(folded(&["A.test.".into(), "b.test".into(), "a.TEST".into()]), ["a.test", "b.test"]);
    }

    #[test]
    fn a_name_belongs_to_one_managed_domain() {
        let stored = [json!({"name": "o.test", "domains": ["o.test", "x.test"]})];
        let text = overlap("a.test", &["a.test".into(), "x.test".into()], &stored).unwrap_err();
        assert_eq!(text, "md a.test shares domain 'x.test' with md o.test");
        assert!(overlap("o.test", &["o.test".into(), "x.test".into()], &stored).is_ok());
    }

    #[test]
    fn urls_and_contacts_are_refused_with_their_reasons() {
        for (text, fault) in [
            ("https://ca.test/dir", None),
            ("http://[::1]:14000/dir", None),
            ("no.schema/path", Some("missing uri scheme")),
            ("http://white space/path", Some("whitespace in uri")),
            ("http://bad.port:-1/path", Some("invalid port")),
            ("http://bad.port:66666/", Some("invalid port")),
        ] {
            assert_eq!(uri_fault(text), fault, "{text}");
        }
        for (text, fault) in [
            ("me@x.test", None),
            ("mailto:me@x.test", None),
            ("xmpp:me", None),
            ("no.at.char", Some("missing @")),
            ("with blank@test.com", Some("whitespace in uri")),
            ("missing.host@", Some("missing hostname")),
            ("@missing.localpart.de", Some("missing local part")),
            ("double..dot@test.com", Some("double period")),
            ("double@at@test.com", Some("duplicate @")),
        ] {
            assert_eq!(contact_fault(&contact(text)), fault, "{text}");
        }
    }
}
