// SPDX-License-Identifier: Apache-2.0
//! The C module and ours side by side, on copies of one store and under one configuration: ours never serves
//! less.
//!
//! `grid` has the changes of a configuration or a store, each with a CA that is down, refuses, or issues;
//! `posted` has configurations in the style of those posted in forums. `make differential` runs all of it,
//! `cargo test` a part that takes a few minutes. A case shows the answers of the C module and ours;
//! `documented` lists the intended differences, each row with the one of docs/compat.md that explains it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod documented;
mod facts;
mod grid;
mod posted;
mod rank;
mod seen;
mod world;
