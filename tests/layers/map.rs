// SPDX-License-Identifier: Apache-2.0
//! Checks docs/architecture.md and docs/where.md against the sources: each name is in the file that they list
//! for it.

use super::{code::without_tests, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The text between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn what_the_tables_of_architecture_md_name_stands_in_that_file() {
    let page = read("docs/architecture.md");
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [what, place, ..] = cells.as_slice() else { continue };
        let files: Vec<&str> = quoted(place).into_iter().filter(|file| file.starts_with("src/")).collect();
        for file in &files {
            assert!(root().join(file).exists(), "no {file}: {row}");
            let text = if file.ends_with(".rs") { read(file) } else { continue };
            let missing = quoted(what).into_iter().find(|name| !text.contains(name));
            assert_eq!(missing, None, "not in {file}: {row}");
            rows += 1;
        }
    }
    assert!(rows > 40, "the tables are found: {rows} rows");
}

/// A word as it stands in the sources, and the files that have it.
type Index = BTreeMap<String, BTreeSet<String>>;

/// Calls `find` with the part of each source that is not compiled for tests alone.
fn index(find: impl Fn(&str) -> Vec<String>) -> Index {
    let mut index = Index::new();
    for (file, text) in
        sources().iter().filter(|(file, _)| !file.contains("test") && !file.contains("fixture"))
    {
        for word in find(without_tests(text).as_str()) {
            index.entry(word).or_default().insert(format!("`src/{file}`"));
        }
    }
    index
}

/// `RFC N §M` in comments.
fn sections(text: &str) -> Vec<String> {
    let digits = |text: &str, more: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_digit() || more.contains(*c)).collect()
    };
    text.split("RFC ")
        .skip(1)
        .filter_map(|rest| {
            let rfc = digits(rest, "");
            let section = digits(rest[rfc.len()..].strip_prefix(" §")?, ".");
            let section = section.trim_end_matches('.');
            (!section.is_empty()).then(|| format!("RFC {rfc} §{section}"))
        })
        .collect()
}

/// `AH` and five digits.
fn log_numbers(text: &str) -> Vec<String> {
    text.split("AH")
        .skip(1)
        .filter_map(|rest| rest.get(..5).filter(|number| number.chars().all(|c| c.is_ascii_digit())))
        .map(|number| format!("AH{number}"))
        .collect()
}

fn table(head: &str, index: &Index) -> String {
    let by_number = |word: &String| -> Vec<u32> {
        word.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let mut rows: Vec<_> = index.iter().collect();
    rows.sort_by_key(|(word, _)| by_number(word));
    let row = |(word, files): (&String, &BTreeSet<String>)| {
        format!("| {word} | {} |\n", files.iter().cloned().collect::<Vec<_>>().join(", "))
    };
    format!("| {head} | files |\n|---|---|\n{}", rows.into_iter().map(row).collect::<String>())
}

#[test]
fn where_md_lists_the_files_of_each_rfc_section_and_log_number() {
    let page = format!(
        "# Where a section of an RFC or a log number stands\n\nMade from the sources by \
         `tests/layers/map.rs`: `UPDATE_DOCS=1 cargo test --no-default-features --test layers`\nregenerates it. \
         Directives, files of the store and JSON keys are in [architecture.md](architecture.md#where-is-it).\n\n## RFC sections\n\n{}\n## Log \
         numbers\n\nWhat they say: [status.md](status.md#log-numbers).\n\n{}",
        table("section", &index(sections)),
        table("number", &index(log_numbers)),
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/where.md"), &page).unwrap();
    }
    assert!(read("docs/where.md") == page, "docs/where.md is old: UPDATE_DOCS=1 regenerates it");
}
