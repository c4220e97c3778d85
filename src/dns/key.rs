// SPDX-License-Identifier: Apache-2.0
//! TSIG keys (RFC 8945 §5.1), read from what `tsig-keygen` of BIND and `keymgr -t` of Knot print. Refuses
//! files with none or with several, and algorithms without SHA. Imports `name` of this room.

use super::Name;
use crate::crypto::hmac::Digest;
use data_encoding::BASE64;
use std::fmt;
use zeroize::Zeroizing;

/// A name and a secret that a DNS server knows, too.
pub struct TsigKey {
    pub name: Name,
    pub algorithm: Algorithm,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(pub(super) Digest);

const ALGORITHMS: [(&str, Digest); 5] = [
    ("hmac-sha256", Digest::Sha256),
    ("hmac-sha512", Digest::Sha512),
    ("hmac-sha384", Digest::Sha384),
    ("hmac-sha224", Digest::Sha224),
    ("hmac-sha1", Digest::Sha1),
];

/// Why a file is no key file. Quotes nothing that could be the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("no TSIG key is in it")]
    Missing,
    #[error("more than one TSIG key is in it: keep one")]
    Several,
    #[error("the key's name is not a domain name")]
    Name,
    #[error("the key has no {0}")]
    Without(&'static str),
    #[error(
        "the key's algorithm is not supported; hmac-sha256, hmac-sha512, hmac-sha384, hmac-sha224 and \
         hmac-sha1 are"
    )]
    Algorithm,
    #[error("the key's secret is not base64")]
    Secret,
}

impl Algorithm {
    pub fn parse(text: &str) -> Option<Algorithm> {
        let known = ALGORITHMS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        known.map(|(_, digest)| Algorithm(*digest))
    }

    pub fn word(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, digest)| *digest == self.0).map_or("", |(name, _)| name)
    }
}

impl TsigKey {
    /// `secret`: the bytes, not their base64.
    pub fn new(name: Name, algorithm: Algorithm, secret: Vec<u8>) -> TsigKey {
        TsigKey { name, algorithm, secret: Zeroizing::new(secret) }
    }

    /// Reads `key "NAME" { algorithm ALGORITHM; secret "BASE64"; };` of BIND, or Knot's YAML of the same.
    pub fn parse(text: &str) -> Result<TsigKey, BadKey> {
        let words = words(text);
        let rest = words.strip_prefix(&[String::from("key")][..]).ok_or(BadKey::Missing)?;
        let rest = rest.strip_prefix(&[String::from("id")][..]).unwrap_or(rest);
        let (name, settings) = rest.split_first().ok_or(BadKey::Missing)?;
        if settings.chunks(2).any(|pair| pair.first().is_some_and(|word| word == "key" || word == "id")) {
            return Err(BadKey::Several);
        }
        let setting = |key: &'static str| {
            let mut pairs = settings.chunks(2).filter(|pair| pair.first().is_some_and(|word| word == key));
            pairs.next().and_then(|pair| pair.get(1)).ok_or(BadKey::Without(key))
        };
        let secret = BASE64.decode(setting("secret")?.as_bytes()).map_err(|_| BadKey::Secret)?;
        let secret = Zeroizing::new(secret);
        if secret.is_empty() {
            return Err(BadKey::Without("secret"));
        }
        Ok(TsigKey {
            name: Name::parse(name).map_err(|_| BadKey::Name)?,
            algorithm: Algorithm::parse(setting("algorithm")?).ok_or(BadKey::Algorithm)?,
            secret,
        })
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.algorithm.word())
    }
}

/// Words and quoted strings, without comments and punctuation of either form.
fn words(text: &str) -> Zeroizing<Vec<String>> {
    let mut words = Zeroizing::new(Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = |mark: &str| rest.find(mark).map_or(rest.len(), |at| at + mark.len());
        let skipped = match first {
            '#' => end("\n"),
            _ if rest.starts_with("//") => end("\n"),
            _ if rest.starts_with("/*") => end("*/"),
            _ if is_between(first) => first.len_utf8(),
            '"' => {
                let quoted = rest.get(1..).unwrap_or_default();
                let length = quoted.find('"').unwrap_or(quoted.len());
                words.push(quoted.get(..length).unwrap_or_default().to_string());
                length + 2
            }
            _ => {
                let length = rest.find(|c| is_between(c) || c == '"').unwrap_or(rest.len());
                words.push(rest.get(..length).unwrap_or_default().to_string());
                length
            }
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    words.retain(|word| word != "-");
    words
}

fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, '{' | '}' | ';' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: &str = "key \"acme.Example.org\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0\";\n};\n";
    const KNOT: &str =
        "# hmac-sha256:acme:c2VjcmV0\nkey:\n  - id: acme\n    algorithm: hmac-sha256\n    secret: c2VjcmV0\n";

    #[test]
    fn the_files_of_both_tools_are_read() {
        let key = TsigKey::parse(BIND).unwrap();
        assert_eq!(
            (key.name.to_string().as_str(), key.algorithm.word()),
            ("acme.Example.org", "hmac-sha512")
        );
        assert_eq!(*key.secret, b"secret");
        let key = TsigKey::parse(KNOT).unwrap();
        assert_eq!((key.name.to_string().as_str(), key.algorithm.word()), ("acme", "hmac-sha256"));
        assert_eq!(*key.secret, b"secret");
        for (text, secret) in [
            ("key a{algorithm HMAC-SHA1;secret c2VjcmV0;};", "secret"),
            (
                "// of mine\n/* key \"b\" */ key a { # comment\n secret \"//8=\"; algorithm hmac-sha224; };",
                "\u{ff}",
            ),
            ("key:\n- id: \"a\"\n  secret: c2VjcmV0\n  algorithm: hmac-sha384", "secret"),
        ] {
            let key = TsigKey::parse(text).unwrap();
            assert_eq!(key.name.to_string(), "a");
            let expected = if secret == "secret" { b"secret".to_vec() } else { vec![0xff, 0xff] };
            assert_eq!(*key.secret, expected, "{text}");
        }
    }

    #[test]
    fn other_files_are_refused_and_their_secret_is_not_told() {
        for (text, reason) in [
            ("", BadKey::Missing),
            ("key", BadKey::Missing),
            ("options { };", BadKey::Missing),
            ("key \"\" { algorithm hmac-sha256; secret c2VjcmV0; };", BadKey::Name),
            ("key a { secret c2VjcmV0; };", BadKey::Without("algorithm")),
            ("key a { algorithm hmac-sha256; };", BadKey::Without("secret")),
            ("key a { algorithm hmac-sha256; secret \"\"; };", BadKey::Without("secret")),
            ("key a { algorithm hmac-md5; secret c2VjcmV0; };", BadKey::Algorithm),
            ("key a { algorithm hmac-sha256; secret \"not base64\"; };", BadKey::Secret),
            ("key \"a", BadKey::Without("secret")),
            (&[BIND, BIND].concat(), BadKey::Several),
            (&[KNOT, "  - id: b\n"].concat(), BadKey::Several),
        ] {
            assert_eq!(TsigKey::parse(text).map(|_| ()).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn the_secret_is_not_in_the_debug_form() {
        assert_eq!(format!("{:?}", TsigKey::parse(KNOT).unwrap()), "acme (hmac-sha256)");
    }
}
