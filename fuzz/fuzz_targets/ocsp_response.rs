// SPDX-License-Identifier: Apache-2.0
//! Any bytes as an OCSP response: see `checks/response.rs`.
#![no_main]

#[path = "../checks/response.rs"]
mod response;

use libfuzzer_sys::fuzz_target;
use response::Judge;
use std::path::Path;
use std::sync::LazyLock;

static JUDGE: LazyLock<Judge> =
    LazyLock::new(|| Judge::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")));

fuzz_target!(|der: &[u8]| {
    let _ = JUDGE.check(der);
});
