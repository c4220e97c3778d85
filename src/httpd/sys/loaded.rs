// SPDX-License-Identifier: Apache-2.0
//! The file from which the system has loaded this library. `library` detects that it was replaced.

use crate::library;
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The path it was loaded from, if another file is there now.
pub fn outdated() -> Option<&'static Path> {
    let path = Path::new(OsStr::from_bytes(name()?.to_bytes()));
    library::is_outdated(path, address().addr()).then_some(path)
}

/// The path in `LoadModule`.
fn name() -> Option<&'static CStr> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is one of this library, whose names live as long as it is loaded.
    unsafe {
        let found = libc::dladdr(address().cast(), info.as_mut_ptr());
        let name = info.assume_init().dli_fname;
        (found != 0 && !name.is_null()).then(|| CStr::from_ptr(name))
    }
}

/// The place of the library: any address within it.
fn address() -> *const () {
    outdated as *const ()
}
