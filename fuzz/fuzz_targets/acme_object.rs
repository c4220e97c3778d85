// SPDX-License-Identifier: Apache-2.0
//! Any JSON as an object of an ACME server: see `checks/acme.rs`.
#![no_main]

#[path = "../checks/acme.rs"]
mod acme;
#[path = "../checks/plain.rs"]
mod plain;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| acme::check(bytes));
