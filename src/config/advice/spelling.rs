// SPDX-License-Identifier: Apache-2.0
//! Suggests the name that was probably meant.

/// More names than these are not looked through: a configuration with that many left over has no slip of the
/// pen.
const CANDIDATES_MAX: usize = 20_000;

/// The candidate that a slip of the pen would make of `name`, the nearest one. `None` where none is near.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let near = candidates.take(CANDIDATES_MAX).filter(|candidate| *candidate != name);
    let near =
        near.filter_map(|candidate| Some((distance(name, candidate, limit(name, candidate))?, candidate)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many slips may lie between two names: one for three characters of the longest label, three at most.
/// The last label does not count, where there is another.
fn limit(a: &str, b: &str) -> usize {
    let longest = |name: &str| {
        let labels = name.rsplit_once('.').map_or(name, |(labels, _)| labels);
        labels.split('.').map(str::len).max().unwrap_or_default()
    };
    (longest(a).min(longest(b)) / 3).min(3)
}

/// The characters to insert, leave out, replace or swap with their neighbour, where these are no more than
/// `limit`.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>(), vec![0; b.len() + 1]];
    for (i, own) in a.iter().enumerate() {
        let [before, above, row] = &mut rows;
        let mut least = i + 1;
        let mut left = i + 1;
        row.iter_mut().take(1).for_each(|first| *first = left);
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let mut cost = (at(above, j + 1) + 1).min(left + 1).min(at(above, j) + usize::from(own != other));
            let is_swapped = i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(own);
            if is_swapped {
                cost = cost.min(at(before, j - 1) + 1);
            }
            row.iter_mut().skip(j + 1).take(1).for_each(|cell| *cell = cost);
            least = least.min(cost);
            left = cost;
        }
        if least > limit {
            return None;
        }
        rows.rotate_left(1);
    }
    let [_, last, _] = &rows;
    last.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_found_and_other_names_are_not() {
        for (name, candidates, found) in [
            ("www.exmaple.org", &["www.example.org", "www.example.net"][..], Some("www.example.org")),
            ("shop.example.org", &["shop.exampel.org"], Some("shop.exampel.org")),
            ("example.org", &["examples.org", "example.og"], Some("examples.org")),
            ("exmple.rog", &["example.org"], Some("example.org")),
            ("example.org", &["example.org"], None),
            ("example.org", &["example.com", "example.net"], None),
            ("a.test", &["b.test"], None),
            ("one.test", &["two.test", "three.test"], None),
            ("mail.test", &["main.test"], Some("main.test")),
            ("blog.example.org", &["shop.example.org"], None),
            ("localhost", &["localhots"], Some("localhots")),
            ("", &["example.org", ""], None),
        ] {
            assert_eq!(nearest(name, candidates.iter().copied()), found, "{name}");
        }
    }

    #[test]
    fn of_two_that_are_near_the_nearer_one_is_meant() {
        let candidates = ["mysitte.example.org", "mysite.example.org", "mysit.example.org"];
        assert_eq!(nearest("myste.example.org", candidates.into_iter()), Some("mysite.example.org"));
    }
}
