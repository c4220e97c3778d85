// SPDX-License-Identifier: Apache-2.0
//! Any JSON as a file of the store or a request of a2md: see `checks/store_json.rs`.
#![no_main]

#[path = "../checks/plain.rs"]
mod plain;
#[path = "../checks/store_json.rs"]
mod store_json;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| store_json::check(bytes));
