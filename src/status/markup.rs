// SPDX-License-Identifier: Apache-2.0
//! The parts of the pages' markup beside `maud`, which escapes every value: links, titles, and the form in
//! which markup goes to the page. Refuses links to anything but http and https.

use maud::{Markup, html};

/// The markup in ASCII, with the C module's quotes around attributes, on one line.
///
/// Letters of other alphabets become numeric references, because the page around the markup has an encoding
/// of its own. maud delimits attributes by `"` and escapes `"` in values: one that is left is a delimiter.
pub fn ascii(markup: Markup) -> String {
    let markup = markup.into_string();
    let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\'');
    let mut out = String::with_capacity(markup.len());
    let mut rest = markup.as_str();
    while let Some(at) = rest.find(|c| !is_plain(c)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push('\''),
            Some('\'') => out.push_str("&#39;"),
            Some('\n' | '\t') => out.push(' '),
            // HTML has no control characters, and a page cannot show them.
            Some(c) if !c.is_control() => out.extend(["&#", &u32::from(c).to_string(), ";"]),
            _ => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// A link if `url` is one of http or https, else the text alone.
pub fn link(url: &str, text: &str) -> Markup {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_web = matches!(scheme.as_deref(), Some("http" | "https"));
    html! { @if is_web { a href=(url) { (text) } } @else { (text) } }
}

/// A text that shows its title under the pointer.
pub fn titled(title: &str, text: &str) -> Markup {
    html! { span title=(title) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> String {
        ascii(html! { (text) })
    }

    #[test]
    fn text_is_never_markup() {
        assert_eq!(
            text("<b a='x' c=\"y\">&\0\n\u{202e}"),
            "&lt;b a=&#39;x&#39; c=&quot;y&quot;&gt;&amp; &#8238;"
        );
    }

    #[test]
    fn only_addresses_of_servers_become_links() {
        let link = |url| ascii(link(url, "<x>"));
        assert_eq!(link("https://a.test/?a='&b"), "<a href='https://a.test/?a=&#39;&amp;b'>&lt;x&gt;</a>");
        for bad in ["javascript:alert(1)", "javascript://a.test/%0aalert(1)", "data:text/html,x", "", "//x"] {
            assert_eq!(link(bad), "&lt;x&gt;", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_of_any_characters_contains_no_markup(any in "\\PC*|[<>&'\"\\x00-\\x1f]{0,20}") {
            let escaped = text(&any);
            prop_assert!(escaped.is_ascii() && !escaped.contains(['<', '>', '\'', '"', '\0', '\n']));
        }

        #[test]
        fn a_value_of_any_characters_stays_inside_its_attribute(any in "\\PC*|[<>&'\"\\x00-\\x1f]{0,20}") {
            let markup = ascii(titled(&any, ""));
            let value = markup.strip_prefix("<span title='").and_then(|rest| rest.strip_suffix("'></span>"));
            prop_assert!(value.is_some_and(|value| !value.contains(['<', '>', '\'', '"'])), "{markup}");
        }
    }
}
