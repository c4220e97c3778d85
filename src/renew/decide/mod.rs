// SPDX-License-Identifier: Apache-2.0
//! The decisions of renewals: functions of values and `now`. They take no store, no clock, no log and no
//! randomness: a number is passed in. [`next`] puts them together. Imports `managed` and below, never
//! `attempt` or `worker`.

pub mod account_key;
pub mod activation;
pub mod ari;
pub mod brake;
pub mod due;
pub mod error;
pub mod failover;
pub mod need;
pub mod next;
pub mod order_deadline;
pub mod order_queue;
pub mod rate_limits;
pub mod reason;
pub mod record_wait;
pub mod remedies;
pub mod request;
pub mod retry;
pub mod union;
pub mod urgency;
