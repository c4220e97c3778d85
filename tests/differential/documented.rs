//! What the modules say differently on purpose. Each row names words of the row of docs/compat.md that explains it.

/// `CASE: PLACE | C's | ours`, where `*` stands for anything, and the words.
pub const DIFFERENCES: &[(&str, &str)] = &[
    ("*: md */ari/* | - | *", "`renewal.reason`, `renewal.next`, `renewal.pace`, `ari`"),
    ("*: md */activation/* | - | *", "`renewal.reason`, `renewal.next`, `renewal.pace`, `ari`, `activation`"),
    ("*: md */renew | under way | -", "`renew` in md-status is true where a renewal is due"),
    (
        "ca_changed::*: md */renew | - | *",
        "a certificate whose CA is not configured any more is renewed at once",
    ),
    (
        "ca_changed::*: md */renew-at | * | now",
        "a certificate whose CA is not configured any more is renewed at once",
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
    fn a_pattern_holds_for_all_of_the_line() {
        assert!(matches("md */state | 1 | *", "md one.test/state | 1 | 2"));
        assert!(!matches("md */state | 1 | *", "md one.test/state | 2 | 1"));
        assert!(!matches("md */state", "md one.test/state-descr"));
    }
}
