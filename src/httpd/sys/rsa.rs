// SPDX-License-Identifier: Apache-2.0
//! Generates RSA keys and can stop while doing so: OpenSSL calls back for each candidate prime.

use super::guard::callback;
use foreign_types::ForeignType;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use openssl_sys::{BN_GENCB, RSA_generate_key_ex, RSA_new};
use std::cell::Cell;
use std::ffi::c_int;

struct Question<'a> {
    is_stopped: &'a dyn Fn() -> bool,
    given_up: Cell<bool>,
}

/// A key of this many bits with the usual exponent; `None` if `is_stopped` has ended it.
pub fn make(bits: u32, is_stopped: &dyn Fn() -> bool) -> Result<Option<Rsa<Private>>, ErrorStack> {
    let exponent = BigNum::from_u32(0x1_0001)?;
    let question = Question { is_stopped, given_up: Cell::new(false) };
    let bits = c_int::try_from(bits).unwrap_or(c_int::MAX);
    // SAFETY: OpenSSL's own objects, looked at before they are used and freed once; the question outlives the
    // call that asks it.
    let (key, made) = unsafe {
        let key = RSA_new();
        if key.is_null() {
            return Err(ErrorStack::get());
        }
        let key = Rsa::<Private>::from_ptr(key);
        let asking = apache_sys::BN_GENCB_new();
        if asking.is_null() {
            return Err(ErrorStack::get());
        }
        apache_sys::BN_GENCB_set(asking, Some(ask_to_go_on), (&raw const question).cast_mut().cast());
        let made = RSA_generate_key_ex(key.as_ptr(), bits, exponent.as_ptr(), asking);
        apache_sys::BN_GENCB_free(asking);
        (key, made)
    };
    match made {
        1 => Ok(Some(key)),
        _ => {
            let errors = ErrorStack::get();
            if question.given_up.get() { Ok(None) } else { Err(errors) }
        }
    }
}

callback! {
    // 0 ends the generation.
    fn ask_to_go_on(_step: c_int, _count: c_int, asking: *mut BN_GENCB) -> c_int, failing 0; {
        // SAFETY: `make` has set the question, which lives until it returns.
        let question = unsafe { apache_sys::BN_GENCB_get_arg(asking).cast::<Question<'_>>().as_ref() };
        let given_up = question.is_none_or(|question| {
            question.given_up.set((question.is_stopped)());
            question.given_up.get()
        });
        c_int::from(!given_up)
    }
}

/// Frees OpenSSL's data of the calling thread. Otherwise OpenSSL does so when the thread ends, possibly while
/// the process tears OpenSSL down.
pub fn leave_thread() {
    // SAFETY: has no conditions; OpenSSL makes new data when this thread calls it again.
    unsafe { apache_sys::OPENSSL_thread_stop() };
}
