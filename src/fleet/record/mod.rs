// SPDX-License-Identifier: Apache-2.0
//! The values of the engine, opened: from JSON and to JSON, bounded. What does not fit is `None`, never half a
//! record. Pure.

use crate::managed::peers::{SharedAccount, SharedAnswer, SharedJob, SharedSet};
use crate::model::RateLimit;
use crate::time::Timestamp;

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
    pub record: serde_json::Value,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMd {
    pub name: String,
    pub domains: Vec<String>,
    /// Labels of its key types, CAs, profile, must-staple: in words that are equal where the configuration is.
    pub terms: String,
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
    /// The latest revision whose answers to challenges and sets it has in its store.
    pub applied: u64,
    pub seen: Timestamp,
}
