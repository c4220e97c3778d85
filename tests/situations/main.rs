// SPDX-License-Identifier: Apache-2.0
//! The situations that an admin can meet, with texts from the code that runs in production: every text names
//! the domain, the problem, the remedy and the next step, and docs/troubleshooting.md has it.
//! `SITUATIONS=FILE` writes all texts to that file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cas;
mod configuration;
mod lab;
mod machine;
mod record_challenges;
mod stapling;
mod table;
mod updates;

use table::met;

/// What says nothing, or is meant for programmers.
const NOISE: &[&str] = &[
    "(20014)",
    "(20022)",
    "specific information not available",
    "The given path is incomplete",
    "about:blank",
    "urn:ietf",
    "urn:org",
    "(os error",
    "None)",
    "None,",
    "None.",
    "Some(",
    " { ",
    "..",
    ".,",
    ":.",
    "::",
    ",,",
    "  ",
    " .",
    " ,",
    "\n",
];

/// How advice begins.
const VERBS: &[&str] = &[
    "add",
    "allow",
    "ask",
    "check",
    "choose",
    "compare",
    "configure",
    "copy",
    "correct",
    "do",
    "find out",
    "give",
    "get",
    "join",
    "let",
    "load",
    "look",
    "make",
    "mend",
    "move",
    "name",
    "needs to be done",
    "open",
    "put",
    "read",
    "remove",
    "rename",
    "report",
    "restart",
    "restore",
    "run",
    "set",
    "split",
    "switch",
    "tell",
    "try",
    "use",
    "visit",
    "write",
];

#[test]
fn every_text_says_who_what_why_and_what_to_do() {
    let mut wrong = Vec::new();
    let mut told = String::new();
    for situation in met() {
        let id = situation.id;
        told.push_str(&format!("== {id}\n"));
        if situation.texts.is_empty() {
            wrong.push(format!("{id}: nothing is said"));
        }
        for text in &situation.texts {
            told.push_str(&format!("{text}\n"));
            let lower = text.to_lowercase();
            let mut complain = |what: &str| wrong.push(format!("{id}: {what}: {text}"));
            for says in situation.says {
                if !lower.contains(&says.to_lowercase()) {
                    complain(&format!("does not say '{says}'"));
                }
            }
            for noise in NOISE {
                if text.contains(noise) {
                    complain(&format!("has '{noise}'"));
                }
            }
            let is_of_all = ["AH10046", "AH10062"].iter().any(|number| text.contains(number));
            // Or the line of the configuration.
            if !is_of_all && !text.contains(lab::NAME) && !text.contains("test.conf:") {
                complain("names no domain");
            }
            if !VERBS.iter().any(|verb| has_word(&lower, verb)) {
                complain("says nothing to do");
            }
            if text.contains("AH10056") && !text.contains("Next try in ") {
                complain("does not say when the next try is");
            }
        }
        told.push('\n');
    }
    if let Ok(file) = std::env::var("SITUATIONS") {
        std::fs::write(file, &told).unwrap();
    }
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
    assert!(met().len() >= 150, "{} situations", met().len());
}

fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

/// A row of the tables: what is searched for, in its parts, what is wrong, and what is to be done.
struct Row<'d> {
    text: &'d str,
    wrong: &'d str,
    advice: &'d str,
}

fn rows(page: &str) -> Vec<Row<'_>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [text, wrong, advice] = cells[..] else { panic!("a row has three cells: {line}") };
            Row { text: text.trim_matches('`'), wrong, advice }
        })
        .collect()
}

impl Row<'_> {
    /// Whether a message has all its parts, one after the other.
    fn is_of(&self, message: &str) -> bool {
        let mut rest = Some(message);
        for part in self.text.split('…').map(str::trim) {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        }
        rest.is_some()
    }
}

#[test]
fn docs_have_a_row_for_each_situation_and_no_other_row() {
    let page = include_str!("../../docs/troubleshooting.md");
    let rows = rows(page);
    assert!(rows.len() >= 140, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for situation in met() {
        for text in &situation.texts {
            let found: Vec<&str> = rows.iter().filter(|row| row.is_of(text)).map(|row| row.text).collect();
            if found.len() != 1 {
                wrong.push(format!("{}: {} rows {found:?}: {text}", situation.id, found.len()));
            }
        }
    }
    for row in &rows {
        if !met().iter().any(|situation| situation.texts.iter().any(|text| row.is_of(text))) {
            wrong.push(format!("no message is found by: {}", row.text));
        }
        if row.wrong.is_empty() || row.advice.is_empty() {
            wrong.push(format!("says too little: {}", row.text));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// The texts of log lines at notice and above, with the file.
fn logged_texts(dir: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // The command logs on the terminal of its user, in the words of mod_md 2.x.
            if path.ends_with("src/cli") {
                continue;
            }
            logged_texts(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        for call in source.split("log!(").skip(1) {
            let is_seen = ["Emerg", "Alert", "Crit", "Error", "Warn", "Notice"]
                .iter()
                .any(|level| call.trim_start().starts_with(&format!("{level},")));
            if let Some((_, text)) = call.split_once('"').filter(|_| is_seen) {
                let text = text.replace("\\\"", "'");
                let text = text.split('"').next().unwrap_or_default().to_string();
                found.push((path.display().to_string(), text));
            }
        }
    }
}

/// One search finds all that is said of a domain.
#[test]
fn lines_that_begin_with_a_domain_name_it_as_md() {
    let mut found = Vec::new();
    logged_texts(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 80, "{} texts", found.len());
    let is_bare = |text: &str| {
        text.starts_with("{name}") || text.starts_with("{owner}") || text.starts_with("{domain}")
    };
    let bare: Vec<_> = found.iter().filter(|(_, text)| is_bare(text)).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}
