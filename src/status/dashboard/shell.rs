// SPDX-License-Identifier: Apache-2.0
//! The frame of all pages, the policy that browsers hold them to, and addresses inside of them, which are
//! relative: the pages do not know where a proxy shows them.

use super::assets::{SCRIPT, STYLE};
use super::query::encoded;
use crate::crypto;
use crate::status::markup::ascii;
use data_encoding::BASE64;
use maud::{Markup, html};

/// Where the pages are, seen from the one that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address of the list.
    list: String,
    /// What comes before the name of a domain.
    before: String,
}

impl Place {
    /// `path`: that of the list.
    pub fn of_list(path: &str) -> Self {
        match path.rsplit('/').next().filter(|last| !last.is_empty()) {
            Some(last) => {
                let last = encoded(last);
                Place { list: format!("./{last}"), before: format!("./{last}/") }
            }
            None => Place { list: "./".into(), before: "./".into() },
        }
    }

    /// `path`: that of a domain.
    pub fn of_domain(path: &str) -> Self {
        let up = if path.ends_with('/') { "../" } else { "./" };
        Place { list: up.into(), before: up.into() }
    }

    pub(super) fn of(&self, name: &str) -> String {
        format!("{}{}", self.before, encoded(name))
    }

    pub(super) fn list(&self) -> &str {
        &self.list
    }
}

/// The page of a title and what its body has.
pub(super) fn page(title: &str, header: Markup, main: Markup) -> String {
    let title = ascii(html! { (title) });
    let body = ascii(html! {
        a.skip href="#main" { "To the content" }
        header.top { (header) }
        main #main { (main) }
        footer.foot {
            p {
                "mod_md " (crate::VERSION) " (" (crate::BUILD) "). This page changes nothing. For programs: "
                code { "SetHandler md-status" } "; commands: " code { "a2md" } "."
            }
        }
    });
    let mut out = String::with_capacity(body.len() + STYLE.len() + SCRIPT.len() + 500);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    out.push_str(&title);
    out.push_str("</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n<style>");
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n<body>\n");
    out.push_str(&body);
    out.push_str("\n<script>");
    out.push_str(SCRIPT);
    out.push_str("</script>\n</body>\n</html>\n");
    out
}

/// The page for a name that no managed domain has.
pub fn unknown(name: &str, place: &Place) -> String {
    let header = html! {
        nav.crumbs aria-label="Pages" { a href=(place.list()) { "All certificates" } }
        h1 { "No such domain" }
    };
    let main = html! { p.empty { "No managed domain has the name " span.mono { bdi { (name) } } "." } };
    page("No such domain", header, main)
}

/// `Content-Security-Policy`: nothing is loaded, no attribute is a style or a script, and of these the
/// page's own alone count.
pub fn policy() -> String {
    let hash = |text: &str| BASE64.encode(&crypto::sha256(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_from_each_page_to_each_other() {
        for (place, list, domain) in [
            (Place::of_list("/md-dashboard"), "./md-dashboard", "./md-dashboard/a.test"),
            (Place::of_list("/x/md-dashboard/"), "./", "./a.test"),
            (Place::of_list("/a b\"<"), "./a%20b%22%3C", "./a%20b%22%3C/a.test"),
            (Place::of_list("/"), "./", "./a.test"),
            (Place::of_domain("/md-dashboard/b.test"), "./", "./a.test"),
            (Place::of_domain("/md-dashboard/b.test/"), "../", "../a.test"),
        ] {
            assert_eq!((place.list(), place.of("a.test").as_str()), (list, domain));
        }
        assert_eq!(Place::of_list("/").of("*.a:b//"), "./%2A.a%3Ab%2F%2F");
    }

    #[test]
    fn the_policy_has_the_hashes_of_what_the_page_contains() {
        let page = unknown("x", &Place::of_list("/"));
        for (tag, part) in [("style", "style-src"), ("script", "script-src")] {
            let text =
                page.split(&format!("<{tag}>")).nth(1).unwrap().split(&format!("</{tag}>")).next().unwrap();
            let hash = BASE64.encode(&crypto::sha256(text.as_bytes()));
            assert!(policy().contains(&format!("{part} 'sha256-{hash}';")), "{tag}");
            assert_eq!(page.matches(&format!("<{tag}")).count(), 1);
        }
    }
}
