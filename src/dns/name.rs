// SPDX-License-Identifier: Apache-2.0
//! Domain names: at most 255 octets, labels of at most 63, compared without regard to case, which they keep.
//! Refuses what is no absolute name. Imports nothing of this crate.

use domain::base::name::{Label, ToName};
use std::fmt;

type Inner = domain::base::Name<Vec<u8>>;

/// A name in wire format. Its `Display` is the presentation form without the last dot, which escapes what is
/// not printable: it can go into a log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Inner);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a domain name: {reason}", .text.escape_debug())]
pub struct BadName {
    text: String,
    reason: String,
}

impl Name {
    /// Reads the presentation form, with or without the last dot.
    pub fn parse(text: &str) -> Result<Name, BadName> {
        let bad = |reason: String| BadName { text: text.to_string(), reason };
        Inner::vec_from_str(text).map(Name).map_err(|error| bad(error.to_string()))
    }

    pub fn root() -> Name {
        Name(Inner::root_vec())
    }

    /// Wire format, in the case it came in.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Wire format in lower case, for digests and as a key.
    pub fn to_lowercase_bytes(&self) -> Vec<u8> {
        let mut name = self.0.clone();
        name.make_canonical();
        name.as_slice().to_vec()
    }

    pub fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// Without the last label, which is the root's.
    pub fn label_count(&self) -> usize {
        self.0.label_count().saturating_sub(1)
    }

    /// The labels in wire order, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(|label| !label.is_root()).map(Label::as_slice)
    }

    /// The name without its first label. `None`: the root has none.
    pub fn parent(&self) -> Option<Name> {
        self.0.parent().map(|parent| Name(parent.to_vec()))
    }

    /// `label` in front of this name, `_acme-challenge` for one. Refuses more than one label.
    pub fn child(&self, label: &str) -> Result<Name, BadName> {
        let below = if self.is_root() { String::new() } else { self.to_string() };
        let child = Name::parse(&format!("{label}.{below}"))?;
        if child.label_count() == self.label_count() + 1 {
            return Ok(child);
        }
        Err(BadName { text: label.to_string(), reason: "a single label is wanted".to_string() })
    }

    /// Whether this is `zone` or a name below it.
    pub fn is_in(&self, zone: &Name) -> bool {
        self.0.ends_with(&zone.0)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn of(name: &impl ToName) -> Name {
        Name(name.to_vec())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { self.0.fmt(f) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_are_read_and_written_as_people_do() {
        for (text, shown) in [
            (".", "."),
            ("example.org", "example.org"),
            ("Example.org.", "Example.org"),
            ("_acme-challenge.x", "_acme-challenge.x"),
            ("*.x", "*.x"),
            (r"a\.b.x", r"a\.b.x"),
            (r"a\000\010b.x", r"a\000\010b.x"),
            (r"\092.x", r"\\.x"),
        ] {
            assert_eq!(name(text).to_string(), shown);
            assert_eq!(name(&name(text).to_string()), name(text));
        }
        let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "w".repeat(61)].join(".");
        assert_eq!(name(&long).as_bytes().len(), 255);
        for text in
            ["", "..", ".a", "a..b", r"a\", r"a\999", "münchen.de", &"x".repeat(64), &format!("{long}w")]
        {
            assert!(Name::parse(text).is_err(), "{text}");
        }
        let error = Name::parse("a..\nb").unwrap_err().to_string();
        assert!(error.starts_with(r"'a..\nb' is not a domain name: "), "{error}");
    }

    #[test]
    fn case_is_kept_and_does_not_count() {
        assert_eq!(name("WWW.Example.ORG"), name("www.example.org"));
        assert_ne!(name("a.b"), name(r"a\.b"));
        assert_eq!(name("A.b").as_bytes(), b"\x01A\x01b\0");
        assert_eq!(name("A.b").to_lowercase_bytes(), b"\x01a\x01b\0");
        let set = std::collections::BTreeSet::from([name("A.b"), name("a.B")]);
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn names_have_parents_children_and_zones() {
        let zone = name("example.org");
        assert_eq!(zone.parent().unwrap().parent(), Some(Name::root()));
        assert_eq!(Name::root().parent(), None);
        assert_eq!(zone.child("_acme-challenge").unwrap(), name("_acme-challenge.example.org"));
        assert!(zone.child("a.b").is_err() && zone.child("").is_err() && zone.child("a.").is_err());
        assert_eq!(Name::root().child("org").unwrap(), name("org"));
        assert!(name("a.EXAMPLE.org").is_in(&zone) && zone.is_in(&zone) && zone.is_in(&Name::root()));
        assert!(!name("badexample.org").is_in(&zone) && !name("org").is_in(&zone));
        assert_eq!((zone.label_count(), Name::root().label_count()), (2, 0));
        assert_eq!(zone.labels().collect::<Vec<_>>(), [&b"example"[..], b"org"]);
    }
}
