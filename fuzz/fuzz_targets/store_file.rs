// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a file of the store: see `checks/store_file.rs`.
#![no_main]

#[path = "../checks/plain.rs"]
mod plain;
#[path = "../checks/store_file.rs"]
mod store_file;

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;
use store_file::Site;

static SITE: LazyLock<Site> =
    LazyLock::new(|| Site::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/stores/store_file")));

fuzz_target!(|bytes: &[u8]| store_file::check(&SITE, bytes));
