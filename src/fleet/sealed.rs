// SPDX-License-Identifier: Apache-2.0
//! Values as they lie in the engine: `{"kid","sealed"}`, AES-256-GCM, bound to the prefix and the whole key. The
//! first secret seals, both open. The engine can withhold, repeat and delete values; what it invents, changes or
//! moves to another key does not open. Pure but for the nonce.

use super::engine::VALUE_MAX;
use super::secret::Secret;
use crate::crypto::{self, aead};
use crate::model::bounded;
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::sync::Arc;
use zeroize::Zeroizing;

/// One secret, or two while they are exchanged. Clones share them. Has no `Debug`.
#[derive(Clone)]
pub struct Secrets(Arc<[Secret]>);

/// A value that was sealed by one of the secrets.
pub struct Unsealed {
    pub plain: Zeroizing<Vec<u8>>,
    /// Whether the first secret has sealed it: the others have to be sealed again before theirs goes.
    pub is_first: bool,
}

/// Why a value of the engine is not used, or cannot be made. For people, as the end of "the value of KEY …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("is not a sealed value")]
    NotSealed,
    #[error("was sealed with another secret (kid {0}) than those of MDFleetSecretFile")]
    OtherSecret(String),
    #[error("does not open: somebody without the secret wrote or moved it")]
    Forged,
    #[error("is of format {0}, which this version of mod_md does not know")]
    Version(u64),
    #[error("has a key that this version of mod_md does not know, or that was made with other names")]
    Key,
    #[error("has no usable {0}")]
    Field(&'static str),
    #[error("is larger than {VALUE_MAX} bytes")]
    TooLarge,
    #[error("cannot be sealed or opened: {0}")]
    Crypto(String),
}

impl Flaw {
    /// What to do where the fleet cannot be joined for it, to be put behind it.
    pub fn advice(&self) -> &'static str {
        match self {
            Flaw::OtherSecret(_) => {
                "; copy the file of MDFleetSecretFile from a node that is connected, and reload httpd (a new secret \
                 comes second there until all nodes have it)"
            }
            Flaw::Version(_) => "; install the mod_md that the other nodes have",
            Flaw::Forged | Flaw::NotSealed | Flaw::Field(_) | Flaw::Key => {
                "; see who can write to the engine, and give the fleet a prefix of its own in MDFleet"
            }
            Flaw::TooLarge | Flaw::Crypto(_) => "",
        }
    }
}

impl From<crypto::Error> for Flaw {
    fn from(error: crypto::Error) -> Self {
        Flaw::Crypto(error.to_string())
    }
}

impl Secrets {
    /// `second` opens what `first` has not sealed.
    pub fn new(first: Secret, second: Option<Secret>) -> Self {
        Secrets(std::iter::once(first).chain(second).collect())
    }

    /// The marks of the secrets, the one that seals first.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Secret::kid)
    }

    /// The value of `key`, below `prefix`.
    pub fn seal(&self, prefix: &str, key: &str, plain: &[u8]) -> Result<Vec<u8>, Flaw> {
        // Each value is sealed by the first; there always is one.
        let secret = self.0.first().ok_or(Flaw::NotSealed)?;
        let sealed = aead::seal(secret.key(), &place(prefix, key), plain)?;
        let value = json!({"kid": secret.kid(), "sealed": BASE64.encode(&sealed)}).to_string().into_bytes();
        if value.len() > VALUE_MAX { Err(Flaw::TooLarge) } else { Ok(value) }
    }

    /// What [`seal`](Self::seal) has sealed, with either secret, for the same prefix and key. Fields beside
    /// those of a sealed value do not count.
    pub fn open(&self, prefix: &str, key: &str, value: &[u8]) -> Result<Unsealed, Flaw> {
        if value.len() > VALUE_MAX {
            return Err(Flaw::TooLarge);
        }
        let value: Value = serde_json::from_slice(value).map_err(|_| Flaw::NotSealed)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).ok_or(Flaw::NotSealed);
        let (kid, sealed) = (text("kid")?, text("sealed")?);
        let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| Flaw::NotSealed)?;
        let of_kid = |(_, secret): &(usize, &Secret)| secret.kid() == kid;
        let Some((index, secret)) = self.0.iter().enumerate().find(of_kid) else {
            return Err(Flaw::OtherSecret(bounded::text(kid, 32)));
        };
        let plain = aead::open(secret.key(), &place(prefix, key), &sealed).ok_or(Flaw::Forged)?;
        Ok(Unsealed { plain, is_first: index == 0 })
    }
}

/// Prefix and key, so that their border counts.
fn place(prefix: &str, key: &str) -> Vec<u8> {
    [&(prefix.len() as u64).to_be_bytes()[..], prefix.as_bytes(), key.as_bytes()].concat()
}

#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Secrets of repeated bytes.
    pub fn secrets(first: u8, second: Option<u8>) -> Secrets {
        let secret = |byte: u8| Secret::parse(BASE64.encode(&[byte; 32]).as_bytes()).ok();
        Secrets::new(secret(first).unwrap(), second.and_then(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::secrets;
    use super::*;

    #[test]
    fn both_secrets_open_and_the_first_one_seals() {
        let (old, both, turned, new) =
            (secrets(1, None), secrets(1, Some(2)), secrets(2, Some(1)), secrets(2, None));
        for (sealing, opening, is_first) in [
            (&old, &old, Ok(true)),
            (&old, &both, Ok(true)),
            (&both, &old, Ok(true)),
            (&both, &turned, Ok(false)),
            (&turned, &both, Ok(false)),
            (&turned, &new, Ok(true)),
            (&both, &new, Err(Flaw::OtherSecret(old.kids().next().unwrap().into()))),
            (&new, &old, Err(Flaw::OtherSecret(new.kids().next().unwrap().into()))),
        ] {
            let value = sealing.seal("p", "v1/set/a", b"content").unwrap();
            let opened = opening.open("p", "v1/set/a", &value);
            assert_eq!(opened.as_ref().map(|opened| opened.is_first).map_err(Clone::clone), is_first);
            assert!(opened.is_err() || opened.unwrap().plain.as_slice() == b"content");
        }
    }

    #[test]
    fn a_value_shows_nothing_and_opens_at_its_own_key_alone() {
        let secrets = secrets(1, None);
        let value = secrets.seal("p", "v1/set/a", b"content").unwrap();
        let text = std::str::from_utf8(&value).unwrap();
        assert!(text.starts_with(r#"{"kid":""#) && !text.contains("content") && !text.contains("v1"));
        for (prefix, key) in [("p", "v1/set/b"), ("q", "v1/set/a"), ("pv", "1/set/a"), ("", "pv1/set/a")] {
            assert_eq!(secrets.open(prefix, key, &value).err(), Some(Flaw::Forged));
        }
        assert_ne!(value, secrets.seal("p", "v1/set/a", b"content").unwrap(), "the nonce is random");
    }

    #[test]
    fn what_a_hostile_engine_says_is_refused() {
        let secrets = secrets(1, None);
        let kid = secrets.kids().next().unwrap();
        let good: Value = serde_json::from_slice(&secrets.seal("p", "k", b"x").unwrap()).unwrap();
        let with = |field: &str, value: Value| {
            let mut changed = good.clone();
            changed[field] = value;
            changed.to_string().into_bytes()
        };
        let sealed = good["sealed"].as_str().unwrap();
        let flipped = format!("{}{}", if sealed.starts_with('A') { "B" } else { "A" }, &sealed[1..]);
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for (value, flaw) in [
            (b"".to_vec(), Flaw::NotSealed),
            (b"{}".to_vec(), Flaw::NotSealed),
            (b"\xff".to_vec(), Flaw::NotSealed),
            (deep, Flaw::NotSealed),
            (with("kid", json!(7)), Flaw::NotSealed),
            (with("sealed", json!("!")), Flaw::NotSealed),
            (with("sealed", json!("")), Flaw::Forged),
            (with("sealed", json!(flipped)), Flaw::Forged),
            (with("kid", json!("00\u{1b}")), Flaw::OtherSecret("00 ".into())),
            (vec![b' '; VALUE_MAX + 1], Flaw::TooLarge),
        ] {
            assert_eq!(secrets.open("p", "k", &value).err(), Some(flaw));
        }
        assert!(secrets.open("p", "k", &with("more", json!(1))).is_ok() && kid.len() == 16);
        assert_eq!(secrets.seal("p", "k", &vec![0; VALUE_MAX]).err(), Some(Flaw::TooLarge));
    }
}
