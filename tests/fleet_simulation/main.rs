// SPDX-License-Identifier: Apache-2.0
//! Ten httpds of a fleet with real renewals and stores of their own, on an engine in memory, a CA in memory and
//! virtual time: how many orders they make together, how soon all have what one has got, what they ask of the
//! engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cost;
mod hostile;
mod load;
mod trouble;
mod world;
