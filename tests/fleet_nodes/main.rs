// SPDX-License-Identifier: Apache-2.0
//! Nodes of a fleet in one process, each with a store of its own, on an engine in memory and a virtual clock:
//! what one publishes the others have in their stores, whoever dies, whatever the engine loses or invents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deleted;
mod ends;
mod flood;
mod lab;
mod late;
mod limits;
mod many;
mod operating;
mod regained;
mod sets;
