// SPDX-License-Identifier: Apache-2.0
//! HTML that is escaped by construction: markup is text of the program, and whatever is found out at run time
//! gets in as text or as the value of an attribute.

/// Letters of other alphabets become numeric references: the page around this has an encoding of its own.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup as it stands in the program.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.0);
        self
    }

    /// ` name='value'`, inside a tag that is open.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("='");
        escape(value, &mut self.0);
        self.0.push('\'');
        self
    }

    /// A link, where `url` is one that a browser asks a server for; else only its text.
    pub fn link(&mut self, url: &str, text: &str) -> &mut Self {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return self.text(text);
        }
        self.raw("<a").attribute("href", url).raw(">").text(text).raw("</a>")
    }

    pub fn finish(self) -> String {
        self.0
    }
}

fn escape(text: &str, out: &mut String) {
    let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '&' | '<' | '>' | '"' | '\'');
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_plain(c)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\'') => out.push_str("&#39;"),
            Some('\n' | '\t') => out.push(' '),
            // Control characters are nothing that a page can show, and no part of HTML.
            Some(c) if !c.is_control() => out.extend(["&#", &u32::from(c).to_string(), ";"]),
            _ => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
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
        let link = |url| {
            let mut html = Html::default();
            html.link(url, "<x>");
            html.finish()
        };
        assert_eq!(link("https://a.test/?a='&b"), "<a href='https://a.test/?a=&#39;&amp;b'>&lt;x&gt;</a>");
        for bad in ["javascript:alert(1)", "javascript://a.test/%0aalert(1)", "data:text/html,x", "", "//x"] {
            assert_eq!(link(bad), "&lt;x&gt;", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_nothing_of_html_is_in_it(any in "\\PC*|[<>&'\"\\x00-\\x1f]{0,20}") {
            let escaped = text(&any);
            prop_assert!(escaped.is_ascii() && !escaped.contains(['<', '>', '\'', '"', '\0', '\n']));
        }
    }
}
