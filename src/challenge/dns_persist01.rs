// SPDX-License-Identifier: Apache-2.0
//! The dns-persist-01 challenge (draft-ietf-acme-dns-persist): a TXT record at `_validation-persist.NAME`,
//! which the admin sets once and which names the CA and the ACME account. This module never writes it: it
//! says the exact line and judges what [`look_up`] finds. Records of other CAs at the same name are no
//! concern of it. Pure; `look_up` imports this, and this imports nothing of the room.

pub mod look_up;

use crate::time::Timestamp;

/// Its type in ACME and in `MDCAChallenges`.
pub const TYPE: &str = "dns-persist-01";

/// Bytes of one character string of a TXT record (RFC 1035 §3.3).
const STRING_MAX: usize = 255;
/// Characters of a record that are shown.
const SHOWN: usize = 80;
/// The end of the year 9999: dates after it cannot be written.
const LAST: i64 = 253_402_300_799;

/// The record that the CA looks for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Any of these names of the CA is enough; the first is the one to set.
    pub issuers: &'a [String],
    /// The account URI.
    pub account: &'a str,
    /// The name that the record stands for, without `*.`.
    pub domain: &'a str,
    /// The record has to hold for names below `domain` too.
    pub is_for_names_below: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `until`: `persistUntil`.
    Fine { until: Option<Timestamp> },
    /// No record is for this CA. The line to set.
    Missing(String),
    /// Those for this CA do not fit. What is wrong with one of them, and the line to set in its place.
    Wrong { reason: String, line: String },
}

/// The name at which validators look for the record of `domain`.
pub fn record_name(domain: &str) -> String {
    format!("_validation-persist.{domain}")
}

/// The names above `domain` whose record may hold for it too, the nearest first. A name of one label is a
/// registry.
pub fn names_above(domain: &str) -> impl Iterator<Item = &str> {
    let all = std::iter::successors(Some(domain), |name| Some(name.split_once('.')?.1));
    all.skip(1).take_while(|name| name.contains('.'))
}

impl Expected<'_> {
    /// As an admin sets it in a zone.
    pub fn line(&self) -> String {
        let issuer = self.issuers.first().map(String::as_str).unwrap_or_default();
        let policy = if self.is_for_names_below { "; policy=wildcard" } else { "" };
        let value = format!("{issuer}; accounturi={}{policy}", self.account);
        format!("{}. TXT {}", record_name(self.domain), quoted(&value))
    }

    fn is_issuer(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.issuers.iter().any(|issuer| issuer.eq_ignore_ascii_case(name))
    }

    /// What is wrong with a record for this CA; otherwise, until when it holds.
    fn check(&self, parameters: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let parameters = parse(parameters)?;
        let value = |tag: &str| {
            let known = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(tag));
            known.map(|(_, value)| *value)
        };
        match value("accounturi") {
            None => return Err("it has no accounturi".into()),
            Some(uri) if uri != self.account => {
                return Err(format!(
                    "it is for the account {}, and this one is {}",
                    shown(uri),
                    self.account
                ));
            }
            Some(_) => {}
        }
        let is_wildcard = value("policy").is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard"));
        if self.is_for_names_below && !is_wildcard {
            return Err("it has no policy=wildcard, which wildcards and names below need".into());
        }
        let Some(until) = value("persistUntil") else { return Ok(None) };
        let until = seconds(until)
            .ok_or_else(|| format!("its persistUntil '{}' is no number of seconds", shown(until)))?;
        if until <= now {
            return Err(format!("its persistUntil was {}", until.to_http_date()));
        }
        Ok(Some(until))
    }
}

/// `records`: the TXT records at [`record_name`], the character strings of each joined.
pub fn judge(records: &[Vec<u8>], expected: &Expected<'_>, now: Timestamp) -> Verdict {
    let (mut best, mut reason) = (None, None);
    for record in records {
        let text = String::from_utf8_lossy(record);
        let (issuer, parameters) = text.split_once(';').unwrap_or((&text, ""));
        if !expected.is_issuer(issuer.trim_matches(BLANKS)) {
            continue;
        }
        match expected.check(parameters, now) {
            // One without an end is the best.
            Ok(until) => best = best.max(Some(until.map_or((true, now), |until| (false, until)))),
            Err(wrong) => _ = reason.get_or_insert(wrong),
        }
    }
    match (best, reason) {
        (Some((is_endless, until)), _) => Verdict::Fine { until: (!is_endless).then_some(until) },
        (None, Some(reason)) => Verdict::Wrong { reason, line: expected.line() },
        (None, None) => Verdict::Missing(expected.line()),
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The parameters of an issue-value (RFC 8659 §4.2): each tag once.
fn parse(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut known: Vec<(&str, &str)> = Vec::new();
    if text.trim_matches(BLANKS).is_empty() {
        return Ok(known);
    }
    for part in text.split(';') {
        let part = part.trim_matches(BLANKS);
        let parameter =
            part.split_once('=').map(|(tag, value)| (tag.trim_matches(BLANKS), value.trim_matches(BLANKS)));
        let Some((tag, value)) = parameter.filter(|(tag, value)| is_tag(tag) && is_value(value)) else {
            return Err(format!("'{}' in it is no parameter of the form TAG=VALUE", shown(part)));
        };
        if known.iter().any(|(other, _)| other.eq_ignore_ascii_case(tag)) {
            return Err(format!("it has {} twice", shown(tag)));
        }
        known.push((tag, value));
    }
    Ok(known)
}

fn is_tag(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.bytes().all(is_inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
}

/// Seconds since 1970, in digits alone.
fn seconds(text: &str) -> Option<Timestamp> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(LAST))?;
    Some(Timestamp::from_unix(number.min(LAST)))
}

/// In quotes, as zone files have it: strings of 255 bytes at most.
fn quoted(value: &str) -> String {
    let strings = value.as_bytes().chunks(STRING_MAX).map(|part| {
        let part = String::from_utf8_lossy(part).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{part}\"")
    });
    strings.collect::<Vec<_>>().join(" ")
}

/// A part of a record, which anybody may have written.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const URI: &str = "https://ca.test/acct/1";

    fn issuers() -> Vec<String> {
        vec!["ca.test".into(), "ca.example".into()]
    }

    fn expected(issuers: &[String], is_for_names_below: bool) -> Expected<'_> {
        Expected { issuers, account: URI, domain: "a.test", is_for_names_below }
    }

    fn judged(records: &[&str], is_for_names_below: bool) -> Verdict {
        let records: Vec<Vec<u8>> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
        judge(&records, &expected(&issuers(), is_for_names_below), NOW)
    }

    const FINE: Verdict = Verdict::Fine { until: None };
    const LINE: &str = r#"_validation-persist.a.test. TXT "ca.test; accounturi=https://ca.test/acct/1""#;

    #[test]
    fn a_record_is_for_one_ca_and_one_account() {
        for record in [
            "ca.test; accounturi=https://ca.test/acct/1",
            "ca.test;accounturi=https://ca.test/acct/1",
            " CA.test. \t;\t accounturi = https://ca.test/acct/1 ",
            "ca.example; accounturi=https://ca.test/acct/1",
            "ca.test; future=x; accounturi=https://ca.test/acct/1; policy=other",
            "ca.test; AccountURI=https://ca.test/acct/1; policy=WildCard",
            "ca.test; accounturi=https://ca.test/acct/1; empty=",
        ] {
            assert_eq!(judged(&[record], false), FINE, "{record}");
            assert_eq!(judged(&["v=spf1 -all", "b.test; accounturi=x", "", record], false), FINE, "{record}");
        }
        for records in
            [&[][..], &["v=spf1 -all"], &["", ";", "b.test", "ca.test.b.test; accounturi=x", "\u{fffd}"]]
        {
            assert_eq!(judged(records, false), Verdict::Missing(LINE.into()), "{records:?}");
        }
    }

    #[test]
    fn each_mistake_in_a_record_is_named_with_the_line_to_set() {
        let wrong = |record: &str, below: bool, about: &str| match judged(&[record], below) {
            Verdict::Wrong { reason, line } => {
                assert!(reason.contains(about), "{record}: {reason}");
                assert_eq!(line.contains("; policy=wildcard\""), below, "{line}");
            }
            other => panic!("{record}: {other:?}"),
        };
        let is = "accounturi=https://ca.test/acct/1";
        wrong("ca.test", false, "no accounturi");
        wrong("ca.test;", false, "no accounturi");
        wrong("ca.test; accounturi=https://ca.test/acct/10", false, "the account https://ca.test/acct/10");
        wrong("ca.test; accounturi=HTTPS://ca.test/acct/1", false, "the account");
        wrong(&format!("ca.test; {is}"), true, "policy=wildcard");
        wrong(&format!("ca.test; {is}; policy=wild"), true, "policy=wildcard");
        wrong(&format!("ca.test; {is};"), false, "'' in it");
        wrong(&format!("ca.test; {is} policy=wildcard"), false, "TAG=VALUE");
        wrong(&format!("ca.test; {is}; {is}"), false, "accounturi twice");
        wrong(&format!("ca.test; {is}; -x=1"), false, "'-x=1' in it");
        wrong(&format!("ca.test; {is}; wildcard"), false, "'wildcard' in it");
        wrong(&format!("ca.test; {is}; x=\u{e4}"), false, "'x=\\u{e4}' in it");
        wrong(&format!("ca.test; {is}; persistUntil=1800000000"), false, "persistUntil was");
        for bad in ["", "x", "-1", "+1900000000", "1.9e9", "2030-01-01"] {
            wrong(&format!("ca.test; {is}; persistUntil={bad}"), false, "no number of seconds");
        }
        wrong(&format!("ca.test; x=<script>\n{}", "y".repeat(9000)), false, "'x=<script>\\n");
    }

    #[test]
    fn of_several_records_the_one_that_holds_longest_counts() {
        let until = |seconds: &str| format!("ca.test; accounturi={URI}; persistUntil={seconds}");
        let (soon, late, over) = (until("1800000001"), until("1900000000"), until("1700000000"));
        let ends = |at: i64| Verdict::Fine { until: Some(Timestamp::from_unix(at)) };
        assert_eq!(judged(&[&soon], false), ends(1_800_000_001));
        assert_eq!(judged(&[&late, &soon, &over], false), ends(1_900_000_000));
        assert_eq!(judged(&[&soon, &format!("ca.test; accounturi={URI}")], false), FINE);
        // Beyond what dates can show, and beyond what a number can hold.
        assert_eq!(judged(&[&until("99999999999999")], false), ends(LAST));
        assert_eq!(judged(&[&until(&"9".repeat(60))], false), ends(LAST));
    }

    #[test]
    fn a_long_line_consists_of_strings_that_fit() {
        let (account, issuers) = (format!("https://ca.test/{}\"x", "y".repeat(400)), issuers());
        let line = Expected { account: &account, ..expected(&issuers, false) }.line();
        let strings: Vec<&str> = line.split_once(" TXT ").unwrap().1.split("\" \"").collect();
        assert!(strings.len() == 2 && strings.iter().all(|part| part.len() <= STRING_MAX + 2), "{line}");
        assert!(line.ends_with("\\\"x\""), "{line}");
    }

    #[test]
    fn names_above_end_before_the_registry() {
        assert_eq!(names_above("a.b.example.org").collect::<Vec<_>>(), ["b.example.org", "example.org"]);
        assert_eq!(names_above("org").count() + names_above("a.org").count(), 0);
    }

    proptest! {
        #[test]
        fn the_line_it_asks_for_is_fine_and_garbage_is_not(
            garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4),
            tail in prop::collection::vec(any::<u8>(), 0..60),
            below in any::<bool>(),
        ) {
            let issuers = issuers();
            let expected = expected(&issuers, below);
            let is_fine = |records: &[Vec<u8>]| matches!(judge(records, &expected, NOW), Verdict::Fine { .. });
            let mut records = garbage;
            records.push([b"ca.test; ".to_vec(), tail].concat());
            prop_assert!(!is_fine(&records));
            let line = expected.line();
            records.push(line.split('"').nth(1).unwrap().as_bytes().to_vec());
            prop_assert!(is_fine(&records));
        }
    }
}
