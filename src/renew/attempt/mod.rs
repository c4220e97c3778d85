// SPDX-License-Identifier: Apache-2.0
//! One attempt to renew one managed domain at one CA: account, order, challenges, chain, each step saved in
//! `staging`. [`worker`](super::worker) decides which domain, when, and the consequences.

pub mod account;
pub mod answering;
pub mod ca_pool;
mod certificate;
pub(crate) mod challenges;
mod choice;
pub mod context;
mod drive;
pub(crate) mod issue;
mod obstacle;
mod order;
mod other_key;
mod own_account;
pub mod persist;
pub mod progress;
mod records;
mod rollover;
pub mod settings;
mod shared_account;
pub(crate) mod sharing;
pub(crate) mod state;
mod takeover;
mod validation;
