// SPDX-License-Identifier: Apache-2.0
//! The client side of ACME (RFC 8555): resources, problems, signed requests, and the next step of an order.
//! Decides nothing about when to renew and keeps nothing on disk; see `renew` for both. Imports `http`,
//! `crypto` and the layers below, never `store`.
//!
//! All jobs of one CA share a [`Server`] in a run (directory, nonces); a [`Session`] adds the account.
//! [`order::step`] decides the next step, the session performs it.

pub mod account;
mod address;
pub mod client;
pub mod error;
mod fields;
pub mod link;
pub mod manage;
pub mod objects;
pub mod order;
pub mod problem;
pub mod published_limits;
pub mod record_terms;
pub mod renewal_info;

pub use account::{OrderOptions, Polled, Registration, Session};
pub use client::Server;
pub use error::{Error, Verdict};
pub use manage::{Download, Reason};
pub use objects::{Authorization, Challenge, Directory, Order};
pub use problem::Problem;
pub use renewal_info::RenewalInfo;
