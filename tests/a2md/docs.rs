// SPDX-License-Identifier: Apache-2.0
//! docs/a2md.md and the definition of the command line say the same: each command and option is described, and
//! each command that the documentation names exists.

use super::call::a2md;
use clap::Command;
use mod_md::cli::console::call::Options;
use mod_md::cli::definition;
use mod_md::crypto::PrivateKey;
use mod_md::model::KeySpec;
use mod_md::store::{Group, StartStore};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::issuer::{self, Issuer};

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

/// All words between backticks and in indented code.
fn code_words(page: &str) -> BTreeSet<String> {
    let spans = page.split('`').skip(1).step_by(2);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    spans.flat_map(|span| span.split(move |c| !is_part(c))).map(String::from).collect()
}

/// The keys of a document, at any depth, but those of md-status, which docs/status.md describes, and the names
/// and kinds of keys that serve as keys.
fn keys(document: &Value, found: &mut BTreeSet<String>) {
    match document {
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                if key != "managed-domains" {
                    keys(value, found);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn each_key_of_each_document_is_described() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, to, pairs) = (temp.path().join("md"), temp.path().join("to"), temp.path().join("pairs"));
    let store = StartStore::open(&dir, None).unwrap();
    let account = json!({"status": "valid", "url": "https://ca.test/1", "ca-url": "https://ca.test/dir"});
    let key = PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap();
    store.write_json(Group::Accounts, "ACME-ca.test-0000", "account.json", &account).unwrap();
    store.write_key(Group::Accounts, "ACME-ca.test-0000", "account.pem", &key).unwrap();
    [&to, &pairs].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let issuer = Issuer::new();
    issuer::install(&dir, &["a.test"], &[&issuer.issue(&["a.test"])]);
    let set = issuer.issue(&["a.test"]);
    fs::write(pairs.join("a.key"), set.key_pem()).unwrap();
    fs::write(pairs.join("a.pem"), set.chain_pem()).unwrap();
    fs::create_dir(dir.join("archive/old.test.1")).unwrap();
    fs::write(dir.join("archive/old.test.1/md.json"), "{}").unwrap();
    fs::write(dir.join("notes.txt"), "").unwrap();
    let words = code_words(&read(&root().join("docs/a2md.md")));
    let [dir, to, pairs] = [&dir, &to, &pairs].map(|path| path.display().to_string());
    let archive = temp.path().join("md.tar").display().to_string();
    let restored = temp.path().join("restored").display().to_string();
    let mut undescribed = BTreeSet::new();
    for line in [
        "status",
        "check",
        "doctor --offline",
        "renew a.test",
        "rehearse a.test",
        "revoke a.test",
        "rollback a.test",
        "account list",
        "account show ACME-ca.test-0000",
        "dns a.test",
        "forget old.test --yes",
        "gc --dry-run",
        "store verify",
        "store backup {archive}",
        "store restore {archive} --to {restored}",
        "export a.test --to {to} --run /bin/true",
        "import files {pairs} --dry-run",
    ] {
        let line = line.replace("{archive}", &archive).replace("{restored}", &restored);
        let line = line.replace("{to}", &to).replace("{pairs}", &pairs);
        let call: Vec<&str> = line.split(' ').collect();
        let document = a2md(&[&["-d", &dir, "--httpd", "false", "-j"], &call[..]].concat()).json();
        assert_eq!(document["schema"], 1, "{line}: {document}");
        let mut found = BTreeSet::new();
        keys(&document, &mut found);
        assert!(found.len() > 1, "{line}: {document}");
        undescribed.extend(found.difference(&words).map(|key| format!("{line}: {key}")));
    }
    assert_eq!(undescribed, BTreeSet::new());
}

/// The calls in code blocks, as a shell would run them: in a line of their own, in a line of cron, a unit of
/// systemd, or a monitor's configuration.
fn examples(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    let call = |line: &str| {
        let line = line.trim_start_matches("# ").trim_start_matches("$ ");
        let at = match line.starts_with("a2md ") {
            true => 0,
            false => line.find("/a2md ").map(|at| at + 1)?,
        };
        Some(words(&line[at..]))
    };
    lines.filter_map(call).filter(|words| words.len() > 1).collect()
}

/// The words of a command up to its end: a comment, a redirection, a pipe, or the end of a substitution.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#' | '>' | '|' | ')') => break,
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    // The descriptor of a redirection.
    if line.contains(" 2>") && words.last().is_some_and(|word| word == "2") {
        words.pop();
    }
    words
}

#[test]
fn each_example_of_the_documentation_can_be_parsed() {
    let mut checked = 0;
    for (file, text) in pages() {
        for example in examples(&text) {
            let parsed = definition::command().try_get_matches_from(&example);
            assert!(parsed.is_ok(), "{file}: {example:?}: {}", parsed.unwrap_err());
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}
