// SPDX-License-Identifier: Apache-2.0
//! Any lines as a request of a CA's validation: see `checks/challenge_request.rs`.
#![no_main]

#[path = "../checks/challenge_request.rs"]
mod challenge_request;

use challenge_request::Site;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

static SITE: LazyLock<Site> = LazyLock::new(|| {
    Site::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/stores/challenge_request"))
});

fuzz_target!(|bytes: &[u8]| challenge_request::check(&SITE, bytes));
