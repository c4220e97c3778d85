// SPDX-License-Identifier: Apache-2.0
//! How control of a name is shown to a CA (RFC 8555 §8).

pub mod answers;
pub mod dns01;
pub mod http01;
pub mod selection;
pub mod tls_alpn01;

/// What the CA expects to see for `token` (RFC 8555 §8.1); `thumbprint` is that of the account key.
pub fn key_authorization(token: &str, thumbprint: &str) -> String {
    format!("{token}.{thumbprint}")
}
