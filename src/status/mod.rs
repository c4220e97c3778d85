// SPDX-License-Identifier: Apache-2.0
//! What the module tells of itself: one [`snapshot`] of plain values, and its renderings as JSON, as sections
//! of server-status for people ([`html`]) and for scripts ([`text`]), and as metrics.

pub mod html;
pub mod json;
mod labels;
mod markup;
pub mod metrics;
mod renewal_need;
pub mod snapshot;
pub mod standing;
pub mod stapling;
#[cfg(test)]
mod tests;
pub mod text;

pub use snapshot::{Domain, Snapshots};

/// `MDCertificateCheck`: where the page leads to for a certificate, by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub name: String,
    /// The fingerprint is appended.
    pub url: String,
}
