// SPDX-License-Identifier: Apache-2.0
//! How control of a name is shown to a CA (RFC 8555 §8).
//!
//! [`selection`] picks the types that can be answered, [`http01`], [`dns01`], [`dns_account01`] and
//! [`tls_alpn01`] know the form of each answer, [`dns_persist01`] the record that the admin sets, and
//! [`answers`] keeps answers in the store, each with its owner, and [`presented`] texts that an operator puts
//! up. Sends nothing to a CA and does not decide
//! when an answer comes or goes: `renew::attempt` does. Of its own layer this room imports `acme`, for the
//! challenges it chooses from; inside it, `answers` and `selection` import the types, and those of the DNS
//! build on `dns01`.

pub mod answers;
pub mod dns01;
pub mod dns_account01;
pub mod dns_persist01;
pub mod http01;
pub mod presented;
pub mod selection;
pub mod tls_alpn01;

/// The answer that the CA expects for `token` (RFC 8555 §8.1); `thumbprint` is that of the account key.
pub fn key_authorization(token: &str, thumbprint: &str) -> String {
    format!("{token}.{thumbprint}")
}
