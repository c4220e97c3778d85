// SPDX-License-Identifier: Apache-2.0
//! The decisions of renewals: functions of values and `now`. No store, no clock, no log, no randomness: a
//! number is passed in.

pub mod activation;
pub mod ari;
pub mod brake;
pub mod due;
pub mod error;
pub mod failover;
pub mod next;
pub mod order_deadline;
pub mod order_queue;
pub mod rate_limits;
pub mod reason;
pub mod remedies;
pub mod retry;
pub mod urgency;
