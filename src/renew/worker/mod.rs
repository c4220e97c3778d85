// SPDX-License-Identifier: Apache-2.0
//! Schedules the looks at domains and performs their results: a renewal, a set that goes live, a failure, a
//! warning. Decides nothing: `decide` chooses the action, `attempt` makes one attempt. Imports run from
//! [`pool`] to [`check`] and from there to the files that handle results.

pub mod alone;
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
mod one_at_a_time;
mod peers;
pub mod pool;
mod record_wait;
pub mod requests;
mod saving;
mod succeeded;
