// SPDX-License-Identifier: Apache-2.0
//! Which texts of a CA count as addresses (RFC 8555 §7.1): absolute http(s) URLs without user and password,
//! of a bounded length. All else is refused. It knows nothing of the objects they stand in.

use crate::url::{Origin, Url};

/// Bytes of an address.
const MAX_URL: usize = 2048;

/// Whether the text is an absolute http(s) URL, as every URL of the protocol has to be, without user and
/// password.
pub(super) fn is_url(text: &str) -> bool {
    text.len() <= MAX_URL
        && text.bytes().all(|b| b.is_ascii_graphic())
        && Url::parse(text).is_ok_and(|url| !url.has_user)
}

pub(super) fn is_encrypted(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.origin.is_https)
}

/// Scheme, host and port; `None` if the text is no absolute http(s) URL.
pub(super) fn origin(text: &str) -> Option<Origin> {
    Url::parse(text).ok().map(|url| url.origin)
}
