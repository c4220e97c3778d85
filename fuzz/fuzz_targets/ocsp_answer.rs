// SPDX-License-Identifier: Apache-2.0
//! Any bytes as the headers and the body of a responder's answer: see `checks/answer.rs`.
#![no_main]

#[path = "../checks/answer.rs"]
mod answer;
#[path = "../checks/response.rs"]
mod response;

use libfuzzer_sys::fuzz_target;
use response::Judge;
use std::path::Path;
use std::sync::LazyLock;

static JUDGE: LazyLock<Judge> =
    LazyLock::new(|| Judge::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")));

fuzz_target!(|bytes: &[u8]| answer::check(&JUDGE, bytes));
