// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a private key: see `checks/private_key.rs`.
#![no_main]

#[path = "../checks/private_key.rs"]
mod private_key;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| private_key::check(bytes));
