// SPDX-License-Identifier: Apache-2.0
//! Keeps an OCSP response ready for every certificate that is stapled, so that an outage of the CA's
//! responder does not affect clients.
//!
//! - [`service`] runs in every process: it answers handshakes from memory, and reads from the store the
//!   responses that the renewing child has saved.
//! - [`runner`] runs in the renewing child: [`driver`] requests the responses that are due, several at once
//!   and bounded; [`request_queue`] decides the order; [`connections`] are the HTTP clients for responders.
//! - [`report`] writes the outcome to job.json, log and commands; [`resume`] restores the state for the next
//!   child; [`snapshot`] prepares it for status pages.
//! - [`others`] leaves requests to the node of a fleet that makes them for all.
//! - [`upcoming`] finds certificates that are not in use yet, so that they are stapled from their first
//!   handshake on.
//!
//! `ocsp` decides which responses are usable and when the next is due. Imports run down to `managed` and
//! `ocsp`, of its own layer to `live::signals` and `notify`, never to `renew`, `startup` or `httpd`.

pub mod connections;
pub mod driver;
pub mod others;
pub mod report;
pub mod request_queue;
mod resume;
pub mod runner;
pub mod service;
pub mod snapshot;
pub mod upcoming;

pub use driver::{Driver, Settings};
