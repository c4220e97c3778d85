// SPDX-License-Identifier: Apache-2.0
//! Shows what the library warns of, on standard error, where a command has no log of its own: each text once,
//! for some commands look again and again. Decides nothing.

use super::terminal::escaped;
use crate::log::{Level, Record, install};
use std::collections::HashSet;
use std::io::{Write, stderr};
use std::sync::{Mutex, PoisonError};

/// Texts that are known to be shown; later ones are not shown any more.
const SHOWN_MAX: usize = 1000;

/// `None` before the first one.
static SHOWN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Has warnings shown from now on.
pub fn show() {
    install(Some(write));
}

fn write(record: &Record<'_>) {
    if record.level > Level::Warn {
        return;
    }
    let text = escaped(&record.text.to_string());
    if is_new(&mut SHOWN.lock().unwrap_or_else(PoisonError::into_inner), &text) {
        // Whoever reads may have gone.
        let _ = writeln!(stderr(), "{text}");
    }
}

fn is_new(shown: &mut Option<HashSet<String>>, text: &str) -> bool {
    let shown = shown.get_or_insert_default();
    shown.len() < SHOWN_MAX && shown.insert(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_shown_once_and_not_any_number_of_them() {
        let mut shown = None;
        assert!(is_new(&mut shown, "a") && is_new(&mut shown, "b") && !is_new(&mut shown, "a"));
        let more = (0..2 * SHOWN_MAX).filter(|number| is_new(&mut shown, &number.to_string())).count();
        assert_eq!(more, SHOWN_MAX - 2);
    }
}
