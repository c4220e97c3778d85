// SPDX-License-Identifier: Apache-2.0
//! Pages of docs/ as their readers use them: what they name exists, and their commands do on a fresh Debian
//! what the page says. README.md in this folder has the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod named;
mod page;
mod walk;

use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Names of all pages in docs/.
fn pages() -> Vec<String> {
    let names = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".md"));
    names.sort();
    assert!(names.len() > 10, "the pages are found");
    names
}
