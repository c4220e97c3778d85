// SPDX-License-Identifier: Apache-2.0
//! The parameters of the list's address: what is searched for, which domains are shown, in which order, and
//! from which one on. Pure. Whatever makes no sense is what is shown without it.

use crate::status::standing::Standing;

/// Domains on one page.
pub(super) const PAGE: usize = 100;
/// Bytes of a text to search for: no name is longer.
const TEXT_MAX: usize = 255;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// In lower case.
    pub(super) text: String,
    pub(super) show: Show,
    pub(super) sort: Sort,
    pub(super) is_reverse: bool,
    /// From 1.
    pub(super) page: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Show {
    #[default]
    All,
    /// Those that somebody should look at.
    Attention,
    Of(Standing),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The most serious first.
    #[default]
    Status,
    Name,
    Until,
    Next,
}

/// Each with its word in addresses and its words for people.
pub(super) const SORTS: [(Sort, &str, &str); 4] = [
    (Sort::Status, "status", "most serious first"),
    (Sort::Name, "name", "name"),
    (Sort::Until, "until", "first to expire"),
    (Sort::Next, "next", "next step"),
];

pub(super) const ATTENTION: &str = "attention";

impl Query {
    /// `text`: what an address has after its `?`.
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Query { page: 1, ..Query::default() };
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match key {
                "q" => query.text = searched(&value),
                "status" => query.show = shown(&value),
                "sort" => (query.sort, query.is_reverse) = sorted(&value),
                "page" => query.page = value.parse().ok().filter(|page| *page > 0).unwrap_or(1),
                _ => {}
            }
        }
        query
    }

    /// Without any parameter, or as if without.
    pub(super) fn is_plain(&self) -> bool {
        *self == Query { page: 1, ..Query::default() }
    }

    /// The address of this view, from any other one of the list.
    pub(super) fn address(&self) -> String {
        let mut pairs = Vec::new();
        if !self.text.is_empty() {
            pairs.push(format!("q={}", encoded(&self.text)));
        }
        match self.show {
            Show::All => {}
            Show::Attention => pairs.push(format!("status={ATTENTION}")),
            Show::Of(standing) => pairs.push(format!("status={}", standing.token())),
        }
        if self.sort != Sort::default() || self.is_reverse {
            pairs.push(format!("sort={}{}", if self.is_reverse { "-" } else { "" }, self.sort.word()));
        }
        if self.page > 1 {
            pairs.push(format!("page={}", self.page));
        }
        format!("?{}", pairs.join("&"))
    }

    /// In this order; in the reverse one where it is sorted so already.
    pub(super) fn sorted_by(&self, sort: Sort) -> Query {
        let is_reverse = self.sort == sort && !self.is_reverse;
        Query { sort, is_reverse, page: 1, ..self.clone() }
    }

    /// `status` of the address, as a form has it.
    pub(super) fn status(&self) -> &'static str {
        match self.show {
            Show::All => "",
            Show::Attention => ATTENTION,
            Show::Of(standing) => standing.token(),
        }
    }
}

impl Sort {
    pub(super) fn word(self) -> &'static str {
        SORTS.into_iter().find(|(sort, ..)| *sort == self).map_or("", |(_, word, _)| word)
    }
}

fn searched(value: &str) -> String {
    let text = value.trim().to_lowercase();
    let end = (0..=text.len().min(TEXT_MAX)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_string()
}

fn shown(value: &str) -> Show {
    match value {
        ATTENTION => Show::Attention,
        token => Standing::of(token).map_or(Show::All, Show::Of),
    }
}

fn sorted(value: &str) -> (Sort, bool) {
    let (word, is_reverse) = value.strip_prefix('-').map_or((value, false), |word| (word, true));
    let known = SORTS.into_iter().find(|(_, known, _)| *known == word);
    known.map_or((Sort::default(), false), |(sort, ..)| (sort, is_reverse))
}

/// As forms encode it.
fn decoded(value: &str) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits = |two: &[u8]| match two {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let decoded = after.get(..2).filter(|_| *first == b'%').and_then(digits);
        bytes.push(decoded.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = after.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encoded, but for what stands for itself in each part of an address.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_that_make_no_sense_are_as_none() {
        for text in [
            "",
            "&&&=&",
            "q=&status=&sort=&page=",
            "page=0",
            "page=-1",
            "page=1e9",
            "page=99999999999999999999999",
            "status=<script>",
            "sort=--name",
            "sort=%00",
            "status",
            "Q=x",
            "%71=x",
        ] {
            assert!(Query::parse(text).is_plain(), "{text}");
            assert_eq!(Query::parse(text).address(), "?");
        }
    }

    #[test]
    fn parameters_are_read_as_forms_send_them() {
        let query = Query::parse("q=+B%C3%BCcher.Test+&status=renewal-failing&sort=-until&page=3");
        assert_eq!(query.text, "bücher.test");
        assert_eq!((query.show, query.sort), (Show::Of(Standing::RenewalFailing), Sort::Until));
        assert_eq!((query.is_reverse, query.page), (true, 3));
        assert_eq!(query.address(), "?q=b%C3%BCcher.test&status=renewal-failing&sort=-until&page=3");
        assert_eq!(Query::parse("q=a%2&q=%zz%4").text, "%zz%4");
        assert_eq!(Query::parse("status=attention").show, Show::Attention);
        assert_eq!(Query::parse(&format!("q={}", "ü".repeat(300))).text.len(), 254);
    }

    #[test]
    fn the_order_turns_where_it_is_asked_for_again() {
        let plain = Query::parse("page=4&q=x");
        let by_name = plain.sorted_by(Sort::Name);
        assert_eq!(by_name.address(), "?q=x&sort=name");
        assert_eq!(by_name.sorted_by(Sort::Name).address(), "?q=x&sort=-name");
        assert_eq!(by_name.sorted_by(Sort::Name).sorted_by(Sort::Name).address(), "?q=x&sort=name");
        assert_eq!(plain.sorted_by(Sort::Status).address(), "?q=x&sort=-status");
    }

    proptest! {
        #[test]
        fn an_address_leads_to_its_view(text in "\\PC*|[&=+%<>'\"a-z. ]{0,20}", page in 0_usize..5) {
            let query = Query::parse(&format!("q={}&page={page}", encoded(&text)));
            prop_assert_eq!(Query::parse(&query.address()[1..]), query.clone());
            prop_assert!(!query.address().contains(['<', '>', '"', '\'', ' ']));
        }
    }
}
