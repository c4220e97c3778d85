// SPDX-License-Identifier: Apache-2.0
//! What a test lets go wrong with the memory engine: for all nodes at the server, for one at its own handle.

use mod_md::fleet::engine::{Change, Entry, Error};
use std::time::Duration;

/// How long a call waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// No call arrives.
    pub is_away: bool,
    /// Calls arrive and are carried out; their answers do not come back.
    pub answers_lost: bool,
    /// Writes are refused; leases can be kept, which a full etcd allows.
    pub is_full: bool,
    /// All but reading is refused, as by a replica of Redis.
    pub is_read_only: bool,
    /// Name and password, or the rights of the role.
    pub is_denied: bool,
    /// How long an answer takes; at most what a call waits for.
    pub slow: Duration,
    /// No answer makes sense.
    pub is_garbled: bool,
    /// Values are noise, the rest of the answers is right.
    pub values_garbled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read,
    Keep,
    Write,
    /// The end of a lease, which no stop cuts short.
    Farewell,
}

impl Faults {
    /// Both at once.
    pub(super) fn and(&self, other: &Faults) -> Faults {
        Faults {
            is_away: self.is_away || other.is_away,
            answers_lost: self.answers_lost || other.answers_lost,
            is_full: self.is_full || other.is_full,
            is_read_only: self.is_read_only || other.is_read_only,
            is_denied: self.is_denied || other.is_denied,
            slow: self.slow.max(other.slow),
            is_garbled: self.is_garbled || other.is_garbled,
            values_garbled: self.values_garbled || other.values_garbled,
        }
    }

    /// Why the call is not carried out.
    pub(super) fn before(&self, call: Call) -> Result<(), Error> {
        if self.is_away {
            return Err(Error::Unreachable("memory: no route to host".into()));
        }
        if self.is_denied {
            return Err(Error::Denied("memory: wrong user or password".into()));
        }
        let is_refused = match call {
            Call::Read => false,
            Call::Keep | Call::Farewell => self.is_read_only,
            Call::Write => self.is_full || self.is_read_only,
        };
        if is_refused {
            return Err(Error::NoWrites("memory: no space left".into()));
        }
        Ok(())
    }

    /// How long the caller waits, and why it learns nothing of what was carried out.
    pub(super) fn after(&self) -> (Duration, Result<(), Error>) {
        if self.answers_lost || self.slow >= PATIENCE {
            return (PATIENCE, Err(Error::Timeout));
        }
        if self.is_garbled {
            return (self.slow, Err(Error::Garbled("memory: not an answer".into())));
        }
        (self.slow, Ok(()))
    }

    pub(super) fn garble(&self, entry: &mut Entry) {
        if self.values_garbled {
            entry.value = vec![0xa5; entry.value.len() / 2 + 1];
        }
    }

    pub(super) fn garble_change(&self, change: &mut Change) {
        if let Change::Put(entry) = change {
            self.garble(entry);
        }
    }
}
