// SPDX-License-Identifier: Apache-2.0
//! The intended differences between the modules. Each row names words of the row of docs/compat.md that
//! explains it.

/// `CASE: PLACE | C's | ours`, where `*` stands for anything, and the words.
pub const DIFFERENCES: &[(&str, &str)] = &[
    ("*: md */ari/* | - | *", "`renewal.reason`, `renewal.next`, `renewal.pace`, `ari`"),
    ("*: md */activation/* | - | *", "`renewal.reason`, `renewal.next`, `renewal.pace`, `ari`, `activation`"),
    ("*: md */renew | under way | -", "`renew` in md-status is true where a renewal is due"),
    ("*: md */hosts | - | *", "`hosts` in md-status"),
    (
        "static_file_in_the_domain*: md */state-descr | certificate(rsa) * | certificate(P-256) *",
        "`state-descr` of static files",
    ),
    (
        "static_file_in_the_domain*: auto */Status | incomplete: certificate(rsa) * | incomplete: certificate(P-256) *",
        "`state-descr` of static files",
    ),
    ("first_name_changed::*: md */ca/* | - | *", "the account and the CA of a staged set of a renamed MD"),
    // Now and then the C module shows bytes of freed memory there.
    ("host_renamed::*: md */ca/* | * | *", "the account and the CA of a staged set of a renamed MD"),
    (
        "certificate_not_yet_valid: auto */Remark | - | not valid yet",
        "the line `Remark` of `server-status?auto`",
    ),
    ("*: auto */StatusWord | - | *", "the line `StatusWord` of `server-status?auto`"),
    ("*: md */status | - | *", "`status` in md-status"),
    ("certificate_expired: auto Ready | 1 | 0", "`Ready` of `server-status?auto` counts sets that wait"),
    (
        "https_required_with_canonical_names: redirect * | * | *",
        "`MDRequireHttps` redirects to the name that was asked",
    ),
    (
        "ca_changed::*: md */renew | - | *",
        "a certificate whose CA is not configured any more is renewed at once",
    ),
    (
        "ca_changed::*: md */renew-at | * | now",
        "a certificate whose CA is not configured any more is renewed at once",
    ),
    // Of the CA before, staged by the C module.
    ("ca_changed::staged: md */ca/account | * | -", "accounts are kept only for configured CAs"),
    // One in some hundred serials of the test CA.
    (
        "*: md */ari-cert-id | *.* | *.A*",
        "`ari-cert-id` of a serial whose first bit is set begins with its zero byte",
    ),
];

/// Whether a difference in this case is explained.
pub fn explains(case: &str, difference: &str) -> bool {
    let line = format!("{case}: {difference}");
    DIFFERENCES.iter().any(|(pattern, _)| matches(pattern, &line))
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// Whether docs/compat.md has these words in one of its rows.
pub fn is_in_compat(words: &str) -> bool {
    include_str!("../../docs/compat.md").lines().any(|line| line.starts_with('|') && line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_has_its_row_in_compat_md() {
        for (pattern, words) in DIFFERENCES {
            assert!(is_in_compat(words), "{pattern}: no row of docs/compat.md says `{words}`");
            assert_eq!(pattern.split(" | ").count(), 3, "{pattern}");
        }
    }

    #[test]
    fn a_zero_byte_more_of_ours_is_explained_and_one_less_is_not() {
        let line = |c: &str, ours: &str| format!("md one.test/cert/P-256/ari-cert-id | {c} | {ours}");
        let [c, ours] = ["A3MjyJFPmdmteQbzgQBV8BmfSD4.zFAOHYwijQ", "A3MjyJFPmdmteQbzgQBV8BmfSD4.AMxQDh2MIo0"];
        assert!(explains("name_added::staged", &line(c, ours)));
        assert!(!explains("name_added::staged", &line(ours, c)));
    }

    #[test]
    fn a_pattern_holds_for_all_of_the_line() {
        assert!(matches("md */state | 1 | *", "md one.test/state | 1 | 2"));
        assert!(!matches("md */state | 1 | *", "md one.test/state | 2 | 1"));
        assert!(!matches("md */state", "md one.test/state-descr"));
    }
}
