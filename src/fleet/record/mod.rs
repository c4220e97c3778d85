// SPDX-License-Identifier: Apache-2.0
//! The values of the engine, opened: from JSON and to JSON, bounded. What does not fit, or does not belong to
//! its key, is refused, never half a record. Pure.

mod account;
mod fields;
#[cfg(test)]
pub mod fixture;
mod job;
mod node;
mod other;
mod set;

use super::key::Key;
use super::sealed::Flaw;
use crate::managed::peers::{SharedAccount, SharedAnswer, SharedJob, SharedSet};
use crate::model::RateLimit;
use crate::time::Timestamp;
use fields::Fields;
use serde_json::Value;

/// Legible in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub version: u64,
    /// 32 hexadecimal digits: random, made with the engine's first entry, so that another one shows that all was lost.
    pub epoch: String,
}

/// Who wrote a sealed value, and when by its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub node: String,
    pub at: Timestamp,
}

/// Legible in the engine, under the node's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The node's id.
    pub node: String,
    pub since: Timestamp,
}

/// The set in force.
#[derive(Clone)]
pub struct Set {
    pub set: SharedSet,
    /// One more than that of the set it replaced.
    pub generation: u64,
    /// When it was published, by its node's clock: `MDActivationDelay` counts from here.
    pub published: Timestamp,
}

#[derive(Clone)]
pub struct Job(pub SharedJob);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// As `withdrawn/NAME.json` of the store has it.
    pub record: Value,
}

#[derive(Clone)]
pub struct Account(pub SharedAccount);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(pub SharedAnswer);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub limit: RateLimit,
    pub md: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ocsp {
    pub md: String,
    /// The file name that the store gives it.
    pub file: String,
    pub der: Vec<u8>,
}

/// An MD as a node has it configured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeMd {
    pub name: String,
    pub domains: Vec<String>,
    /// Labels of its key types, CAs, profile, must-staple: in words that are equal where the configuration is.
    pub terms: String,
    /// Whether it asks the CA of the MD for advice: it renews it, and goes by ARI.
    pub asks: bool,
}

/// A live node, under its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// 32 hexadecimal digits, random per store.
    pub id: String,
    /// For people.
    pub name: String,
    /// Random for each process: two at once are a copied store.
    pub instance: String,
    /// Of mod_md.
    pub version: String,
    pub mds: Vec<NodeMd>,
    /// It has more MDs, which do not fit into the value.
    pub has_more: bool,
    /// The latest revision whose answers to challenges and sets it has in its store.
    pub applied: u64,
    pub seen: Timestamp,
}

/// What a node has applied, under its lease; newer than what [`Node`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub applied: u64,
    pub seen: Timestamp,
}

/// A value of any kind.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "few exist at once, and none for long")]
pub enum Record {
    Meta(Meta),
    Lock(Lock),
    Job(Job),
    Set(Set),
    Withdrawn(Withdrawn),
    Account(Account),
    Challenge(Challenge),
    Hold(Hold),
    Ocsp(Ocsp),
    Node(Node),
    Applied(Applied),
}

impl Record {
    /// Whether it is what `key` is for.
    fn is_of(&self, key: &Key) -> bool {
        match (key, self) {
            (Key::Meta, Record::Meta(_))
            | (Key::Lock(_) | Key::AccountLock(_), Record::Lock(_))
            | (Key::Job(_), Record::Job(_))
            | (Key::Set(_), Record::Set(_))
            | (Key::Withdrawn(_), Record::Withdrawn(_))
            | (Key::Applied(_), Record::Applied(_)) => true,
            (Key::Account(hash), Record::Account(account)) => account.hash().is_some_and(|of| of == *hash),
            (Key::Challenge { .. }, Record::Challenge(challenge)) => Key::challenge(&challenge.0) == *key,
            (Key::Hold { ca, md }, Record::Hold(hold)) => {
                *md == hold.md && *ca == Key::account_hash(&hold.limit.ca, None)
            }
            (Key::Ocsp { md, file }, Record::Ocsp(ocsp)) => *md == ocsp.md && *file == ocsp.file,
            (Key::Node(id), Record::Node(node)) => *id == node.id,
            _ => false,
        }
    }

    /// As it is sealed, or, of `meta` and locks, as it is.
    pub fn to_json(&self, key: &Key) -> Result<Value, Flaw> {
        if !self.is_of(key) {
            return Err(Flaw::Key);
        }
        Ok(match self {
            Record::Meta(meta) => meta.to_json(),
            Record::Lock(lock) => lock.to_json(),
            Record::Job(job) => job.to_json()?,
            Record::Set(set) => set.to_json()?,
            Record::Withdrawn(withdrawn) => withdrawn.record.clone(),
            Record::Account(account) => account.to_json()?,
            Record::Challenge(challenge) => challenge.to_json(),
            Record::Hold(hold) => hold.to_json(),
            Record::Ocsp(ocsp) => ocsp.to_json(),
            Record::Node(node) => node.to_json(),
            Record::Applied(applied) => applied.to_json(),
        })
    }

    /// Reads what [`to_json`](Self::to_json) has made for the same key.
    pub fn from_json(key: &Key, json: &Value) -> Result<Self, Flaw> {
        let json = Fields(json);
        let record = match key {
            Key::Meta => Record::Meta(Meta::from_json(json)?),
            Key::Lock(_) | Key::AccountLock(_) => Record::Lock(Lock::from_json(json)?),
            Key::Job(_) => Record::Job(Job::from_json(json)?),
            Key::Set(_) => Record::Set(Set::from_json(json)?),
            Key::Withdrawn(_) => Record::Withdrawn(Withdrawn::from_json(json)?),
            Key::Account(_) => Record::Account(Account::from_json(json)?),
            Key::Challenge { .. } => Record::Challenge(Challenge::from_json(json)?),
            Key::Hold { .. } => Record::Hold(Hold::from_json(json)?),
            Key::Ocsp { .. } => Record::Ocsp(Ocsp::from_json(json)?),
            Key::Node(_) => Record::Node(Node::from_json(json)?),
            Key::Applied(_) => Record::Applied(Applied::from_json(json)?),
        };
        if record.is_of(key) { Ok(record) } else { Err(Flaw::Key) }
    }
}

#[cfg(test)]
mod tests;
