// SPDX-License-Identifier: Apache-2.0
//! The log of this half, on standard error: at info a message without an error status stands alone, others
//! have `[file:line level][code(text)]` before it.

use super::codes::description;
use crate::cli::console::terminal::escaped;
use crate::log::{Level, Record, install};
use crate::model::outcome::status;
use std::io::{Write, stderr};
use std::sync::atomic::{AtomicU8, Ordering};

/// From the least to the most that is shown, with their names.
const LEVELS: [(Level, &str); 8] = [
    (Level::Crit, "crit"),
    (Level::Error, "error"),
    (Level::Warn, "warning"),
    (Level::Notice, "notice"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
    (Level::Trace1, "trace1"),
    (Level::Trace2, "trace2"),
];
const INFO: u8 = 4;

/// The position in [`LEVELS`] up to which messages are shown.
static SHOWN: AtomicU8 = AtomicU8::new(INFO);

/// Has messages shown from info on, `verbosity` levels more.
pub fn begin(verbosity: i8) {
    let position = i16::from(INFO) + i16::from(verbosity);
    let most = i16::try_from(LEVELS.len() - 1).unwrap_or(i16::MAX);
    SHOWN.store(u8::try_from(position.clamp(0, most)).unwrap_or(INFO), Ordering::Relaxed);
    install(Some(write));
}

fn write(record: &Record<'_>) {
    let shown = SHOWN.load(Ordering::Relaxed);
    if LEVELS.get(usize::from(shown)).is_some_and(|(level, _)| record.level <= *level) {
        // Whoever reads may have gone.
        let _ = writeln!(stderr(), "{}", escaped(&line(record, shown)));
    }
}

fn line(record: &Record<'_>, shown: u8) -> String {
    let text = record.text.to_string();
    let text = without_number(&text);
    if record.status == status::OK && shown <= INFO {
        return text.into();
    }
    let result = match record.status {
        status::OK => "ok".into(),
        code => format!("{code}({})", description(code)),
    };
    let level = LEVELS.iter().find(|(level, _)| *level == record.level).map_or("emerg", |(_, name)| name);
    format!("[{}:{} {level}][{result}] {text}", record.file, record.line)
}

/// The text without the number that a message has in httpd's log.
fn without_number(text: &str) -> &str {
    let number = text.strip_prefix("AH").and_then(|rest| rest.split_once(": "));
    match number {
        Some((digits, rest)) if digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_alone_at_info_unless_it_has_an_error_status() {
        let record = |level, status, shown| {
            line(&Record { level, status, file: "x.rs", line: 7, text: format_args!("AH10056: text") }, shown)
        };
        assert_eq!(record(Level::Info, 0, INFO), "text");
        assert_eq!(record(Level::Error, 0, INFO), "text");
        assert_eq!(record(Level::Error, 22, INFO), "[x.rs:7 error][22(Invalid argument)] text");
        assert_eq!(record(Level::Debug, 0, INFO + 1), "[x.rs:7 debug][ok] text");
        assert_eq!(
            record(Level::Warn, 20014, 2),
            "[x.rs:7 warning][20014(Internal error (specific inform)] text"
        );
    }

    #[test]
    fn only_a_log_number_is_taken_off() {
        assert_eq!(without_number("AH1: x"), "AH1: x");
        assert_eq!(without_number("AHxxxxx: y"), "AHxxxxx: y");
        assert_eq!(without_number("AH10059: The: y"), "The: y");
    }
}
