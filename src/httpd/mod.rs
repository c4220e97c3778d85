// SPDX-License-Identifier: Apache-2.0
//! The glue to httpd: performs its hooks according to decisions of the layers below.
//!
//! - `hooks` holds the functions that httpd, its modules and OpenSSL call, and the module record.
//! - `start` runs in the parent, as root if httpd is started by root: plan, store, certificates for mod_ssl.
//! - `serve` answers requests and handshakes in children.
//! - `child` runs beside serving: it reads certificates and responses that other processes have published,
//!   and one child renews.
//! - `state` holds the data these share.
//! - `sys` holds safe wrappers over httpd's C.
//!
//! Imports run hooks → {start, serve, child} → state → sys; `start`, `serve` and `child` do not import each
//! other. `unsafe` is in `hooks` and `sys` alone.

mod child;
mod hooks;
mod serve;
mod start;
mod state;
mod sys;
