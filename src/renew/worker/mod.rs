// SPDX-License-Identifier: Apache-2.0
//! Which domain is looked at, when, and what follows: a renewal, a set that goes live, a failure, a warning.
//! Decides nothing: what to do says `decide`, one attempt is made by `attempt`. Imports run from [`pool`] to
//! [`check`] and from there to what follows.

mod ari_refresh;
pub mod check;
mod completed;
mod expiry_warning;
mod failure;
mod go_live;
mod held_back;
pub mod limits;
pub mod neighbour;
pub mod next;
mod notifications;
pub mod pool;
mod saving;
mod succeeded;
