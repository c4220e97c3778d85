// SPDX-License-Identifier: Apache-2.0
//! Asking a CA whether a certificate is revoked, and judging what comes back: OCSP (RFC 6960) in the
//! lightweight profile of RFC 5019.
//!
//! - [`Subject`] is a certificate with all that is needed to ask for it; [`request`] asks.
//! - [`response`] parses and verifies. Nothing that fails is ever stored, let alone stapled.
//! - [`schedule`] decides when to ask next.
//! - [`file`] keeps responses in the store, [`cache`] in the memory of who serves handshakes.
//! - [`fetch`] does one exchange with a responder.

pub mod cache;
pub mod fetch;
pub mod file;
#[cfg(test)]
pub mod fixture;
mod flaw;
pub mod request;
pub mod response;
pub mod schedule;
mod signer;
pub mod subject;

pub use cache::{Cache, Entry};
pub use flaw::Flaw;
pub use response::{Response, Status};
pub use subject::{Id, Subject};
