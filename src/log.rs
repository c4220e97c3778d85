// SPDX-License-Identifier: Apache-2.0
//! The log as every layer sees it: a level, an `apr_status_t` where an operating system error caused the
//! message, and a text.
//!
//! The text carries its log number itself ("AH10056: processing …"). The httpd layer installs a sink that
//! decides where the text goes; without one (tests, commands) nothing is written. Callers never pass a secret
//! at any level.

use std::fmt;
use std::panic::Location;
use std::sync::RwLock;

/// httpd's levels, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace1,
    Trace2,
}

/// One message on its way to the sink.
pub struct Record<'a> {
    pub level: Level,
    /// `apr_status_t` of the failure behind this message; 0 for none.
    pub status: i32,
    /// The source file, without folders, and the line: httpd shows them at debug.
    pub file: &'static str,
    pub line: u32,
    pub text: fmt::Arguments<'a>,
}

/// Receives every record. A plain function: it lives as long as the loaded library.
pub type Sink = fn(&Record<'_>);

static SINK: RwLock<Option<Sink>> = RwLock::new(None);

/// Installs the sink, or removes it with `None`.
pub fn install(sink: Option<Sink>) {
    match SINK.write() {
        Ok(mut slot) => *slot = sink,
        Err(poisoned) => *poisoned.into_inner() = sink,
    }
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The operating system's message, without its number ("(os error 13)"), which the log shows before it.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Hands a message to the sink. Use the macro below, where the level is known.
#[track_caller]
pub fn write(level: Level, status: i32, text: fmt::Arguments<'_>) {
    #[cfg(test)]
    capture::note(text);
    let sink = match SINK.read() {
        Ok(slot) => *slot,
        Err(poisoned) => *poisoned.into_inner(),
    };
    if let Some(sink) = sink {
        let caller = Location::caller();
        let file = caller.file().rsplit('/').next().unwrap_or_default();
        sink(&Record { level, status, file, line: caller.line(), text });
    }
}

/// `log!(Level, "text {}", x)`, or `log!(Level, status = 111, "text")`.
#[macro_export]
macro_rules! log {
    ($level:ident, status = $status:expr, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, $status, format_args!($($text)+))
    };
    ($level:ident, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, 0, format_args!($($text)+))
    };
}

/// For unit tests: the log lines of a thread.
#[cfg(test)]
pub mod capture {
    use std::cell::RefCell;
    use std::fmt;

    thread_local! {
        static TEXTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(text: fmt::Arguments<'_>) {
        TEXTS.with_borrow_mut(|texts| texts.push(text.to_string()));
    }

    /// The lines that this thread has logged since the last call.
    pub fn take() -> Vec<String> {
        TEXTS.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[test]
    fn a_record_reaches_the_installed_sink_and_nothing_after_its_removal() {
        install(Some(|r| {
            SEEN.lock().unwrap().push(format!("{:?} {} {} {}", r.level, r.status, r.file, r.text))
        }));
        crate::log!(Error, status = 111, "AH1: {}", "x");
        install(None);
        crate::log!(Error, "AH2: unseen");
        let seen = SEEN.lock().unwrap();
        assert!(seen.contains(&"Error 111 log.rs AH1: x".to_string()));
        assert!(!seen.iter().any(|s| s.contains("AH2")));
    }
}
