// SPDX-License-Identifier: Apache-2.0
//! What a node has under way, as values, and the numbers that it is known by.

use crate::crypto;
use crate::fleet::decide::lease::Boot;
use crate::fleet::engine::{LeaseId, Revision};
use crate::fleet::record::{Hold, Ocsp};
use crate::time::Timestamp;
use data_encoding::HEXLOWER;

/// A renewal by this node under the lock of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub token: Revision,
    /// The renewal goes on in a later look. `None`: it is under way.
    pub kept_until: Option<Timestamp>,
}

/// What the thread that replicates is to write for renewals.
#[derive(Clone)]
pub enum Posted {
    Hold(Hold),
    RenewAt { name: String, at: Timestamp },
    Response(Ocsp),
}

impl Posted {
    /// Whether both are written to the same place, so that the later one alone counts.
    pub fn is_replaced_by(&self, later: &Posted) -> bool {
        match (self, later) {
            (Posted::Hold(one), Posted::Hold(other)) => {
                (&one.limit.ca, &one.md) == (&other.limit.ca, &other.md)
            }
            (Posted::RenewAt { name, .. }, Posted::RenewAt { name: other, .. }) => name == other,
            (Posted::Response(one), Posted::Response(other)) => {
                (&one.md, &one.file) == (&other.md, &other.file)
            }
            _ => false,
        }
    }
}

/// Whether the store is this process's to replicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    Unknown,
    Ours,
    /// Another process has it since then: its description.
    Others {
        who: String,
        since: Boot,
    },
}

/// 32 hexadecimal digits. Where there is no randomness, it is empty, and the engine's keys refuse it.
pub fn random_id() -> String {
    crypto::random::<16>().map(|id| HEXLOWER.encode(&id)).unwrap_or_default()
}

pub fn random_lease() -> LeaseId {
    // Positive, for engines with signed numbers, and never none.
    let bytes = crypto::random::<8>().unwrap_or([1; 8]);
    LeaseId((u64::from_be_bytes(bytes) >> 1).max(1))
}
