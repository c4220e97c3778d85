// SPDX-License-Identifier: Apache-2.0
//! The pass phrase of sealed private keys, and the keys that PBKDF2 (RFC 8018 §5.2) has made of it. Each costs a
//! millisecond, which renewals would spend on each private key they seal, and every child on each that it opens. So
//! a process seals all of them with one salt, and remembers what it has derived. A salt of each file's own would
//! protect nothing: no table of guesses holds a random pass phrase, and each file has an initialization vector of its
//! own.

use super::{Error, random};
use crate::sync::{Mutex, lock};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Memory that holds a secret and wipes it before it is given back.
pub type Secret = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Copies a secret to such memory.
pub type KeepSecret = fn(&[u8]) -> Secret;

/// Bytes of a salt, as many as newer versions of OpenSSL take.
pub const SALT: usize = 16;
/// Of AES-256.
pub const KEY: usize = 32;
/// The rounds of PBKDF2 when a key is sealed.
pub const ROUNDS: u32 = 2048;

/// How many derived keys are remembered: files of as many processes that sealed some.
const REMEMBERED: usize = 16;

/// Random bytes, of which keys are derived. Once in memory, however many refer to it. Has no `Debug`, so that it
/// cannot slip into a log.
#[derive(Clone)]
pub struct PassPhrase {
    secret: Secret,
    keep: KeepSecret,
    derived: Arc<Mutex<Derived>>,
}

#[derive(Default)]
struct Derived {
    /// With which this process seals.
    salt: Option<[u8; SALT]>,
    /// The latest at the end.
    keys: VecDeque<(Derivation, Secret)>,
}

impl Derived {
    fn get(&self, derivation: &Derivation) -> Option<Secret> {
        self.keys.iter().find(|(known, _)| known == derivation).map(|(_, key)| key.clone())
    }

    fn remember(&mut self, derivation: Derivation, key: Secret) {
        if self.get(&derivation).is_some() {
            return;
        }
        if self.keys.len() >= REMEMBERED {
            // Not the own one, however many salts somebody writes.
            let is_other = |(known, _): &(Derivation, Secret)| {
                self.salt.is_none_or(|own| known.salt.as_slice() != own.as_slice())
            };
            if let Some(at) = self.keys.iter().position(is_other) {
                self.keys.remove(at);
            }
        }
        self.keys.push_back((derivation, key));
    }
}

/// How a key is derived.
#[derive(Clone, PartialEq, Eq)]
pub struct Derivation {
    pub salt: Vec<u8>,
    pub rounds: u32,
    /// With HMAC of SHA-1 in place of SHA-256.
    pub has_sha1: bool,
}

impl PassPhrase {
    pub fn new(secret: Secret) -> Self {
        let keep: KeepSecret = |secret| Arc::new(Zeroizing::new(secret.to_vec()));
        PassPhrase { secret, keep, derived: Arc::default() }
    }

    /// Fits nothing.
    pub fn none() -> Self {
        PassPhrase::new(Arc::new(Vec::new()))
    }

    /// The same in other memory, which holds the derived keys as well.
    pub fn kept(&self, keep: KeepSecret) -> Self {
        PassPhrase { secret: keep(self.bytes()), keep, derived: Arc::default() }
    }

    pub fn bytes(&self) -> &[u8] {
        self.secret.as_ref().as_ref()
    }

    /// The key of [`KEY`] bytes that is derived so.
    pub(super) fn derive(&self, derivation: Derivation) -> Result<Secret, Error> {
        if let Some(key) = lock(&self.derived).get(&derivation) {
            return Ok(key);
        }
        // Without the lock: files may have a salt each, as those of the C module do, and threads open them side by
        // side.
        let key = (self.keep)(&self.computed(&derivation)?[..]);
        lock(&self.derived).remember(derivation, key.clone());
        Ok(key)
    }

    /// How this process derives the key that it seals with.
    pub(super) fn own_derivation(&self) -> Result<Derivation, Error> {
        let mut derived = lock(&self.derived);
        let salt = match derived.salt {
            Some(salt) => salt,
            None => *derived.salt.insert(random()?),
        };
        Ok(Derivation { salt: salt.to_vec(), rounds: ROUNDS, has_sha1: false })
    }

    fn computed(&self, derivation: &Derivation) -> Result<Zeroizing<[u8; KEY]>, ErrorStack> {
        let digest = if derivation.has_sha1 { MessageDigest::sha1() } else { MessageDigest::sha256() };
        let rounds = usize::try_from(derivation.rounds).unwrap_or_default();
        let mut key = Zeroizing::new([0; KEY]);
        openssl::pkcs5::pbkdf2_hmac(self.bytes(), &derivation.salt, rounds, digest, key.as_mut_slice())?;
        Ok(key)
    }
}

impl From<&[u8]> for PassPhrase {
    fn from(bytes: &[u8]) -> Self {
        PassPhrase::new(Arc::new(Zeroizing::new(bytes.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static KEPT: AtomicUsize = AtomicUsize::new(0);

    fn keep(secret: &[u8]) -> Secret {
        KEPT.fetch_add(1, Ordering::SeqCst);
        Arc::new(secret.to_vec())
    }

    fn of_salt(salt: u8, rounds: u32) -> Derivation {
        Derivation { salt: vec![salt; 8], rounds, has_sha1: false }
    }

    /// Counts derivations by the copies that are made of their results.
    #[test]
    fn a_key_is_derived_once_for_all_files_with_its_salt_and_few_are_remembered() {
        let pass_phrase = PassPhrase::from(&b"pass phrase"[..]).kept(keep);
        let kept = || KEPT.swap(0, Ordering::SeqCst);
        assert_eq!(kept(), 1, "the pass phrase");
        let own = pass_phrase.own_derivation().unwrap();
        assert!(own == pass_phrase.clone().own_derivation().unwrap());
        let key = pass_phrase.derive(own.clone()).unwrap();
        for _ in 0..3 {
            let again = pass_phrase.clone().derive(own.clone()).unwrap();
            assert_eq!(key.as_ref().as_ref(), again.as_ref().as_ref());
        }
        assert_eq!(kept(), 1);
        let by_sha1 = Derivation { has_sha1: true, ..own.clone() };
        let by_rounds = Derivation { rounds: ROUNDS + 1, ..own.clone() };
        for other in [by_sha1, by_rounds, of_salt(0, ROUNDS)] {
            assert_ne!(key.as_ref().as_ref(), pass_phrase.derive(other).unwrap().as_ref().as_ref());
        }
        assert_eq!(kept(), 3);
        (1..100).for_each(|salt| drop(pass_phrase.derive(of_salt(salt, 1)).unwrap()));
        assert_eq!((kept(), lock(&pass_phrase.derived).keys.len()), (99, REMEMBERED));
        for known in [of_salt(99, 1), own] {
            drop(pass_phrase.derive(known).unwrap());
        }
        assert_eq!(kept(), 0, "the latest, and the own one");
        drop(pass_phrase.derive(of_salt(1, 1)).unwrap());
        assert_eq!(kept(), 1, "it was forgotten");
    }

    /// RFC 7914 §11.
    #[test]
    fn keys_are_derived_as_the_standard_says() {
        let key = PassPhrase::from(&b"passwd"[..])
            .derive(Derivation { salt: b"salt".to_vec(), rounds: 1, has_sha1: false })
            .unwrap();
        let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        assert_eq!(data_encoding::HEXLOWER.encode(key.as_ref().as_ref()), expected);
    }
}
