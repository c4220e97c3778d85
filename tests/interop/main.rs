// SPDX-License-Identifier: Apache-2.0
//! With CAs that nobody here wrote, and servers that others put before one: real httpd, real TLS clients,
//! `make test-interop`.
//!
//! Each test has a network of its own, in which it holds the ports 53, 80 and 443 of 127.0.0.1: these CAs
//! validate there and nowhere else, and ask the resolver of the machine. What has to be said of a CA (what it
//! does otherwise than RFC 8555, and what it cannot do) stands at the head of its file, and in
//! docs/compat.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acme2certifier;
mod alone;
mod ca;
mod caddy;
mod nginx;
mod serles;
mod tinyproxy;
