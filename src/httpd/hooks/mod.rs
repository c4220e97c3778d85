// SPDX-License-Identifier: Apache-2.0
//! What httpd, mod_ssl, mod_watchdog, APR and OpenSSL call: the module record, the directive table, hooks and
//! callbacks. Each turns the pointers it is lent into the wrappers of [`sys`](super::sys) and calls `start`,
//! `serve` or `child`. Nothing is decided here. Beside `sys` it is the only place for `unsafe`.

#![allow(unsafe_code)]

pub mod child;
mod directives;
pub mod record;
pub mod register;
mod stapling;
pub mod tls;
pub mod watchdog;
