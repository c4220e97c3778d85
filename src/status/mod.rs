// SPDX-License-Identifier: Apache-2.0
//! The status pages: one [`snapshot`] of plain values, printed as JSON, as sections of server-status for
//! people ([`html`]) and for scripts ([`text`]), as pages of their own for people ([`dashboard`]), and as
//! metrics. No page changes anything or asks a server.
//!
//! Imports run from the pages to [`snapshot`], [`remedy`], [`labels`], [`domain`], [`fleet`] and
//! [`standing`], and among these only from each to those behind it. Of its own layer this room imports
//! `stapling` and `renew::decide`.

pub mod dashboard;
mod domain;
pub mod fleet;
pub mod fleet_section;
pub mod html;
pub mod json;
pub mod labels;
mod markup;
pub mod metrics;
mod printed;
pub mod remedy;
pub mod renewal_need;
pub mod snapshot;
pub mod standing;
pub mod stapling;
#[cfg(test)]
mod tests;
pub mod text;

pub use domain::Domain;
pub use snapshot::Snapshots;

/// `MDCertificateCheck`: where the page leads to for a certificate, by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub name: String,
    /// The fingerprint is appended.
    pub url: String,
}
