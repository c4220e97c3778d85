// SPDX-License-Identifier: Apache-2.0
//! Answers to requests and handshakes, from memory and the challenges of the store.

pub mod pages;
pub mod requests;
pub mod tls_alpn;
