// SPDX-License-Identifier: Apache-2.0
//! The CA and how to reach it: known CA names, URLs, contacts, proxies.

use super::Error;
use super::value::first;
use crate::url::{Url, UrlError};

/// CAs that may be called by name, any case, and their ACME directories.
pub const KNOWN_CAS: &[(&str, &str)] = &[
    ("LetsEncrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("LetsEncrypt-Test", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("Buypass", "https://api.buypass.com/acme/directory"),
    ("Buypass-Test", "https://api.test4.buypass.no/acme/directory"),
    ("ZeroSSL", "https://acme.zerossl.com/v2/DV90"),
    ("Google", "https://dv.acme-v02.api.pki.goog/directory"),
    ("Google-Test", "https://dv.acme-v02.test-api.pki.goog/directory"),
];

/// The CA used where none is configured.
pub(super) const DEFAULT_CA: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What the name of a CA's directory for rehearsals has at its end.
const TEST: &str = "-Test";

/// The directory for rehearsals of the CA with this directory URL; its own where it is one. `None`: unknown.
pub fn rehearsal_of(url: &str) -> Option<&'static str> {
    let same = |known: &str| known.trim_end_matches('/') == url.trim_end_matches('/');
    let (name, known) = KNOWN_CAS.iter().find(|(_, known)| same(known))?;
    if name.ends_with(TEST) {
        return Some(known);
    }
    let test = KNOWN_CAS.iter().find(|(test, _)| test.strip_suffix(TEST) == Some(name));
    test.map(|(_, test)| *test)
}

/// URLs in order of preference, known names replaced.
pub(super) fn authorities(args: &[&str]) -> Result<Vec<String>, Error> {
    args.iter().filter(|a| !a.is_empty()).map(|a| authority(a)).collect()
}

fn authority(arg: &str) -> Result<String, Error> {
    if let Some((_, url)) = KNOWN_CAS.iter().find(|(name, _)| name.eq_ignore_ascii_case(arg)) {
        return Ok((*url).to_string());
    }
    check_uri(arg).map_err(|reason| {
        let names: Vec<&str> = KNOWN_CAS.iter().map(|(name, _)| *name).collect();
        Error(format!(
            "The CA name '{arg}' is not known and it is not a URL either ({reason}). Known CA names are: {}.",
            names.join(" ")
        ))
    })?;
    Ok(arg.to_string())
}

/// A mail address becomes a `mailto:` URL (RFC 6068); a URL stays as it is (RFC 8555 §7.3).
pub(super) fn contact(arg: &str) -> String {
    if scheme(arg).is_some() { arg.to_string() } else { format!("mailto:{arg}") }
}

pub(super) fn proxy_url(args: &[&str]) -> Result<String, Error> {
    let arg = first(args);
    match scheme(arg) {
        Some(name) if name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https") => {
            check_uri(arg).map_err(Error::new)?;
            Ok(arg.to_string())
        }
        Some(_) => Err(Error::new("uri scheme must be http or https")),
        None => Err(Error::new(check_uri(arg).err().unwrap_or("missing uri scheme"))),
    }
}

/// The text before the first colon, if it has the form of a scheme (RFC 3986 §3.1).
fn scheme(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(':')?;
    let letters = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (letters && valid).then_some(name)
}

/// Why a text is no URI that a request could go to.
fn check_uri(text: &str) -> Result<(), &'static str> {
    if text.contains(char::is_whitespace) {
        return Err("whitespace in uri");
    }
    if text.starts_with(':') {
        return Err("not an uri");
    }
    let name = scheme(text).ok_or("missing uri scheme")?;
    let rest = text.get(name.len() + 1..).unwrap_or_default();
    if rest.is_empty() {
        return Err("missing uri identifier");
    }
    if !name.eq_ignore_ascii_case("http") && !name.eq_ignore_ascii_case("https") {
        return Ok(());
    }
    let location = rest.strip_prefix("//").ok_or("missing hostname")?;
    // URLs with more slashes, or with letters that only some programs encode, have always been accepted,
    // although no request can be sent there: `doubt` warns about them.
    match Url::parse(&format!("{name}://{}", location.trim_start_matches('/'))) {
        Ok(url) if url.origin.port == 0 => Err("invalid port"),
        Ok(_) | Err(UrlError::Encoding) => Ok(()),
        Err(UrlError::NoHost) => Err("missing hostname"),
        Err(UrlError::Port) => Err("invalid port"),
        Err(UrlError::Scheme | UrlError::Invalid) => Err("not an uri"),
    }
}

/// The finding about a CA at this URL. Plain http on this machine is safe.
pub(super) fn doubt(url: &str) -> Option<&'static str> {
    match Url::parse(url) {
        Ok(url) if url.origin.is_https => None,
        Ok(url) => (!url.host().is_local()).then_some(
            "requests to this CA are not encrypted: anyone on the network path can change its answers, and \
             thereby what is issued. Use an https URL.",
        ),
        Err(UrlError::Scheme) => {
            Some("this is not an http or https URL, so no certificate can be ordered there. Correct it.")
        }
        Err(_) => Some(
            "no request can be sent to this URL. Correct it: a host name is written in its DNS form, in ASCII.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_a_mail_address_unless_it_has_a_scheme() {
        assert_eq!(contact("me@x.test"), "mailto:me@x.test");
        assert_eq!(contact("mailto:me@x.test"), "mailto:me@x.test");
        assert_eq!(contact("tel:123"), "tel:123");
    }

    #[test]
    fn a_known_ca_is_rehearsed_at_its_own_test_directory() {
        let test = "https://acme-staging-v02.api.letsencrypt.org/directory";
        assert_eq!(rehearsal_of("https://acme-v02.api.letsencrypt.org/directory/"), Some(test));
        assert_eq!(rehearsal_of(test), Some(test));
        assert_eq!(rehearsal_of("https://acme.zerossl.com/v2/DV90"), None);
        assert_eq!(rehearsal_of("https://ca.test/dir"), None);
    }

    #[test]
    fn a_ca_is_doubted_that_is_asked_without_encryption_beyond_this_machine() {
        let is_doubted = |url: &str| doubt(url).is_some();
        for (_, url) in KNOWN_CAS {
            assert!(!is_doubted(url), "{url}");
        }
        for url in
            ["http://127.0.0.1:14000/dir", "http://[::1]/", "http://localhost:4001/acme", "https://10.0.0.1/"]
        {
            assert!(!is_doubted(url), "{url}");
        }
        for url in [
            "acme:dir",
            "https:///dir",
            "https://b\u{fc}cher.test/",
            "https://%63a.test/",
            "https://ca.test\\dir",
        ] {
            assert!(check_uri(url).is_ok() && is_doubted(url), "{url}");
        }
        for url in [
            "http://ca.test/dir",
            "HTTP://10.0.0.1/",
            "http://[fe80::1]/",
            "http://127.0.0.1.ca.test/",
            "ftp://ca.test/",
        ] {
            assert!(is_doubted(url), "{url}");
        }
    }

    #[test]
    fn the_default_ca_is_one_of_the_known() {
        assert_eq!(authority("letsENCRYPT"), Ok(DEFAULT_CA.to_string()));
    }
}
