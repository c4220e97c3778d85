// SPDX-License-Identifier: Apache-2.0
//! The C module and ours side by side, on copies of one store and under one configuration: ours never serves
//! less.
//!
//! `grid` has the changes of a configuration or a store, each with a CA that is down, refuses, or issues;
//! `posted` has configurations in the style of those that people post. `make differential` runs all of it,
//! `cargo test` what takes a few minutes. A case names what the C module answers and what ours does; what
//! differs on purpose stands in `documented`, each row with the one of docs/compat.md that explains it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod documented;
mod facts;
mod grid;
mod posted;
mod rank;
mod seen;
mod world;
