// SPDX-License-Identifier: Apache-2.0
//! Keeping OCSP responses at hand for every certificate that is stapled, so that an outage of the CA's
//! responder is not felt. Runs in the child that renews; the others take up from the store what it has got.
//!
//! - [`driver`] asks for what is due, side by side and bounded; [`turns`] decides whose turn it is.
//! - [`report`] tells job.json, log and commands what came of it; [`past`] reads back what a child needs to
//!   go on.
//! - [`staged`] finds certificates that are not in use yet, so that they are stapled from their first
//!   handshake on.

pub mod driver;
mod past;
pub mod report;
pub mod snapshot;
pub mod staged;
pub mod turns;

pub use driver::{Driver, Settings};
