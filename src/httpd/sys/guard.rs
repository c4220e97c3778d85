// SPDX-License-Identifier: Apache-2.0
//! The panic boundary. A panic is a bug in this module: the boundary logs it with the name of the hook and
//! returns the hook's failure value, and httpd continues.

use crate::log::Level;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of the hook `name`. If it panics, the result is `failure`.
pub fn guard<R>(name: &'static str, failure: R, body: impl FnOnce() -> R) -> R {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(feature = "panic-injection")]
        inject(name);
        body()
    }));
    outcome.unwrap_or_else(|payload| {
        let reason = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no reason given".to_string());
        // httpd calls the first hooks before a log is open.
        super::log::ready();
        crate::log::write(
            Level::Crit,
            0,
            format_args!("mod_md: panic in hook '{name}': {reason}. This is a bug in mod_md; the server goes on without the hook."),
        );
        failure
    })
}

/// Panics in the hook that the environment variable `MOD_MD_PANIC` names.
#[cfg(feature = "panic-injection")]
#[allow(clippy::panic)]
fn inject(name: &str) {
    if std::env::var("MOD_MD_PANIC").is_ok_and(|wanted| wanted == name) {
        panic!("injected for a test");
    }
}

/// Defines a function that C may call: its body runs inside [`guard`], under the function's own name,
/// and a panic returns the value after `failing` to C.
macro_rules! callback {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty, failing $failure:expr; $body:block) => {
        $(#[$meta])*
        pub(in crate::httpd) unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            $crate::httpd::sys::guard::guard(stringify!($name), $failure, || $body)
        }
    };
}
pub(in crate::httpd) use callback;
