// SPDX-License-Identifier: Apache-2.0
//! The functions that httpd, mod_ssl, APR and OpenSSL call: the module record, the directive
//! table, hooks and callbacks. Each wraps the borrowed pointers (`sys`), calls `start`, `serve` or `child`,
//! and returns the result in the form that C expects. Decides nothing.
//!
//! Besides `sys` this is the only place for `unsafe`. It imports the rest of `httpd`, which does not import
//! it.

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

use std::ffi::c_int;

const OK: c_int = apache_sys::OK as c_int;
const FAILED: c_int = apache_sys::HTTP_INTERNAL_SERVER_ERROR as c_int;
