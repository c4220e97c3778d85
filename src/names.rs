// SPDX-License-Identifier: Apache-2.0
//! DNS names: the normal form in which they are kept and compared, and the names that a wildcard covers.
//!
//! Names may be IP addresses (RFC 8738). Refuses names that could not be sent on the wire or that could leave
//! a folder of the store.

use std::net::IpAddr;

/// Why a text is no usable domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 253 characters")]
    TooLong,
    #[error("it has an empty label or one longer than 63 characters")]
    Label,
    #[error("it contains a character that is not allowed in a domain name")]
    Character,
    #[error("a wildcard can only be the whole first label")]
    Wildcard,
}

/// The lower-cased name, checked (RFC 1035 §2.3.1 with underscores, RFC 6125 §6.4.3 wildcards). A name
/// that passes is also a safe file name: no `/`, no NUL, no empty, `.` or `..`. IP literals pass, in the
/// spelling of RFC 5952; IPv6 may stand in brackets, as in a URL.
pub fn normalize(text: &str) -> Result<String, NameError> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 253 {
        return Err(NameError::TooLong);
    }
    if let Some(address) = address(&name) {
        return Ok(address.to_string());
    }
    let base = name.strip_prefix("*.").unwrap_or(&name);
    if base.contains('*') {
        return Err(NameError::Wildcard);
    }
    if !base.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(NameError::Character);
    }
    if base.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(NameError::Label);
    }
    Ok(name)
}

fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

pub fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// The address whose reverse mapping this name is (RFC 1035 §3.5, RFC 3596 §2.5). `name` is in normal form.
pub fn address_of_reverse(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let reversed: Vec<&str> = octets.rsplit('.').collect();
        return reversed.join(".").parse().ok().map(IpAddr::V4);
    }
    let nibbles: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    let value = u128::from_str_radix(&nibbles.concat(), 16).ok()?;
    Some(IpAddr::V6(value.into()))
}

pub fn is_wildcard(name: &str) -> bool {
    name.starts_with("*.")
}

/// Whether a certificate for `pattern` serves `name`: equal, or `pattern` is `*.rest` and `name` is one
/// label in front of `rest` (RFC 6125 §6.4.3). Both in normal form; `name` may be a wildcard itself.
pub fn covers(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(rest), Some((first, parent))) => first != "*" && rest.eq_ignore_ascii_case(parent),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_cased_and_hostile_ones_are_refused() {
        assert_eq!(normalize("WWW.Example.ORG").unwrap(), "www.example.org");
        assert_eq!(normalize("*.Example.org").unwrap(), "*.example.org");
        assert_eq!(normalize("localhost").unwrap(), "localhost");
        for (text, address) in
            [("::1", "::1"), ("[2001:DB8:0:0::1]", "2001:db8::1"), ("127.0.0.1", "127.0.0.1")]
        {
            assert_eq!(normalize(text).unwrap(), address);
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("..", NameError::Empty),
            ("a..b", NameError::Label),
            ("a/b", NameError::Character),
            ("../x", NameError::Character),
            ("a\0b", NameError::Character),
            ("ü.test", NameError::Character),
            ("*.*.x", NameError::Wildcard),
            ("a.*.x", NameError::Wildcard),
            ("*", NameError::Wildcard),
            ("[127.0.0.1]", NameError::Character),
            ("[a.test]", NameError::Character),
        ] {
            assert_eq!(normalize(bad), Err(why), "{bad:?}");
        }
        assert_eq!(normalize(&"a.".repeat(150)), Err(NameError::TooLong));
        assert_eq!(normalize(&"a".repeat(64)), Err(NameError::Label));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(covers("a.test", "A.test"));
        assert!(covers("*.a.test", "www.a.test"));
        assert!(covers("*.a.test", "*.a.test"));
        assert!(!covers("*.a.test", "a.test"));
        assert!(!covers("*.a.test", "x.www.a.test"));
        assert!(!covers("a.test", "*.a.test"));
        assert!(!covers("*.test", "*.a.test"));
    }

    #[test]
    fn reverse_names_stand_for_their_addresses() {
        let zeros = "0.".repeat(31);
        for (name, address) in [
            ("1.0.0.127.in-addr.arpa".to_string(), Some("127.0.0.1")),
            (format!("1.{zeros}ip6.arpa"), Some("::1")),
            (format!("10.{zeros}ip6.arpa"), None),
            ("+.0.ip6.arpa".into(), None),
            ("0.0.127.in-addr.arpa".into(), None),
            ("300.0.0.127.in-addr.arpa".into(), None),
            ("in-addr.arpa".into(), None),
            ("a.test".into(), None),
        ] {
            assert_eq!(address_of_reverse(&name).map(|a| a.to_string()).as_deref(), address, "{name}");
        }
    }
}
