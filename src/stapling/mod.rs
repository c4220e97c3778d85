// SPDX-License-Identifier: Apache-2.0
//! Keeping OCSP responses at hand for every certificate that is stapled, so that an outage of the CA's
//! responder is not felt. Runs in the child that renews; the others take up from the store what it has got.
//!
//! - [`driver`] asks for what is due, side by side and bounded; [`request_queue`] decides whose turn it is.
//! - [`report`] tells job.json, log and commands what came of it; [`resume`] reads back what a child needs to
//!   go on.
//! - [`upcoming`] finds certificates that are not in use yet, so that they are stapled from their first
//!   handshake on.

pub mod driver;
pub mod report;
pub mod request_queue;
mod resume;
pub mod snapshot;
pub mod upcoming;

pub use driver::{Driver, Settings};
