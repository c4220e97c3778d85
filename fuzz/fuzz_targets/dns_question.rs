// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what is sent to the DNS responder: see `checks/question.rs`.
#![no_main]

#[path = "../checks/question.rs"]
mod question;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = question::check(bytes);
});
