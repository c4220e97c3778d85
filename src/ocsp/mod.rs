// SPDX-License-Identifier: Apache-2.0
//! Asks a CA whether a certificate is revoked and verifies the answer: OCSP (RFC 6960) in the lightweight
//! profile of RFC 5019. Imports run from [`fetch`] and [`file`] to [`response`], and from there to
//! [`subject`].
//!
//! - [`Subject`] is a certificate with all that a request needs; [`request`] writes the request.
//! - [`response`] parses and verifies. Nothing that fails is ever stored, let alone stapled.
//! - [`schedule`] decides when to ask next.
//! - [`file`] keeps responses in the store, [`cache`] in the memory of processes that serve handshakes.
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
