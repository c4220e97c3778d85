// SPDX-License-Identifier: Apache-2.0
//! Which texts of a CA count as addresses (RFC 8555 §7.1): absolute http(s) URLs without user and password, of a
//! bounded length. All else is refused. It knows nothing of the objects they stand in.

/// Bytes of an address.
const MAX_URL: usize = 2048;

/// Whether the text is an absolute http(s) URL, as every URL of the protocol has to be, without user and
/// password.
pub(super) fn is_url(text: &str) -> bool {
    let is_good = |u: url::Url| {
        let is_anonymous = u.username().is_empty() && u.password().is_none();
        matches!(u.scheme(), "http" | "https") && u.host_str().is_some() && is_anonymous
    };
    text.len() <= MAX_URL
        && text.bytes().all(|b| b.is_ascii_graphic())
        && url::Url::parse(text).is_ok_and(is_good)
}

pub(super) fn is_encrypted(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.scheme() == "https")
}

/// Scheme, host and port; `None` if the text is no absolute http(s) URL.
pub(super) fn origin(text: &str) -> Option<url::Origin> {
    url::Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple)
}
