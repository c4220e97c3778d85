// SPDX-License-Identifier: Apache-2.0
//! The error log of an httpd, read as it grows: crashes, errors by shape, sets that came into use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file that is read on from where it ended.
pub struct Tail {
    file: PathBuf,
    read: u64,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl Tail {
    pub fn new(file: &Path) -> Tail {
        Tail { file: file.to_path_buf(), read: 0, rest: Vec::new() }
    }

    /// The lines that have come since.
    pub fn lines(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        let read = File::open(&self.file).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut new)
        });
        self.read += read.unwrap_or_default() as u64;
        self.rest.append(&mut new);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        String::from_utf8_lossy(&whole).lines().map(str::to_string).collect()
    }
}

/// What lines have told.
#[derive(Default)]
pub struct Told {
    /// By level and shape: how many, and the first one.
    pub groups: BTreeMap<(String, String), (u64, String)>,
    pub crashes: Vec<String>,
    /// Configurations that were loaded.
    pub starts: u64,
    /// Children that were killed on purpose.
    pub killed: BTreeSet<u32>,
    /// Who wrote the last line about renewals.
    pub renewing: Option<u32>,
    pub server: Option<String>,
}

/// What is counted by shape.
const LEVELS: [&str; 5] = ["emerg", "alert", "crit", "error", "warn"];

impl Told {
    /// Whether a set came into use by this line.
    pub fn hear(&mut self, line: &str) -> bool {
        let pid = number_after(line, "[pid ");
        if ["AH10052", "AH10054", "AH10055", "AH10059"].iter().any(|number| line.contains(number)) {
            self.renewing = pid.or(self.renewing);
        }
        if let Some((server, _)) = line.split_once(" configured -- resuming normal operations") {
            self.starts += 1;
            self.server = server.rsplit_once("AH00489: ").map(|(_, server)| server.to_string());
        }
        if is_crash(line) && !number_after(line, "child pid ").is_some_and(|pid| self.killed.contains(&pid)) {
            self.crashes.push(line.to_string());
        }
        if let Some((level, message)) = level_and_message(line)
            && LEVELS.contains(&level)
        {
            let of = self.groups.entry((level.to_string(), shape(message)));
            of.or_insert_with(|| (0, without_folders(message))).0 += 1;
        }
        line.contains("AH10059")
    }
}

/// Paths without the folders, which are those of this machine.
fn without_folders(message: &str) -> String {
    let words = message.split(' ').map(|word| match word.rsplit_once('/') {
        Some((folders, file)) if folders.starts_with('/') => format!("…/{file}"),
        _ => word.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_crash(line: &str) -> bool {
    ["exit signal", "panicked", "AddressSanitizer", "core dump"].iter().any(|mark| line.contains(mark))
}

fn number_after(line: &str, mark: &str) -> Option<u32> {
    let rest = line.split_once(mark)?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `[TIME] [MODULE:LEVEL] [pid …] MESSAGE`.
fn level_and_message(line: &str) -> Option<(&str, &str)> {
    let (head, rest) = line.split_once("] ")?.1.split_once("] ")?;
    let level = head.strip_prefix('[')?.split_once(':')?.1;
    let message = rest.strip_prefix("[pid ").and_then(|rest| rest.split_once("] ")).map_or(rest, |(_, m)| m);
    Some((level, message))
}

/// A message without what differs from one to the next: names, numbers, and what follows the first sentence.
fn shape(message: &str) -> String {
    const LONGEST: usize = 110;
    let number = message.split([' ', ':']).find(|word| is_log_number(word));
    let text = number.and_then(|number| message.split_once(number)).map_or(message, |(_, text)| text);
    let mut words: Vec<String> = Vec::new();
    for word in text.trim_start_matches([':', ' ']).split(' ') {
        let word = match word {
            url if url.contains("://") => "URL".to_string(),
            name if name.contains(".test") => "NAME".to_string(),
            other => masked(other),
        };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
    let text: String = words.join(" ").chars().take(LONGEST).collect();
    number.map_or(text.clone(), |number| format!("{number}: {text}"))
}

fn is_log_number(word: &str) -> bool {
    let digits = word.strip_prefix("AH").unwrap_or_default();
    digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Each part that has a digit is one.
fn masked(word: &str) -> String {
    let (mut text, mut part) = (String::new(), String::new());
    for c in word.chars().chain(['\0']) {
        if c.is_alphanumeric() {
            part.push(c);
            continue;
        }
        let has_digit = part.chars().any(|c| c.is_ascii_digit());
        text += if has_digit { "N" } else { &part };
        text.extend(Some(c).filter(|c| *c != '\0'));
        part.clear();
    }
    text
}
