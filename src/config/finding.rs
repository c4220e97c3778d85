// SPDX-License-Identifier: Apache-2.0
//! Sentences for the log and configtest, and how many of one kind are listed. Pure.

use crate::log::Level;

/// File and line.
pub type Place = (String, u32);

/// The code of a finding that has none of its own.
pub const CODE: &str = "configuration";

/// A sentence for the log, with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    pub text: String,
    /// Of its kind, for programs.
    pub code: &'static str,
}

impl Finding {
    pub fn new(level: Level, text: String) -> Self {
        Finding { level, text, code: CODE }
    }

    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Finding { code, ..self }
    }

    pub(super) fn error(text: String) -> Self {
        Finding::new(Level::Error, text)
    }
}

/// More findings of a kind than these are summarized.
pub(super) const SHOWN: usize = 5;
/// More than these are not even named.
pub(super) const NAMED: usize = 10;

/// One of several of a kind.
pub struct Item<'a> {
    pub level: Level,
    /// Of the domain or host, with its place.
    pub name: String,
    /// Formatted only for the findings that are listed one by one.
    pub text: Box<dyn Fn() -> String + 'a>,
}

/// Lists the first findings of a kind in full, then the names of some more. `number`: of the log, or nothing;
/// `kind`: the kind of all of them.
pub fn gathered(number: &str, kind: &str, items: Vec<Item<'_>>) -> Vec<Finding> {
    let more = items.get(SHOWN..).unwrap_or_default();
    let rest = more.first().map(|first| {
        let named: Vec<_> = more.iter().take(NAMED).map(|item| item.name.as_str()).collect();
        let unnamed = match more.len().saturating_sub(NAMED) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Finding::new(
            first.level,
            format!("{number}{} more {kind}: {}{unnamed}", more.len(), named.join(", ")),
        )
    });
    let shown = items.iter().take(SHOWN).map(|item| Finding::new(item.level, (item.text)()));
    shown.chain(rest).collect()
}

/// The same findings with this code.
pub fn coded(code: &'static str, findings: Vec<Finding>) -> Vec<Finding> {
    findings.into_iter().map(|finding| finding.code(code)).collect()
}

/// `file:line`
pub fn at(place: &Place) -> String {
    format!("{}:{}", place.0, place.1)
}
