// SPDX-License-Identifier: Apache-2.0
//! Which module file a test loads: ours, the C module, or ours with panics on demand.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
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
    env::var_os("MODULE_PANIC").map_or_else(|| root().join("target/panic/debug/libmod_md.so"), PathBuf::from)
}

/// The C module of this machine, also where `make install` has put ours in its place. Only a version 2.6:
/// that is the one that ours succeeds, and earlier ones behave otherwise.
pub fn c_module() -> Option<PathBuf> {
    let dir = &apache::find()?.modules;
    [dir.join("mod_md.so"), dir.join("mod_md.so.orig")].into_iter().find(|path| is_c(path) && is_of_2_6(path))
}

/// By the version among its texts, where each ends with a zero.
fn is_of_2_6(module: &Path) -> bool {
    contains(module, b"\x002.6.")
}

/// Told by its content, because `make install AS=md` gives ours the same name: by the mark that this looks for
/// too, a file of the store that ours alone writes.
pub fn is_c(module: &Path) -> bool {
    !contains(module, b"trial-loading.json")
}

/// A module has millions of bytes, and every configuration of a test asks this: each file is read once.
fn contains(file: &Path, text: &'static [u8]) -> bool {
    type File = (u64, u64, u64, (i64, i64));
    static KNOWN: Mutex<BTreeMap<(File, &[u8]), bool>> = Mutex::new(BTreeMap::new());
    let Ok(meta) = fs::metadata(file) else { return false };
    let content = (meta.dev(), meta.ino(), meta.len(), (meta.mtime(), meta.mtime_nsec()));
    let look = || fs::read(file).unwrap_or_default().windows(text.len()).any(|part| part == text);
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner).entry((content, text)).or_insert_with(look)
}
