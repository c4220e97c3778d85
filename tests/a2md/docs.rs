// SPDX-License-Identifier: Apache-2.0
//! docs/a2md.md and the definition of the command line say the same: each command and option is described, and
//! each command that the documentation names exists.

use clap::Command;
use mod_md::cli::{call::Options, definition};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and all of docs/.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let all = docs.chain([root().join("README.md"), root().join("CHANGELOG.md")]);
    let all = all.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    all.map(|path| (path.display().to_string(), read(&path))).collect()
}

/// Each command with the words before it, those with sub commands too.
fn commands(command: &Command, words: &[&str], found: &mut Vec<(String, Command)>) {
    for below in command.get_subcommands() {
        let words = [words, &[below.get_name()]].concat();
        found.push((words.join(" "), below.clone()));
        commands(below, &words, found);
    }
}

fn all() -> Vec<(String, Command)> {
    let mut found = Vec::new();
    commands(&definition::command(), &[], &mut found);
    found
}

#[test]
fn each_command_is_described_with_all_its_options() {
    let page = read(&root().join("docs/a2md.md"));
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let common: BTreeSet<String> =
        Options::common().iter().filter_map(|arg| arg.get_long().map(String::from)).collect();
    let mut missing = Vec::new();
    for (words, command) in all() {
        let call = format!("a2md {words}");
        let names =
            |text: &str| calls(text).iter().any(|named| format!("{named} ").starts_with(&format!("{call} ")));
        let described: String = sections.iter().filter(|section| names(section)).copied().collect();
        // A sub command may be told by its own name where the command is.
        let is_told = !described.is_empty()
            || words.rsplit_once(' ').is_some_and(|(above, name)| {
                let above = |section: &&&str| section.contains(&format!("a2md {above}"));
                sections.iter().filter(above).any(|section| section.contains(name))
            });
        if !is_told {
            missing.push(call.clone());
        }
        let own = command.get_arguments().filter_map(|arg| arg.get_long()).filter(|long| *long != "help");
        for long in own.filter(|long| !common.contains(*long)) {
            if !page.contains(&format!("--{long}")) {
                missing.push(format!("{call} --{long}"));
            }
        }
    }
    assert_eq!(missing, [""; 0], "docs/a2md.md does not tell of them");
}

/// Calls in code: in a line of their own, or between backticks.
fn calls(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("a2md ") {
        let before = text[..at].rsplit('\n').next().unwrap_or_default();
        if !(before.is_empty() || before == "# " || before.ends_with('`')) {
            continue;
        }
        let line = text[at..].split(['\n', '`']).next().unwrap_or_default();
        found.push(line.to_string());
    }
    found
}

#[test]
fn each_command_that_the_documentation_calls_exists() {
    let known: BTreeSet<String> = all().into_iter().map(|(words, _)| words).collect();
    let mut checked = 0;
    for (file, text) in pages() {
        for call in calls(&text) {
            let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
            let words: Vec<&str> = call.split(' ').skip(1).collect();
            // Options that stand first, with their values.
            let Some(first) = words.iter().copied().find(is_word) else { continue };
            if words.first().is_some_and(|word| word.starts_with('-')) {
                continue;
            }
            assert!(known.contains(first), "{file}: {call}");
            let second = words.get(1).copied().filter(is_word);
            let has_below = known.iter().any(|name| name.starts_with(&format!("{first} ")));
            if let Some(second) = second.filter(|_| has_below) {
                let below = format!("{first} {second}");
                // A sub command of the compatible half has no definition of its own there.
                let of_c = ["store add", "store list", "store remove", "store update"];
                assert!(known.contains(&below) || of_c.contains(&&*below), "{file}: {call}");
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}
