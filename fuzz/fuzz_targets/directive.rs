// SPDX-License-Identifier: Apache-2.0
//! Any lines as httpd's configuration: see `checks/directive.rs`.
#![no_main]

#[path = "../checks/directive.rs"]
mod directive;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| directive::check(bytes));
