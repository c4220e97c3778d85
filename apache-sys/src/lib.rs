//! Raw bindings to Apache httpd 2.4.48 and later, made by bindgen from the installed headers.
//!
//! The layout of every struct is compared with the C compiler's when this crate compiles (bindgen's
//! constant assertions), and the fields the module reads once more in the tests below. What macros of
//! httpd do and bindgen cannot see is written out at the end.

#![no_std]
#![allow(unsafe_code, non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// `ap_get_module_config`: a macro over the vector that `module_index` counts in.
///
/// # Safety
/// `vector` is the configuration vector of a live record, `record` a module httpd has loaded.
pub unsafe fn module_config(
    vector: *const ap_conf_vector_t,
    record: *const module,
) -> *mut core::ffi::c_void {
    // SAFETY: httpd lays the vector out as one pointer per module.
    unsafe { *vector.cast::<*mut core::ffi::c_void>().offset((*record).module_index as isize) }
}

/// `ap_set_module_config`, likewise.
///
/// # Safety
/// As for [`module_config`]; nobody else reads or writes the vector meanwhile.
pub unsafe fn set_module_config(
    vector: *mut ap_conf_vector_t,
    record: *const module,
    value: *mut core::ffi::c_void,
) {
    // SAFETY: as above.
    unsafe { *vector.cast::<*mut core::ffi::c_void>().offset((*record).module_index as isize) = value }
}

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
    fn the_bindings_are_of_httpd_2_4() {
        assert_eq!(MODULE_MAGIC_NUMBER_MAJOR, 20120211);
    }
}
