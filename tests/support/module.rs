// SPDX-License-Identifier: Apache-2.0
//! Which module file a test loads: ours, the C module, or ours with panics on demand.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::{apache, root};

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `MODULE` from the environment, else the release build.
pub fn under_test() -> PathBuf {
    env::var_os("MODULE")
        .filter(|path| !path.is_empty())
        .map_or_else(|| target_dir().join("release/libmod_md.so"), |path| root().join(path))
}

/// `MODULE_PANIC` from the environment, else what `make panic-module` builds.
pub fn with_panic_injection() -> PathBuf {
    env::var_os("MODULE_PANIC")
        .map_or_else(|| root().join("target/panic/release/libmod_md.so"), PathBuf::from)
}

/// The C module of this machine, also where `make install` has put ours in its place. Only a version 2.6:
/// that is the one that ours succeeds, and earlier ones behave otherwise.
pub fn c_module() -> Option<PathBuf> {
    let dir = &apache::find()?.modules;
    [dir.join("mod_md.so"), dir.join("mod_md.so.orig")].into_iter().find(|path| is_c(path) && is_of_2_6(path))
}

/// By the version among its texts, where each ends with a zero.
fn is_of_2_6(module: &Path) -> bool {
    fs::read(module).unwrap_or_default().windows(5).any(|five| five == b"\x002.6.")
}

/// Told by its content, because `make install AS=md` gives ours the same name: by the mark that this looks for
/// too, a file of the store that ours alone writes.
pub fn is_c(module: &Path) -> bool {
    const MARK: &[u8] = b"trial-loading.json";
    let content = fs::read(module).unwrap_or_default();
    !content.windows(MARK.len()).any(|text| text == MARK)
}
