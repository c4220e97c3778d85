// SPDX-License-Identifier: Apache-2.0
//! Raw bindings to Apache httpd 2.4.48 and later, made by bindgen from the installed headers, with a C shim
//! for macros, which bindgen cannot translate (`shim_…`, see `shim.h`).
//!
//! When this crate compiles, the layout of every struct with public fields is compared with Rust's (bindgen's
//! constant assertions) and with the C compiler's (`layout.h`, see `build.rs`); all other structs keep their
//! fields private. Functions from the headers of mod_ssl, mod_status and OpenSSL are bound here
//! as well, so that no declaration is written by hand.

#![no_std]
#![allow(unsafe_code, non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    /// Where C and Rust would differ silently, the first use of these fields would read something else.
    #[test]
    fn records_are_laid_out_as_the_headers_say() {
        assert_eq!(core::mem::offset_of!(module, version), 0);
        assert_eq!(core::mem::size_of::<cmd_func>(), core::mem::size_of::<*const ()>());
        assert_eq!(core::mem::size_of::<apr_time_t>(), 8);
        assert!(core::mem::offset_of!(command_rec, errmsg) > core::mem::offset_of!(command_rec, func));
        assert!(core::mem::offset_of!(request_rec, uri) > core::mem::offset_of!(request_rec, method));
    }

    #[test]
    fn the_c_compiler_compares_every_field_that_is_public() {
        let bindings = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
        let layout = include_str!(concat!(env!("OUT_DIR"), "/layout.h"));
        // Names of ours begin with a letter, those that bindgen has made up with an underscore.
        let is_field = |line: &&str| {
            line.strip_prefix("    pub ").and_then(|rest| rest.split_once(':')).is_some_and(|(name, _)| {
                name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(' ')
            })
        };
        let public = bindings.lines().filter(is_field).count();
        let compared = layout.lines().filter(|line| line.starts_with("_Static_assert(offsetof(")).count();
        assert!(public > 100, "{public}");
        assert_eq!(compared, public);
    }

    #[test]
    fn the_bindings_are_of_httpd_2_4() {
        assert_eq!(MODULE_MAGIC_NUMBER_MAJOR, 20120211);
    }
}
