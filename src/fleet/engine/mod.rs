// SPDX-License-Identifier: Apache-2.0
//! The coordination engine as the fleet sees it: an ordered history of keys and values, transactions, leases,
//! and a watch that goes on from a revision. Knows nothing of certificates. The words MUST, MAY and SHOULD
//! are those of RFC 2119; one suite holds every implementation to them.
//!
//! Keys are relative to the prefix in the engine's URL, of printable ASCII, at most [`KEY_MAX`] bytes; values
//! are at most [`VALUE_MAX`] bytes. A call MUST return within its limit (ten seconds without an answer), and
//! within a second once the process stops; it MUST NOT take more memory than a few times the largest value,
//! whatever the server sends.

pub mod bounds;
pub mod etcd;
pub mod redis;

use crate::time::Timestamp;
use std::time::Duration;

/// Bytes of a key without the prefix.
pub const KEY_MAX: usize = 512;
/// Bytes of a value, and of the values of one transaction together.
pub const VALUE_MAX: usize = 1024 * 1024;
/// Writes of a transaction, and as many conditions.
pub const WRITES_MAX: usize = 64;
/// Entries of a page.
pub const PAGE: usize = 256;

/// A state of the engine's history. It grows with each transaction that writes; one with more than one write
/// has one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The number of a lease, chosen by the node: 1 to 2^63-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// When it came to be, since it was last absent: the fencing token of a lock. Never the same for two.
    pub created: Revision,
    /// When it was last written.
    pub changed: Revision,
    pub lease: Option<LeaseId>,
}

/// A part of a listing, ordered by keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The revision to watch from: all changes after it MUST be told by a watch from there, and a change
    /// before it MAY be told again. For every page of a listing the same.
    pub revision: Revision,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// A place in a listing, to be handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub revision: Revision,
    /// In the words of the implementation.
    pub token: String,
}

/// What has to hold for a transaction to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key; one whose lease has ended is absent.
    Absent(String),
    /// The key exists and was created then.
    CreatedAt(String, Revision),
    /// The key exists and was last written then.
    ChangedAt(String, Revision),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Under a lease the key ends with it. One that exists keeps when it was created.
    Put {
        key: String,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    },
    Delete {
        key: String,
    },
}

/// All of it or nothing; no two writes are of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    pub when: Vec<Condition>,
    pub then: Vec<Write>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Done(Revision),
    /// A condition does not hold; nothing was written.
    Refused,
}

/// An answer about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// The latest revision of the engine: where it is ahead of the watch for long, changes were lost.
    pub revision: Revision,
    /// The engine's clock, where it tells.
    pub time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Entry),
    /// Deleted, or its lease has ended.
    Gone {
        key: String,
        at: Revision,
    },
}

impl Change {
    pub fn key(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Gone { key, .. } => key,
        }
    }
}

/// Why a call came to nothing. After all but `LeaseGone`, `Denied`, `Invalid` and `Stopped` the write MAY have
/// been carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server of the list answers, with the reason of the last.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
    #[error("the engine has not answered in time")]
    Timeout,
    /// The lease was revoked, has ended, or never was.
    #[error("the lease has ended")]
    LeaseGone,
    /// The history since that revision is gone (compacted, trimmed, wiped, gone back after a failover): list
    /// everything again.
    #[error("the engine's history has a gap: {0}")]
    Gap(String),
    /// Name and password, or the rights of the role.
    #[error("the engine refuses: {0}")]
    Denied(String),
    /// It takes no writes now: full, read-only, loading, without a leader.
    #[error("the engine takes no writes: {0}")]
    NoWrites(String),
    /// An answer that makes no sense, or is larger than it may be.
    #[error("the engine's answer cannot be used: {0}")]
    Garbled(String),
    /// The request itself.
    #[error("{0}")]
    Invalid(String),
    #[error("{}", crate::time::Stopped)]
    Stopped,
}

impl Error {
    /// What happened and what to do about it, for people.
    pub fn advised(&self) -> String {
        let advice = match self {
            Error::Unreachable(reason) => unreachable_advice(reason),
            Error::Timeout => {
                "see that it is not overloaded, and that nothing between it and this machine drops packets"
            }
            Error::Denied(_) => {
                "correct MDFleetUser or the password in its file, or give that user the rights that docs/fleet.md has"
            }
            Error::NoWrites(_) => {
                "see why it takes none: its disk, its quota, its role; of several servers MDFleet has to name the one \
                 that does"
            }
            Error::Garbled(_) => {
                "see that the URL of MDFleet leads to etcd 3.4 or Redis 6.2, or a later one, with the right scheme"
            }
            Error::LeaseGone | Error::Gap(_) | Error::Invalid(_) | Error::Stopped => return self.to_string(),
        };
        format!("{self}; {advice}")
    }
}

/// By words of this module's TLS and of the system.
fn unreachable_advice(reason: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["certificate required", "bad certificate", "handshake failure"]) {
        "give this node a certificate that the engine accepts, by MDFleetClientCertificateFile, or have the engine ask for \
         none"
    } else if has(&["certificate"]) {
        "put the CA of the engine's certificate into the file of MDFleetCACertificateFile, and name the engine in MDFleet \
         as its certificate does"
    } else if has(&["closed the connection", "reset by peer", "wrong version number", "packet length"]) {
        "start the engine, or correct scheme and port of MDFleet: etcds:// and rediss:// are with TLS, etcd:// and \
         redis:// without"
    } else {
        "start the engine, or correct MDFleet, which has to name it as it is reached from here, with TLS or without"
    }
}

/// A coordination engine. Threads share one; each call is independent of the others.
pub trait Engine: Send + Sync {
    /// For people and logs: scheme, host and port of the server in use, without any secret.
    fn name(&self) -> String;

    /// Begins a lease of `ttl`. One of this number that is in force already MUST be kept, and its time begins
    /// again.
    fn grant(&self, lease: LeaseId, ttl: Duration) -> Result<Alive, Error>;

    /// The lease's time begins again. The time of the call, not of its answer, is when it was last kept.
    fn keep_alive(&self, lease: LeaseId) -> Result<Alive, Error>;

    /// Ends the lease and deletes all that is under it. One that has ended is no error. MUST take no longer than
    /// `within`, and MUST be carried out after the stop as well: it is the last call of a process.
    fn revoke(&self, lease: LeaseId, within: Duration) -> Result<(), Error>;

    /// Lists the keys that begin with `prefix`, at one revision, [`PAGE`] at a time; without a cursor from the
    /// begin. Keys whose lease has ended MUST NOT be listed.
    fn list(&self, prefix: &str, from: Option<&Cursor>) -> Result<Page, Error>;

    /// The entry of one key, as it is now.
    fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Carries out a transaction. Under a lease that has ended nothing MUST be written: [`Error::LeaseGone`].
    fn commit(&self, transaction: &Transaction) -> Result<Committed, Error>;

    /// Whether a watch tells the end of each lease, and not only what is written.
    fn tells_ends(&self) -> bool {
        true
    }

    /// Watches all keys from the revision after `after`.
    fn watch(&self, after: Revision) -> Result<Box<dyn Watch>, Error>;
}

/// Follows the history. Dropped, it ends.
pub trait Watch: Send {
    /// The changes since the last call, in their order; the changes of one transaction MUST NOT be torn apart.
    /// Returns within about a second, with none where there are none; and as soon as there are any. The revision
    /// is the latest that is certain to be complete.
    ///
    /// The end of a lease MAY be told late or, where the engine has no events for it, never: who depends on a
    /// key under a lease MUST look at it every five seconds.
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error>;
}
