// SPDX-License-Identifier: Apache-2.0
//! The keys of the engine, relative to the prefix: `v1/set/NAME` and so on. Names are encrypted in them, always
//! to the same text, by a key that belongs to the fleet's data and outlives its secrets: a dump of the engine
//! shows no name, and each node finds the same lock for an MD, whichever secret it has. Refuses texts that
//! were not made so. Pure.

use crate::crypto::siv::SivKey;
use crate::crypto::{self, sha256};
use crate::managed::peers::SharedAnswer;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use std::sync::Arc;

/// Has version and epoch, and is read before all others.
pub const META: &str = "v1/meta";
/// What all keys begin with.
pub const ALL: &str = "v1/";
/// What keys begin with by which nodes speak of themselves.
pub const NODES: &str = "v1/node/";
const ACCOUNT: &str = "account-";

/// What an entry of the engine is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Meta,
    /// Of an MD.
    Lock(String),
    Job(String),
    Set(String),
    Withdrawn(String),
    /// Of the CA and external account: 64 hexadecimal digits of SHA-256.
    Account(String),
    AccountLock(String),
    Challenge {
        type_: String,
        dns_name: String,
        /// 64 hexadecimal digits: SHA-256 of the answer's token, for TXT records of the value.
        hash: String,
    },
    /// Of a CA, by the same digits as its accounts without an external one; of one MD or of all.
    Hold {
        ca: String,
        md: Option<String>,
    },
    /// Of an OCSP response: MD and file name.
    Ocsp {
        md: String,
        file: String,
    },
    /// By the id of the node: 32 hexadecimal digits.
    Node(String),
    /// What a node has applied, by its id: written far more often than all else that is said of it.
    Applied(String),
}

impl Key {
    /// The digits of a CA, by its directory URL, and an external account.
    pub fn account_hash(ca: &str, eab_kid: Option<&str>) -> String {
        let kid = eab_kid.map(|kid| format!("\0{kid}")).unwrap_or_default();
        HEXLOWER.encode(&sha256(format!("{ca}{kid}").as_bytes()))
    }

    /// The key of a challenge's answer.
    pub fn challenge(answer: &SharedAnswer) -> Self {
        let is_txt = answer.type_.starts_with("dns-");
        let token = answer.answer.split('.').next().filter(|_| !is_txt).unwrap_or(&answer.answer);
        Key::Challenge {
            type_: answer.type_.clone(),
            dns_name: answer.dns_name.clone(),
            hash: HEXLOWER.encode(&sha256(token.as_bytes())),
        }
    }

    /// The MD that it is of.
    pub fn md(&self) -> Option<&str> {
        match self {
            Key::Lock(md) | Key::Job(md) | Key::Set(md) | Key::Withdrawn(md) | Key::Ocsp { md, .. } => {
                Some(md)
            }
            Key::Hold { md, .. } => md.as_deref(),
            Key::Meta
            | Key::Account(_)
            | Key::AccountLock(_)
            | Key::Challenge { .. }
            | Key::Node(_)
            | Key::Applied(_) => None,
        }
    }
}

/// Turns keys to texts and back. Clones share the key of the names.
#[derive(Clone)]
pub struct Names(Arc<SivKey>);

impl Names {
    /// `secret`: random, the same for all nodes.
    pub fn new(secret: &[u8]) -> Result<Self, crypto::Error> {
        Ok(Names(Arc::new(SivKey::derive(secret)?)))
    }

    pub fn text(&self, key: &Key) -> Result<String, crypto::Error> {
        let hide =
            |name: &str| Ok::<_, crypto::Error>(BASE64URL_NOPAD.encode(&self.0.seal(name.as_bytes())?));
        let text = match key {
            Key::Meta => return Ok(META.into()),
            Key::Lock(md) => format!("lock/{}", hide(md)?),
            Key::Job(md) => format!("job/{}", hide(md)?),
            Key::Set(md) => format!("set/{}", hide(md)?),
            Key::Withdrawn(md) => format!("withdrawn/{}", hide(md)?),
            Key::Account(hash) => format!("account/{hash}"),
            Key::AccountLock(hash) => format!("lock/{ACCOUNT}{hash}"),
            Key::Challenge { type_, dns_name, hash } => {
                format!("challenge/{type_}/{}/{hash}", hide(dns_name)?)
            }
            Key::Hold { ca, md: None } => format!("hold/{ca}"),
            Key::Hold { ca, md: Some(md) } => format!("hold/{ca}/{}", hide(md)?),
            Key::Ocsp { md, file } => format!("ocsp/{}/{}", hide(md)?, hide(file)?),
            Key::Node(id) => format!("node/{id}"),
            Key::Applied(id) => format!("node/{id}/applied"),
        };
        Ok(format!("{ALL}{text}"))
    }

    /// `None`: nothing that [`text`](Self::text) makes.
    pub fn key(&self, text: &str) -> Option<Key> {
        let name = |hidden: &str| {
            let name = self.0.open(&BASE64URL_NOPAD.decode(hidden.as_bytes()).ok()?)?;
            String::from_utf8(name).ok()
        };
        let parts: Vec<&str> = text.strip_prefix(ALL)?.splitn(5, '/').collect();
        Some(match parts.as_slice() {
            ["meta"] => Key::Meta,
            // No name begins so: with 64 digits behind it, it would be of another encryption.
            ["lock", lock] => match lock.strip_prefix(ACCOUNT).and_then(digits::<64>) {
                Some(hash) => Key::AccountLock(hash),
                None => Key::Lock(name(lock)?),
            },
            ["job", md] => Key::Job(name(md)?),
            ["set", md] => Key::Set(name(md)?),
            ["withdrawn", md] => Key::Withdrawn(name(md)?),
            ["account", hash] => Key::Account(digits::<64>(hash)?),
            ["challenge", type_, dns_name, hash] => Key::Challenge {
                type_: challenge_type(type_)?,
                dns_name: name(dns_name)?,
                hash: digits::<64>(hash)?,
            },
            ["hold", ca] => Key::Hold { ca: digits::<64>(ca)?, md: None },
            ["hold", ca, md] => Key::Hold { ca: digits::<64>(ca)?, md: Some(name(md)?) },
            ["ocsp", md, file] => Key::Ocsp { md: name(md)?, file: name(file)? },
            ["node", id] => Key::Node(digits::<32>(id)?),
            ["node", id, "applied"] => Key::Applied(digits::<32>(id)?),
            _ => return None,
        })
    }
}

/// Exactly this many lower-case hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Option<String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == N && text.bytes().all(is_digit)).then(|| text.to_string())
}

fn challenge_type(text: &str) -> Option<String> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (is_plain && (1..=32).contains(&text.len())).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::engine::KEY_MAX;
    use super::*;

    fn names() -> Names {
        Names::new(&[1; 32]).unwrap()
    }

    fn keys(name: &str) -> Vec<Key> {
        let (md, hash, id) =
            (name.to_string(), Key::account_hash("https://ca.test/dir", None), "0a".repeat(16));
        vec![
            Key::Meta,
            Key::Lock(md.clone()),
            Key::Job(md.clone()),
            Key::Set(md.clone()),
            Key::Withdrawn(md.clone()),
            Key::Account(hash.clone()),
            Key::AccountLock(hash.clone()),
            Key::Challenge {
                type_: "dns-account-01".into(),
                dns_name: format!("_0123456789abcdef._acme-challenge.{name}"),
                hash: hash.clone(),
            },
            Key::Hold { ca: hash.clone(), md: None },
            Key::Hold { ca: hash, md: Some(md.clone()) },
            Key::Ocsp { md, file: format!("{}.json", "0a".repeat(20)) },
            Key::Node(id.clone()),
            Key::Applied(id),
        ]
    }

    #[test]
    fn a_text_is_read_back_shows_no_name_and_has_room() {
        let longest = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "w".repeat(20)].join(".");
        for name in ["a.test", "*.a.test", "A set of mine/…", &longest] {
            for key in keys(name) {
                let text = names().text(&key).unwrap();
                assert!(text.len() <= KEY_MAX && text.starts_with(ALL), "{text}");
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(name), "{text}");
                assert_eq!(names().key(&text), Some(key.clone()), "{text}");
                let other = Names::new(&[2; 32]).unwrap();
                let is_named = other.text(&key).unwrap() != text;
                assert_eq!(other.key(&text).is_none(), is_named, "{text}");
            }
        }
        assert_eq!(names().text(&Key::Meta).unwrap(), META);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let set = names().text(&Key::Set("a.test".into())).unwrap();
        let hash = Key::account_hash("x", None);
        for text in [
            "".into(),
            "v1/".into(),
            "v2/meta".into(),
            "v1/meta/".into(),
            "v1/set/a.test".into(),
            "v1/set/".into(),
            format!("{set}A"),
            format!("{set}/"),
            set.replace("v1/set", "v1/sets"),
            format!("v1/account/{}", hash.to_uppercase()),
            format!("v1/account/{hash}0"),
            format!("v1/lock/account-{}", &hash[1..]),
            format!("v1/hold/{hash}/"),
            "v1/node/../x".into(),
            format!("v1/node/{}/other", "0a".repeat(16)),
            "v1/challenge/http-01/x".into(),
        ] {
            assert_eq!(names().key(&text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_is_kept_by_its_token_or_by_the_value_of_its_record() {
        let answer = |type_: &str, answer: &str| SharedAnswer {
            type_: type_.into(),
            dns_name: "a.test".into(),
            owner: "md".into(),
            answer: answer.into(),
        };
        let hash = |answer: &SharedAnswer| match Key::challenge(answer) {
            Key::Challenge { hash, .. } => hash,
            _ => String::new(),
        };
        let of = |text: &str| HEXLOWER.encode(&sha256(text.as_bytes()));
        assert_eq!(hash(&answer("http-01", "token.thumb")), of("token"));
        assert_eq!(hash(&answer("tls-alpn-01", "token.thumb")), of("token"));
        assert_eq!(hash(&answer("dns-01", "va.lue")), of("va.lue"));
    }

    #[test]
    fn accounts_of_a_ca_are_told_apart_by_their_external_account() {
        let hashes = [None, Some(""), Some("k"), Some("l")].map(|kid| Key::account_hash("https://ca", kid));
        assert!((0..4).all(|i| (0..i).all(|j| hashes[i] != hashes[j])));
    }
}
