// SPDX-License-Identifier: Apache-2.0
//! Answers to requests and handshakes in the children that serve, from memory and from the challenges of the
//! store. Called by `hooks`; imports `state` and `sys`, and neither `start` nor `child`.

pub mod pages;
pub mod requests;
pub mod tls_alpn;
