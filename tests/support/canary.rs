// SPDX-License-Identifier: Apache-2.0
//! A library that reads what it has freed as soon as it is loaded: `sanitize.sh` has httpd load it, built like the
//! module, to see that AddressSanitizer tells of it.

use std::hint::black_box;
use std::ptr;

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    let gone = Box::into_raw(Box::new(7_u64));
    // SAFETY: the pointer is that of the box. Reading it afterwards is the error that has to be found.
    unsafe {
        drop(Box::from_raw(gone));
        black_box(ptr::read_volatile(gone));
    }
}
