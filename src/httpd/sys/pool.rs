// SPDX-License-Identifier: Apache-2.0
//! APR pools: strings copied into them, boxes that they drop, arrays of paths for other modules.

use apache_sys::{
    apr_array_header_t, apr_pool_cleanup_null, apr_pool_cleanup_register, apr_pool_t, apr_status_t,
};
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;

/// Copies text into the pool, NUL-terminated. A NUL inside ends it early, as C would see it.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn copy(pool: *mut apr_pool_t, text: &str) -> *const c_char {
    // SAFETY: the pointer and length are of one str; apr_pstrmemdup appends the NUL.
    unsafe { apache_sys::apr_pstrmemdup(pool, text.as_ptr().cast(), text.len()) }
}

/// The values of one configuration, in the order in which they were made.
struct Kept {
    /// The process that drops them. Those that it forks inherit them and do not: in a child other threads may
    /// still read them.
    owner: u32,
    values: Vec<Value>,
}

struct Value {
    pointer: *mut c_void,
    drop: unsafe fn(*mut c_void),
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: made by `own`, for a pointer of this type, and dropped once.
        unsafe { (self.drop)(self.pointer) };
    }
}

/// The key under which a pool keeps the values of [`keep_together`].
const KEPT: &CStr = c"mod_md: values of the configuration";

/// From now on all values that [`own`] hands to this pool, that of a configuration, are dropped together.
///
/// # Safety
/// `pool` is a live pool, and this is called once for it until it is cleared.
pub unsafe fn keep_together(pool: *mut apr_pool_t) {
    // SAFETY: see above. The pool copies the key, and forgets the pointer when it is cleared.
    unsafe {
        let kept = keep(pool, Vec::new());
        apache_sys::apr_pool_userdata_set(kept.cast(), KEPT.as_ptr(), None, pool);
    }
}

/// # Safety
/// `pool` is a live pool.
unsafe fn keep(pool: *mut apr_pool_t, values: Vec<Value>) -> *mut Kept {
    unsafe extern "C" fn clean_up(data: *mut c_void) -> apr_status_t {
        super::guard::guard("pool_cleanup", apache_sys::APR_EGENERAL as apr_status_t, || {
            // SAFETY: the pointer came from Box::into_raw below, and a cleanup runs once. In other processes
            // it is left alone.
            unsafe {
                if (*data.cast::<Kept>()).owner == std::process::id() {
                    let kept = *Box::from_raw(data.cast::<Kept>());
                    kept.values.into_iter().rev().for_each(drop);
                }
            }
            apache_sys::APR_SUCCESS as apr_status_t
        })
    }
    let kept = Box::into_raw(Box::new(Kept { owner: std::process::id(), values }));
    // SAFETY: the functions live as long as the loaded library, and httpd unloads it by a cleanup that was
    // registered before this one and so runs after it.
    unsafe { apr_pool_cleanup_register(pool, kept.cast(), Some(clean_up), Some(apr_pool_cleanup_null)) };
    kept
}

/// Makes this process the one that drops the values of this pool: httpd becomes a daemon between reading its
/// configuration and putting it in force.
///
/// # Safety
/// `pool` is a live pool, and no other thread uses it.
pub unsafe fn claim(pool: *mut apr_pool_t) {
    // SAFETY: see above.
    if let Some(kept) = unsafe { kept_in(pool) } {
        kept.owner = std::process::id();
    }
}

/// # Safety
/// As for [`claim`]; the reference is not used after the pool is cleared.
unsafe fn kept_in<'a>(pool: *mut apr_pool_t) -> Option<&'a mut Kept> {
    let mut kept = ptr::null_mut();
    // SAFETY: the value under our key came from `keep_together`, and lives until the pool is cleared.
    unsafe {
        apache_sys::apr_pool_userdata_get(&mut kept, KEPT.as_ptr(), pool);
        kept.cast::<Kept>().as_mut()
    }
}

/// Hands `value` to the pool, which drops it when it is cleared, in the process that owns it. The pointer is
/// valid until then, and in a child until that ends.
///
/// # Safety
/// `pool` is a live pool, and no other thread uses it.
pub unsafe fn own<T>(pool: *mut apr_pool_t, value: T) -> *mut T {
    unsafe fn drop_value<T>(pointer: *mut c_void) {
        // SAFETY: the pointer came from Box::into_raw below, and this is called once.
        drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
    }
    let pointer = Box::into_raw(Box::new(value));
    let value = Value { pointer: pointer.cast(), drop: drop_value::<T> };
    // SAFETY: see above.
    unsafe {
        match kept_in(pool) {
            Some(kept) => kept.values.push(value),
            // The pool of a request.
            None => {
                keep(pool, vec![value]);
            }
        }
    }
    pointer
}

/// Text of a C string, or empty for a null pointer. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// `text` is null or a NUL-terminated string that lives as long as the result is used.
pub unsafe fn text<'a>(text: *const c_char) -> std::borrow::Cow<'a, str> {
    if text.is_null() {
        return std::borrow::Cow::Borrowed("");
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

/// An array of C strings, as httpd's hooks fill them.
pub struct PathArray<'a> {
    array: *mut apr_array_header_t,
    pool: *mut apr_pool_t,
    lent: PhantomData<&'a ()>,
}

impl PathArray<'_> {
    /// # Safety
    /// Both are live for the lifetime of the result, and the array's elements are `const char *`.
    pub unsafe fn new(array: *mut apr_array_header_t, pool: *mut apr_pool_t) -> Self {
        PathArray { array, pool, lent: PhantomData }
    }

    /// The paths it has.
    pub fn paths(&self) -> Vec<String> {
        // SAFETY: `array` is live and has C strings (see `new`).
        unsafe { strings(self.array) }
    }

    pub fn clear(&mut self) {
        // SAFETY: `array` is live (see `new`); its elements belong to the pool.
        unsafe { (*self.array).nelts = 0 };
    }

    pub fn push(&mut self, path: &str) {
        // SAFETY: `array` and `pool` are live, and the array has C strings (see `new`).
        unsafe { apache_sys::shim_push_string(self.array, copy(self.pool, path)) }
    }
}

/// The strings of an array of `const char *`; none for a null array.
///
/// # Safety
/// `array` is null or a live array of NUL-terminated strings.
pub unsafe fn strings(array: *const apr_array_header_t) -> Vec<String> {
    if array.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller vouches for array and elements; there are nelts of them.
    unsafe { (0..(*array).nelts).map(|i| text(apache_sys::shim_string(array, i)).into_owned()).collect() }
}
