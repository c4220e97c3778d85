// SPDX-License-Identifier: Apache-2.0
//! The sink of [`crate::log`]: httpd's error log of the main server, module `md`, so that
//! `LogLevel md:debug` works. A message below that level is not even formatted.

use super::module_conf::ModuleConf;
use crate::log::{Level, Record, install};
use apache_sys::server_rec;
use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// The main server of the configuration in force; null while there is none.
static MAIN: AtomicPtr<server_rec> = AtomicPtr::new(ptr::null_mut());

/// The number httpd gave this module; -1 before it has a log. Written before `MAIN`, which releases it.
static INDEX: AtomicI32 = AtomicI32::new(-1);

/// From now on messages go to this server's log, as those of the module.
///
/// # Safety
/// `server` is live until [`close`] is called.
pub unsafe fn open<M: ModuleConf>(server: *mut server_rec) {
    // SAFETY: httpd has written the number when it loaded the module.
    INDEX.store(unsafe { (*M::record()).module_index }, Ordering::Relaxed);
    MAIN.store(server, Ordering::Release);
    ready();
}

/// From now on messages are written: to httpd's standard error as long as no log is open.
pub fn ready() {
    install(Some(sink));
}

/// The server is about to be freed: messages go to httpd's standard error until the next [`open`].
pub fn close() {
    MAIN.store(ptr::null_mut(), Ordering::Release);
}

/// Prints text for an admin who tests the configuration: without time and process id, at any `LogLevel`.
pub fn print_to_terminal(text: &str) {
    let Ok(text) = CString::new(text.replace('\0', " ")) else { return };
    let level = apache_sys::APLOG_WARNING | apache_sys::APLOG_STARTUP;
    // SAFETY: the strings outlive the call; without a server httpd writes to standard error.
    unsafe {
        apache_sys::shim_log(
            c"mod_md".as_ptr(),
            0,
            INDEX.load(Ordering::Relaxed),
            level as c_int,
            0,
            ptr::null(),
            text.as_ptr(),
        );
    }
}

/// Writes on standard output, where httpd prints what a `-D DUMP_…` asks for.
pub fn print_on_stdout(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            // Whoever reads may have gone.
            Err(_) => return,
        }
    }
}

fn sink(record: &Record<'_>) {
    let level = match record.level {
        Level::Emerg => apache_sys::APLOG_EMERG,
        Level::Alert => apache_sys::APLOG_ALERT,
        Level::Crit => apache_sys::APLOG_CRIT,
        Level::Error => apache_sys::APLOG_ERR,
        Level::Warn => apache_sys::APLOG_WARNING,
        Level::Notice => apache_sys::APLOG_NOTICE,
        Level::Info => apache_sys::APLOG_INFO,
        Level::Debug => apache_sys::APLOG_DEBUG,
        Level::Trace1 => apache_sys::APLOG_TRACE1,
        Level::Trace2 => apache_sys::APLOG_TRACE2,
    };
    let (main, level) = (MAIN.load(Ordering::Acquire), level as c_int);
    // SAFETY: the server is null or live: `close` is called by the cleanup of the pool that holds it.
    if unsafe { apache_sys::shim_is_logged(main, INDEX.load(Ordering::Relaxed), level) } == 0 {
        return;
    }
    let text = record.text.to_string().replace('\0', " ");
    let (Ok(text), Ok(file)) = (CString::new(text), CString::new(record.file)) else { return };
    let line = record.line as c_int;
    // SAFETY: as above; both strings outlive the call.
    unsafe {
        apache_sys::shim_log(
            file.as_ptr(),
            line,
            INDEX.load(Ordering::Relaxed),
            level,
            record.status,
            main,
            text.as_ptr(),
        );
    }
}
