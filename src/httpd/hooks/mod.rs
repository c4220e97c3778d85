// SPDX-License-Identifier: Apache-2.0
//! What httpd, mod_ssl, mod_watchdog, APR and OpenSSL call: the module record, the directive table, hooks and
//! callbacks. Each turns the pointers it is lent into the wrappers of `sys`, calls `start`, `serve` or
//! `child`, and turns their answer into what C wants. Nothing is decided here.
//!
//! Beside `sys` it is the only place for `unsafe`. It imports all others of `httpd`, and none imports it.

#![allow(unsafe_code)]

mod child;
mod directives;
mod record;
mod register;
mod requests;
mod stapling;
mod start;
mod tls;
mod tls_alpn;
mod watchdog;

use std::ffi::c_int;

const OK: c_int = apache_sys::OK as c_int;
const FAILED: c_int = apache_sys::HTTP_INTERNAL_SERVER_ERROR as c_int;
