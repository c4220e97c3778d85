// SPDX-License-Identifier: Apache-2.0
//! The glue to httpd: performs its hooks with what the layers below decide.
//!
//! - `sys` is the room for `unsafe`; everything else here is safe code over its wrappers.
//! - `state` is what the other parts share.
//! - `start` runs in the parent, as root where httpd is started by root: plan, store, mod_ssl's questions.
//! - `serve` answers requests and handshakes.
//! - `child` runs beside serving: what other processes published is taken up, and one child renews.
//!
//! `start`, `serve` and `child` do not import each other.

mod child;
mod hooks;
mod live;
mod news;
mod serve;
mod stapling;
mod start;
mod state;
mod sys;
