// SPDX-License-Identifier: Apache-2.0
//! Every engine of the fleet does what `fleet::engine` promises: one suite, a test for each promise and engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
#[macro_use]
mod suite;

mod etcd;
mod memory;
mod redis;
