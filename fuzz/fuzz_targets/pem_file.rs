// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a file of certificates: see `checks/pem_file.rs`.
#![no_main]

#[path = "../checks/pem_file.rs"]
mod pem_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pem_file::check(bytes));
