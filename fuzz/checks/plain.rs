// SPDX-License-Identifier: Apache-2.0
//! What holds for texts that come from outside and are shown, logged or sent to.
#![allow(dead_code, reason = "no check uses all")]

use mod_md::url::Url;

/// A text that goes into a log: one line, and nothing that a terminal obeys.
pub fn assert_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// A text that requests are sent to.
pub fn assert_url(text: impl AsRef<str>) {
    let text = text.as_ref();
    let url = Url::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert!(!url.has_user && text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
}
