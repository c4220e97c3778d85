// SPDX-License-Identifier: Apache-2.0
//! When to look at a domain again: the result of every step of a look.

use crate::time::Timestamp;
use crate::work::queue::Due;

/// When to look at a job again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    Never,
}

impl Next {
    /// The earlier of two looks.
    #[must_use]
    pub(super) fn or_sooner(self, other: impl Into<Next>) -> Self {
        match (self, other.into()) {
            (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
            (Next::Never, next) | (next, Next::Never) => next,
        }
    }

    pub(super) fn due(self) -> Due {
        match self {
            Next::At(at) => Some(at),
            Next::Never => None,
        }
    }
}

impl From<Option<Timestamp>> for Next {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Next::Never, Next::At)
    }
}
