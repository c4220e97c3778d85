//! APR pools: strings copied into them, boxes they drop, arrays of paths that other modules read.

use apache_sys::{
    apr_array_header_t, apr_pool_cleanup_null, apr_pool_cleanup_register, apr_pool_t, apr_status_t,
};
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// Copies text into the pool, NUL-terminated. A NUL inside ends it early, as C would see it.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn copy(pool: *mut apr_pool_t, text: &str) -> *const c_char {
    // SAFETY: the pointer and length are of one str; apr_pstrmemdup appends the NUL.
    unsafe { apache_sys::apr_pstrmemdup(pool, text.as_ptr().cast(), text.len()) }
}

/// Hands `value` to the pool, which drops it when it is cleared. The pointer is valid until then.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn own<T>(pool: *mut apr_pool_t, value: T) -> *mut T {
    unsafe extern "C" fn drop_box<T>(data: *mut c_void) -> apr_status_t {
        super::guard::guard("pool_cleanup", apache_sys::APR_EGENERAL as apr_status_t, || {
            // SAFETY: the pointer came from Box::into_raw below, and a cleanup runs once.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
            apache_sys::APR_SUCCESS as apr_status_t
        })
    }
    let pointer = Box::into_raw(Box::new(value));
    // SAFETY: both functions live as long as the loaded library, and httpd unloads it by a cleanup that
    // was registered before this one and so runs after it.
    unsafe {
        apr_pool_cleanup_register(pool, pointer.cast(), Some(drop_box::<T>), Some(apr_pool_cleanup_null));
    }
    pointer
}

/// Like [`own`], but a child that ends does not drop the value, which its other threads may still be reading: only the
/// process that made it does.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn own_here<T>(pool: *mut apr_pool_t, value: T) -> *const T {
    // SAFETY: see above.
    let keeper = unsafe { own(pool, Keeper { value: ManuallyDrop::new(value), owner: std::process::id() }) };
    // SAFETY: it has just been made, and stays where it is until the pool drops it. ManuallyDrop has the layout of
    // what is in it.
    unsafe { (&raw const (*keeper).value).cast() }
}

struct Keeper<T> {
    value: ManuallyDrop<T>,
    owner: u32,
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        if std::process::id() == self.owner {
            // SAFETY: the keeper is dropped once, and nobody sees the value afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// Text of a C string, or empty for a null pointer. What is not UTF-8 is replaced.
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
    pub(super) unsafe fn new(array: *mut apr_array_header_t, pool: *mut apr_pool_t) -> Self {
        PathArray { array, pool, lent: PhantomData }
    }

    /// The paths it has.
    pub fn paths(&self) -> Vec<String> {
        // SAFETY: `array` is live and has C strings (see `new`).
        unsafe { strings(self.array) }
    }

    pub fn clear(&mut self) {
        // SAFETY: `array` is live (see `new`); what it pointed to belongs to the pool.
        unsafe { (*self.array).nelts = 0 };
    }

    pub fn push(&mut self, path: &str) {
        // SAFETY: `array` and `pool` are live (see `new`); apr_array_push returns room for one element.
        unsafe {
            let slot = apache_sys::apr_array_push(self.array).cast::<*const c_char>();
            *slot = copy(self.pool, path);
        }
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
    // SAFETY: the caller vouches for array and elements; nelts counts the elements at elts.
    unsafe {
        let elements = (*array).elts.cast::<*const c_char>();
        (0..(*array).nelts as usize).map(|i| text(*elements.add(i)).into_owned()).collect()
    }
}
