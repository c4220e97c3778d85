// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what a server answers over HTTP: see `checks/http_answer.rs`.
#![no_main]

#[path = "../checks/http_answer.rs"]
mod http_answer;
#[path = "../checks/plain.rs"]
mod plain;

use http_answer::Lines;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static LINES: LazyLock<Lines> = LazyLock::new(Lines::new);

fuzz_target!(|bytes: &[u8]| http_answer::check(&LINES, bytes));
