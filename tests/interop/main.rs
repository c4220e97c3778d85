// SPDX-License-Identifier: Apache-2.0
//! With third-party CAs, and third-party servers in front of a CA: real httpd, real TLS clients, `make
//! test-interop`.
//!
//! Each test has a network of its own, in which it holds the ports 53, 80 and 443 of 127.0.0.1: these CAs
//! validate there and nowhere else, and ask the resolver of the machine. The deviations of a CA from RFC 8555
//! and its missing features are listed at the head of its file, and in docs/compat.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acme2certifier;
mod alone;
mod ca;
mod caddy;
mod nginx;
mod serles;
mod tinyproxy;
