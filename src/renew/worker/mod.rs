// SPDX-License-Identifier: Apache-2.0
//! Which domain is looked at, when, and what follows: a renewal, a set that goes live, a failure, a warning.

pub(crate) mod ari_refresh;
pub mod check;
pub(crate) mod expiry_warning;
pub(crate) mod failure;
pub(crate) mod go_live;
pub mod limits;
pub mod neighbour;
pub mod pool;
pub mod queue;
