// SPDX-License-Identifier: Apache-2.0
//! RateLimits `src/` to its architecture: imports run downward, and what touches the world stands in one place.
//!
//! Reads the sources as text, without comments, strings and test modules. It knows paths, not types: what
//! comes in through a re-export or a macro of another crate it does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the crate by layer, L0 first. A module may import from its own layer and from those below.
const LAYERS: &[&[&str]] = &[
    &["backoff", "counters", "time", "names", "url", "log", "sync", "library"],
    &["crypto", "model", "work"],
    &["config", "store", "http", "exec"],
    &["managed", "metrics", "acme", "challenge", "ocsp"],
    &["startup", "renew", "live", "stapling", "status", "notify", "require_https"],
    &["httpd", "bin"],
];

/// A path of code, and the only places below `src/` where it may be named (a prefix of the file's path).
const PLACES: &[(&str, &[&str])] = &[
    ("apache_sys", &["httpd/sys/", "httpd/hooks/"]),
    ("std::process", &["exec.rs", "exec/", "bin/"]),
    // What has no place for it in std: a clean start of a program.
    ("nix", &["exec/"]),
    ("std::fs", &["store/", "bin/"]),
    // The HTTP client's TLS is the system's, too, and so is mod_ssl's, where live certificates are set.
    ("openssl", &["crypto/", "ocsp/", "http/", "httpd/sys/", "httpd/hooks/"]),
    ("openssl_sys", &["httpd/sys/", "httpd/hooks/"]),
    ("ureq", &["http/client.rs", "http/client/"]),
    ("foreign_types", &["httpd/sys/", "httpd/hooks/"]),
    ("SystemTime::now", &["time.rs"]),
    ("Zoned::now", &["time.rs"]),
    ("unsafe", &["httpd/sys/", "httpd/hooks/"]),
];

#[test]
fn sources_keep_to_their_layers_and_places() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<(String, String)> = rust_files(&src)
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
            (name, fs::read_to_string(&file).unwrap())
        })
        .collect();
    assert!(files.len() > 10, "the sources are found");
    let violations = violations(&files);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let deeper = |path: PathBuf| if path.is_dir() { rust_files(&path) } else { vec![path] };
    entries.into_iter().flat_map(deeper).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// `files`: path below `src/`, and content.
fn violations(files: &[(String, String)]) -> Vec<String> {
    let code: Vec<(&str, String)> =
        files.iter().map(|(name, text)| (name.as_str(), without_tests(&without_text(text)))).collect();
    let test_files = code.iter().flat_map(|(name, _)| test_files(name, files)).collect::<Vec<_>>();
    let code: Vec<_> =
        code.into_iter().filter(|(name, _)| !test_files.iter().any(|test| name.starts_with(test))).collect();
    let mut found = Vec::new();
    for (name, code) in &code {
        for (line, path) in paths(code) {
            let said = import_upward(name, &path).or_else(|| out_of_place(name, &path));
            found.extend(said.map(|said| format!("src/{name}:{line}: {said}")));
        }
    }
    found.dedup();
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn import_upward(file: &str, path: &[String]) -> Option<String> {
    let own = file.split('/').next()?.trim_end_matches(".rs");
    let target = top_module(file, path)?;
    let (from, to) = (layer(own)?, layer(&target)?);
    (to > from).then(|| format!("{own} (L{from}) names {target} (L{to})"))
}

/// The module directly below the crate's root that a path leads into.
fn top_module(file: &str, path: &[String]) -> Option<String> {
    let first = path.first()?;
    if first == "crate" || first == "mod_md" {
        return path.get(1).cloned();
    }
    let depth = file.trim_end_matches("mod.rs").trim_end_matches('/').split('/').count();
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    (supers >= depth).then(|| path.get(supers).cloned())?
}

fn out_of_place(file: &str, path: &[String]) -> Option<String> {
    // The number of the own process tells files of two writers apart; nothing is started.
    if begins(path, "std::process::id") {
        return None;
    }
    let (what, places) = PLACES.iter().find(|(what, _)| {
        if what.ends_with("::now") { path.join("::").contains(what) } else { begins(path, what) }
    })?;
    let allowed = places.iter().any(|place| file.starts_with(place));
    (!allowed).then(|| format!("{what} belongs into {}", places.join(", ")))
}

fn begins(path: &[String], with: &str) -> bool {
    with.split("::").enumerate().all(|(i, segment)| path.get(i).is_some_and(|found| found == segment))
}

/// All paths named in the code with their lines, `use` trees spread out; and the keyword `unsafe` as a path
/// of its own.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let tokens = tokens(code);
    let mut at = 0;
    while let Some(&(line, token)) = tokens.get(at) {
        if token == "use" {
            let end = tokens[at..].iter().position(|(_, t)| *t == ";").map_or(tokens.len(), |n| at + n);
            let words: Vec<&str> = tokens[at + 1..end].iter().map(|(_, token)| *token).collect();
            spread(&words, &[], &mut |path| found.push((line, path)));
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
                found.push((line, path));
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// `a::{b, c::d as e}` becomes `a::b`, `a::c::d`.
fn spread(words: &[&str], prefix: &[String], found: &mut impl FnMut(Vec<String>)) {
    let mut path = prefix.to_vec();
    for (i, word) in words.iter().enumerate() {
        match *word {
            "::" => {}
            "as" => break,
            "{" => {
                let inner = &words[i + 1..words.len().saturating_sub(1)];
                branches(inner).into_iter().for_each(|branch| spread(branch, &path, found));
                return;
            }
            word => path.push(word.to_string()),
        }
    }
    if path.len() > prefix.len() {
        found(path);
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
fn without_text(source: &str) -> String {
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
fn without_tests(code: &str) -> String {
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
fn test_files(file: &str, files: &[(String, String)]) -> Vec<String> {
    let text = files.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text);
    let dir = file.strip_suffix("mod.rs").map_or_else(|| file.replace(".rs", "/"), str::to_string);
    let dir = if file == "lib.rs" { String::new() } else { dir };
    without_text(text)
        .split(TEST)
        .skip(1)
        .filter_map(|item| item.trim_start().trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|item| item.split_once(';').map(|(name, _)| name.trim().to_string()))
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .map(|name| format!("{dir}{name}"))
        .collect()
}

mod checker {
    use super::violations;

    fn check(file: &str, text: &str) -> Vec<String> {
        violations(&[(file.to_string(), text.to_string())])
    }

    #[test]
    fn an_import_of_a_higher_layer_is_found_in_each_spelling() {
        for text in [
            "use crate::renew::decide;",
            "use crate::{model::Md, renew};",
            "use crate::{\n    model::{Md, Job},\n    renew::{self, policy as p},\n};",
            "fn f() { crate::renew::run(); }",
            "use super::super::renew::decide;",
        ] {
            let found = check("acme/order.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains("acme (L3) names renew (L4)"), "{found:?}");
        }
        assert_eq!(check("acme/mod.rs", "use super::renew;").len(), 1);
        assert_eq!(check("time.rs", "\n\nuse super::model;"), ["src/time.rs:3: time (L0) names model (L1)"]);
    }

    #[test]
    fn imports_downward_and_on_one_layer_pass() {
        for text in [
            "use crate::model::Md;",
            "use crate::{challenge, crypto::Key, time};",
            "use super::order;",
            "use super::super::time;",
            "pub use self::renew::Renew;",
        ] {
            assert_eq!(check("acme/client.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_crate_named_out_of_its_place_is_found() {
        for (file, text) in [
            ("httpd/worker.rs", "use apache_sys::request_rec;"),
            ("renew/attempt/issue.rs", "use std::{fs, time::Duration};"),
            ("renew/attempt/issue.rs", "fn f() { std::process::exit(1) }"),
            ("acme/client.rs", "use openssl::pkey::PKey;"),
            ("renew/decide/due.rs", "use std::time::SystemTime; fn f() { SystemTime::now(); }"),
            ("httpd/worker.rs", "fn f() { unsafe { g() } }"),
            ("acme/client.rs", "use ureq::Agent;"),
        ] {
            assert_eq!(check(file, text).len(), 1, "{text}: {:?}", check(file, text));
        }
    }

    #[test]
    fn each_crate_passes_in_its_place() {
        for (file, text) in [
            ("httpd/sys/hook.rs", "use apache_sys::request_rec; fn f() { unsafe { g() } }"),
            ("store/disk.rs", "use std::fs; fn f() { std::process::id(); }"),
            ("exec.rs", "use std::process::Command;"),
            ("crypto/key.rs", "use openssl::pkey::PKey;"),
            ("time.rs", "fn f() { SystemTime::now(); }"),
            ("http/client.rs", "use openssl::ssl::SslConnector; use ureq::Agent;"),
            ("lib.rs", "#![deny(unsafe_code)]\npub mod httpd;"),
        ] {
            assert_eq!(check(file, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn comments_literals_and_test_modules_do_not_count() {
        let text = r##"
//! Not crate::renew, nor unsafe.
/* use crate::renew; */
const A: &str = "use crate::renew; unsafe \" {";
const B: &str = r#"crate::renew "{" "#;
fn f<'a>(c: char) -> &'a str { if c == '{' || c == '\'' || c == '"' { "" } else { "}" } }
#[cfg(test)]
mod tests {
    use crate::renew;
    fn f() { std::fs::read("x"); }
}
"##;
        assert_eq!(check("acme/client.rs", text), [""; 0]);
        assert_eq!(
            check("acme/client.rs", &format!("{text}use crate::renew;")).len(),
            1,
            "what follows counts"
        );
    }

    #[test]
    fn a_file_that_is_only_a_test_module_does_not_count() {
        let files =
            [("acme/mod.rs", "#[cfg(test)]\nmod fake;"), ("acme/fake.rs", "use crate::renew; use std::fs;")];
        assert_eq!(violations(&files.map(|(name, text)| (name.to_string(), text.to_string()))), [""; 0]);
    }
}
