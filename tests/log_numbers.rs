// SPDX-License-Identifier: Apache-2.0
//! Holds docs/status.md to the log: each number that the sources write is in its table, with its level, and
//! no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Levels = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources below `dir`, without their tests.
fn sources(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.contains("tests") && name != "fixture.rs" {
            let text = fs::read_to_string(&path).unwrap();
            found.push(text.split("#[cfg(test)]\nmod tests").next().unwrap().to_string());
        }
    }
}

/// The log numbers in a text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("AH1").filter_map(|(at, _)| {
        let number = text.get(at..at + 7)?;
        number[2..].bytes().all(|byte| byte.is_ascii_digit()).then_some(number)
    })
}

/// Those that a call of the macro begins a text with, with the level of that.
fn calls(source: &str) -> impl Iterator<Item = (String, String)> {
    source.split("crate::log!(").skip(1).filter_map(|call| {
        let level = call.trim_start().split(',').next()?.trim().to_lowercase();
        let text = call.split('"').nth(1)?;
        let number = numbers(text).next().filter(|number| text.starts_with(number))?;
        Some((number.to_string(), level))
    })
}

fn written() -> Levels {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    let mut levels = Levels::new();
    for source in found {
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for number in numbers(line) {
                levels.entry(number.to_string()).or_default();
            }
        }
        for (number, level) in calls(&source) {
            levels.entry(number).or_default().insert(level);
        }
    }
    levels
}

/// By the table: a row has one level for all of its numbers, or one for each, or several for its only one.
fn documented() -> Levels {
    let page = fs::read_to_string(root().join("docs/status.md")).unwrap();
    let table = page.split("## Log numbers").nth(1).expect("a section about log numbers");
    let mut levels = Levels::new();
    for row in table.lines().filter(|line| line.starts_with("| AH")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let of_row: Vec<&str> = cells[2].split(", ").collect();
        let numbers: Vec<&str> = numbers(cells[1]).collect();
        for (at, number) in numbers.iter().enumerate() {
            let own = if numbers.len() == of_row.len() { &of_row[at..=at] } else { &of_row[..] };
            let own = own.iter().map(ToString::to_string).collect();
            assert_eq!(levels.insert(number.to_string(), own), None, "{number} is there twice");
        }
    }
    levels
}

#[test]
fn every_number_of_the_log_is_documented_with_its_level() {
    let (written, documented) = (written(), documented());
    let of = |levels: &Levels| levels.keys().cloned().collect::<BTreeSet<_>>();
    let (missing, gone): (Vec<_>, Vec<_>) = (
        of(&written).difference(&of(&documented)).cloned().collect(),
        of(&documented).difference(&of(&written)).cloned().collect(),
    );
    assert!(missing.is_empty(), "not in docs/status.md: {missing:?}");
    assert!(gone.is_empty(), "in docs/status.md, and nobody writes them: {gone:?}");
    assert!(written.len() > 40, "{written:?}");
    for (number, levels) in &written {
        let told = &documented[number];
        assert!(levels.is_subset(told), "{number} is written at {levels:?}, docs/status.md says {told:?}");
    }
}
