// SPDX-License-Identifier: Apache-2.0
//! Any text as a header, a name, a URL, a date: see `checks/texts.rs`.
#![no_main]

#[path = "../checks/plain.rs"]
mod plain;
#[path = "../checks/texts.rs"]
mod texts;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| texts::check(bytes));
