// SPDX-License-Identifier: Apache-2.0
//! Rust as text: the names in a source file, without comments, literals and code for tests alone.

/// A path that code names.
pub struct Named {
    /// From 1.
    pub line: usize,
    pub path: Vec<String>,
    /// For an import: the name it has in this file, and whether others may use that.
    pub import: Option<Import>,
}

pub struct Import {
    pub name: String,
    pub is_public: bool,
}

/// All paths named in the code, `use` trees spread out; and the keyword `unsafe` as a path of its own.
pub fn names(code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let tokens = tokens(code);
    let mut at = 0;
    while let Some(&(line, token)) = tokens.get(at) {
        if token == "use" {
            let end = tokens[at..].iter().position(|(_, t)| *t == ";").map_or(tokens.len(), |n| at + n);
            let words: Vec<&str> = tokens[at + 1..end].iter().map(|(_, token)| *token).collect();
            let is_public = at > 0 && matches!(tokens[at - 1].1, "pub" | ")");
            spread(&words, &[], &mut |path, name| {
                found.push(Named { line, path, import: Some(Import { name, is_public }) });
            });
            at = end;
        } else if is_word(token) {
            let mut path = vec![token.to_string()];
            while tokens.get(at + 1).is_some_and(|(_, t)| *t == "::")
                && tokens.get(at + 2).is_some_and(|(_, t)| is_word(t))
            {
                path.push(tokens[at + 2].1.to_string());
                at += 2;
            }
            if path.len() > 1 || token == "unsafe" {
                found.push(Named { line, path, import: None });
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// `a::{b, c::d as e}` becomes `a::b`, named `b`, and `a::c::d`, named `e`.
fn spread(words: &[&str], prefix: &[String], found: &mut impl FnMut(Vec<String>, String)) {
    let mut path = prefix.to_vec();
    let mut name = None;
    for (i, word) in words.iter().enumerate() {
        match *word {
            "::" => {}
            "self" if !path.is_empty() => {}
            "as" => {
                name = words.get(i + 1).map(ToString::to_string);
                break;
            }
            "{" => {
                let inner = &words[i + 1..words.len().saturating_sub(1)];
                branches(inner).into_iter().for_each(|branch| spread(branch, &path, found));
                return;
            }
            word => path.push(word.to_string()),
        }
    }
    let is_itself = words.contains(&"self") && path.len() == prefix.len();
    if path.len() > prefix.len() || is_itself {
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        found(path, name);
    }
}

/// Splits at the commas outside of braces.
fn branches<'a>(words: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let mut depth = 0;
    words
        .split(|word| {
            depth += i32::from(*word == "{") - i32::from(*word == "}");
            *word == "," && depth == 0
        })
        .collect()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and every other character on its own, with the line (from 1).
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            if !first.is_whitespace() {
                found.push((number + 1, token));
            }
            rest = after;
        }
    }
    found
}

/// The source with comments and the content of literals blanked; lines stay where they are.
pub fn without_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let previous_is_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = text_length(rest, previous_is_word);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of comment or literal begin here; 0: none.
fn text_length(rest: &str, previous_is_word: bool) -> usize {
    let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |n| from + n + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if !previous_is_word && rest.starts_with('r') {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    // A lifetime has no closing quote after its first character.
    let is_char = rest.starts_with("'\\") || (rest.starts_with('\'') && rest.chars().nth(2) == Some('\''));
    if is_char { quoted(rest, '\'') } else { 0 }
}

fn quoted(rest: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

const TEST: &str = "#[cfg(test)]";

/// The code with the items behind `#[cfg(test)]` blanked. Braces are counted, so literals must be gone
/// already.
pub fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST) {
        let (before, item) = rest.split_at(at);
        kept += before;
        let end = item_end(item);
        kept.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    kept + rest
}

fn item_end(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// Paths below `src/` of the files that `#[cfg(test)] mod NAME;` brings in, without their ending.
pub fn test_files(file: &str, text: &str) -> Vec<String> {
    let dir = file.strip_suffix("mod.rs").map_or_else(|| file.replace(".rs", "/"), str::to_string);
    let dir = if file == "lib.rs" { String::new() } else { dir };
    without_text(text)
        .split(TEST)
        .skip(1)
        .filter_map(|item| {
            item.trim_start()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .strip_prefix("mod ")
        })
        .filter_map(|item| item.split_once(';').map(|(name, _)| name.trim().to_string()))
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .map(|name| format!("{dir}{name}"))
        .collect()
}
