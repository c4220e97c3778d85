// SPDX-License-Identifier: Apache-2.0
//! Private keys in files: sealed with the store's key in `accounts` and `staging`, plain elsewhere. Each
//! group takes that form and no other, for where workers write, others can as well.

use super::layout::{FILE_MAX, Layout};
use super::{Error, Group};
use crate::crypto::{self, PrivateKey};
use zeroize::Zeroizing;

impl Layout {
    pub(super) fn read_key(&self, group: Group, name: &str, file: &str) -> Result<Option<PrivateKey>, Error> {
        let Some(pem) = self.read(group, name, file, FILE_MAX)?.map(Zeroizing::new) else { return Ok(None) };
        let what_next = if group.encrypts_keys() {
            ". It is not used, and a new key is made: find out who can write there"
        } else {
            ""
        };
        let refused = |e| self.garbage(group, name, file, format!("{e}{what_next}"));
        self.open_key(group, &pem).map(Some).map_err(refused)
    }

    pub(super) fn open_key(&self, group: Group, pem: &[u8]) -> Result<PrivateKey, crypto::Error> {
        match group {
            Group::Accounts | Group::Staging => PrivateKey::open(pem, &self.key),
            // Of workers, for challenges.
            Group::Challenges | Group::Ocsp => PrivateKey::from_plain_pem(pem),
            // Of root alone.
            Group::Domains | Group::Archive | Group::Tmp => PrivateKey::from_pem(pem),
        }
    }

    pub(super) fn seal_key(&self, group: Group, key: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        let seal = || key.seal(&self.key).map(Zeroizing::new);
        let sealed = || self.limit.as_ref().map_or_else(seal, |limit| limit.pass(seal));
        let pem = if group.encrypts_keys() { sealed() } else { key.to_pem() };
        pem.map_err(|source| Error::Crypto { path: self.dir.join(group.dir_name()), source })
    }
}
