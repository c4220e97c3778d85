//! DNS names: the form in which they are kept and compared, and what a wildcard covers.
//!
//! Refuses whatever could not be a name on the wire or could leave a folder of the store.

/// Why a text is no usable domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 253 characters")]
    TooLong,
    #[error("it has an empty label or one longer than 63 characters")]
    Label,
    #[error("it contains a character that no domain name can have")]
    Character,
    #[error("a wildcard can only be the whole first label")]
    Wildcard,
}

/// The lower-cased name, checked (RFC 1035 §2.3.1 with underscores, RFC 6125 §6.4.3 wildcards). A name
/// that passes is also a safe file name: no `/`, no NUL, no empty, `.` or `..`. IP literals pass.
pub fn normalize(text: &str) -> Result<String, NameError> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 253 {
        return Err(NameError::TooLong);
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Ok(name);
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
        assert_eq!(normalize("::1").unwrap(), "::1");
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
}
