// SPDX-License-Identifier: Apache-2.0
//! `Link` headers (RFC 8288 §3), as far as ACME needs them: the targets of one relation. Refuses to guess: a
//! header that is not in this form has no links.

use super::address::is_url;

/// More alternates than any CA has roots.
const MAX_LINKS: usize = 20;

/// Absolute http(s) URLs that these headers name as `relation`, in order and each once.
pub fn targets<'a>(headers: impl Iterator<Item = &'a str>, relation: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (target, relations) in headers.flat_map(links) {
        let is_wanted = relations.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case(relation));
        if is_wanted
            && is_url(target)
            && !found.iter().any(|known| known == target)
            && found.len() < MAX_LINKS
        {
            found.push(target.to_string());
        }
    }
    found
}

/// `<target>; rel="one two"; other=x, <target>…`: each target with the value of its first `rel`.
fn links(header: &str) -> Vec<(&str, &str)> {
    let (mut rest, mut found) = (header, Vec::new());
    while let Some((target, after)) = rest.trim_start().strip_prefix('<').and_then(|r| r.split_once('>')) {
        let (mut relation, mut parameters) = (None, after);
        rest = loop {
            let Some(parameter) = parameters.trim_start().strip_prefix(';') else { break parameters };
            let Some((name, value, after)) = parameter_of(parameter) else { return found };
            if name.eq_ignore_ascii_case("rel") {
                relation = relation.or(Some(value));
            }
            parameters = after;
        };
        found.push((target, relation.unwrap_or_default()));
        match rest.trim_start().strip_prefix(',') {
            Some(next) => rest = next,
            None => return found,
        }
    }
    found
}

/// `name=value`, `name="value"` or `name`, and the rest.
fn parameter_of(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find([';', ',', '=']).unwrap_or(text.len());
    let (name, after) = text.split_at_checked(end)?;
    let Some(value) = after.strip_prefix('=') else { return Some((name.trim(), "", after)) };
    match value.trim_start().strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(value, after)| (name.trim(), value, after)),
        None => {
            let (value, after) = value.split_at_checked(value.find([';', ',']).unwrap_or(value.len()))?;
            Some((name.trim(), value.trim(), after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alternates(headers: &[&str]) -> Vec<String> {
        targets(headers.iter().copied(), "alternate")
    }

    #[test]
    fn alternates_are_found_in_one_header_and_in_many() {
        let one = "<https://ca.test/cert/1/1>;rel=\"alternate\", <https://ca.test/dir>; rel=index";
        let two = "<https://ca.test/cert/1/2>; title=\"a;b,c\"; REL=Alternate";
        assert_eq!(alternates(&[one, two]), ["https://ca.test/cert/1/1", "https://ca.test/cert/1/2"]);
        assert_eq!(alternates(&["<https://a.test/>; rel=\"up alternate\""]), ["https://a.test/"]);
        assert_eq!(alternates(&[one, one]).len(), 1);
    }

    #[test]
    fn what_is_no_link_or_no_url_is_passed_over() {
        for bad in [
            "",
            "https://a.test/; rel=alternate",
            "<https://a.test/; rel=alternate",
            "<https://a.test/>; rel=\"alternate",
            "<https://a.test/>",
            "<https://a.test/>; rel=up; rel=alternate",
            "</cert/1>; rel=alternate",
            "<file:///etc/passwd>; rel=alternate",
            "<<>>;;;,,,\"\"",
        ] {
            assert_eq!(alternates(&[bad]), Vec::<String>::new(), "{bad}");
        }
        let many: Vec<String> = (0..500).map(|n| format!("<https://a.test/{n}>; rel=alternate")).collect();
        assert_eq!(alternates(&[&many.join(",")]).len(), MAX_LINKS);
    }
}
