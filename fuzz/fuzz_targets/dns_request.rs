// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what a DNS client asks: see `checks/dns.rs`.
#![no_main]

#[path = "../checks/dns.rs"]
mod dns;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dns::check_request(bytes));
