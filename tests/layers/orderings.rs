// SPDX-License-Identifier: Apache-2.0
//! Checks docs/orderings.md against the sources: a row for each use of an ordering stronger than `Relaxed`.
//! That these orderings are right and none can be weaker, `make orderings` shows.

use super::{code, sources};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const STRONG: [&str; 4] = ["Ordering::Acquire", "Ordering::Release", "Ordering::AcqRel", "Ordering::SeqCst"];

/// By file below `src/`: what the rows of its table quote, and their orderings.
fn documented() -> BTreeMap<String, Vec<(String, String)>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/orderings.md");
    let (page, mut file) = (fs::read_to_string(page).unwrap(), None);
    let mut rows: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading.strip_prefix("`src/").and_then(|rest| rest.strip_suffix('`'));
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(file), [used, ordering, _, _]) = (file, cells.as_slice()) else { continue };
        if let Some(used) = used.strip_prefix('`').and_then(|used| used.strip_suffix('`')) {
            rows.entry(file.into()).or_default().push((used.into(), (*ordering).into()));
        }
    }
    rows
}

#[test]
fn each_ordering_that_readers_rely_on_has_a_row_in_orderings_md() {
    let (files, documented) = (sources(), documented());
    let uses = |text: &str| STRONG.iter().map(|strong| text.matches(strong).count()).sum::<usize>();
    let used: BTreeMap<String, usize> = code(&files)
        .into_iter()
        .map(|(file, code)| (file.to_string(), uses(&code)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let rows = documented.iter().map(|(file, rows)| (file.clone(), rows.len())).collect();
    assert_eq!(used, rows, "uses of strong orderings by file, and rows of docs/orderings.md");
    for (file, rows) in &documented {
        let code = &files.iter().find(|(name, _)| name == file).unwrap().1;
        for (used, ordering) in rows {
            assert_eq!(code.matches(used).count(), 1, "{file}: {used}");
            assert!(used.contains(&format!("Ordering::{ordering}")), "{file}: {used} has another ordering");
        }
    }
}
