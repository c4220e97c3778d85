// SPDX-License-Identifier: Apache-2.0
//! Keeps an OCSP response ready for every certificate that is stapled, so that an outage of the CA's
//! responder is not felt.
//!
//! - [`service`] is what every process has: it answers handshakes from memory, and takes up from the store
//!   what the child that renews has saved.
//! - [`runner`] is what that child does: [`driver`] requests what is due, several at once and bounded;
//!   [`request_queue`] decides which is next; [`connections`] are the ways to responders.
//! - [`report`] writes the outcome to job.json, log and commands; [`resume`] reads back what the next child
//!   needs to go on; [`snapshot`] is what pages show of it.
//! - [`upcoming`] finds certificates that are not in use yet, so that they are stapled from their first
//!   handshake on.
//!
//! Decides nothing about responses: which are usable, and when the next is due, says `ocsp`. Imports run down
//! to `managed`, `ocsp` and `live::signals`, never to `renew`, `startup` or `httpd`.

pub mod connections;
pub mod driver;
pub mod report;
pub mod request_queue;
mod resume;
pub mod runner;
pub mod service;
pub mod snapshot;
pub mod upcoming;

pub use driver::{Driver, Settings};
