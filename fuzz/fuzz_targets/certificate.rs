// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a certificate in DER: see `checks/certificate.rs`.
#![no_main]

#[path = "../checks/certificate.rs"]
mod certificate;
#[path = "../checks/plain.rs"]
mod plain;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| certificate::check(bytes));
