// SPDX-License-Identifier: Apache-2.0
//! What a view keeps of an entry. Pure; imports `record` and `key`.

use crate::crypto::CertInfo;
use crate::fleet::engine::{LeaseId, Revision};
use crate::fleet::key::Key;
use crate::fleet::record::{Record, Set, Written};
use crate::managed::peers::SharedSet;
use crate::model::KeySpec;
use crate::time::Timestamp;

/// When an entry was written, as the engine tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The fencing token of a lock.
    pub created: Revision,
    pub changed: Revision,
    pub lease: Option<LeaseId>,
}

/// An entry that was opened.
#[derive(Clone)]
pub struct Put {
    pub key: Key,
    pub record: Record,
    pub by: Option<Written>,
    pub mark: Mark,
}

/// A value of the engine.
#[derive(Clone, Debug)]
pub struct Item<T> {
    pub value: T,
    pub by: Option<Written>,
    pub mark: Mark,
}

/// The set in force of an MD of this node.
#[derive(Clone)]
pub struct KnownSet {
    pub generation: u64,
    pub published: Timestamp,
    /// Directory URL of the CA that issued it.
    pub ca: String,
    pub profile: Option<String>,
    pub certs: Vec<(KeySpec, CertInfo)>,
    pub renew_at: Option<Timestamp>,
    /// With its keys, until it is in the store.
    pub full: Option<SharedSet>,
}

/// What is kept of every entry.
#[derive(Clone, Debug)]
pub struct Kept {
    pub mark: Mark,
    /// When it was written, by its writer's clock.
    pub at: Option<Timestamp>,
    /// The id of its writer.
    pub node: Option<String>,
    /// Why it could not be opened: it counts as absent, but has to be replaced as it is.
    pub flaw: Option<String>,
}

/// What a listing is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    All,
    /// What ends with a lease, which the engine may not tell.
    Nodes,
    Locks,
    Challenges,
}

impl Part {
    pub(super) fn has(self, key: &Key) -> bool {
        match self {
            Part::All => true,
            Part::Nodes => matches!(key, Key::Node(_) | Key::Applied(_)),
            Part::Locks => matches!(key, Key::Lock(_) | Key::AccountLock(_)),
            Part::Challenges => is_challenge(key),
        }
    }
}

impl KnownSet {
    pub(super) fn of(set: Set) -> Self {
        let certs = set.set.certs.iter();
        KnownSet {
            generation: set.generation,
            published: set.published,
            ca: set.set.ca.clone(),
            profile: set.set.profile.clone(),
            certs: certs.map(|cert| (cert.spec.clone(), CertInfo::from_chain(&cert.chain))).collect(),
            renew_at: set.set.renew_at,
            full: Some(set.set),
        }
    }
}

pub(super) fn is_challenge(key: &Key) -> bool {
    matches!(key, Key::Challenge { .. })
}
