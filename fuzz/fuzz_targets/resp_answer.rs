// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what a Redis server sends: see `checks/resp.rs`.
#![no_main]

#[path = "../checks/resp.rs"]
mod resp;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(resp::check(bytes)));
