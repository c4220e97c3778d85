// SPDX-License-Identifier: Apache-2.0
//! Answers requests and handshakes in the serving children, from memory and from the challenges in the store.
//! Called by `hooks`; imports `state` and `sys`, and neither `start` nor `child`.

mod asked;
mod dashboard;
pub mod pages;
pub mod requests;
pub mod tls_alpn;
