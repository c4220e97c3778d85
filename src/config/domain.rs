// SPDX-License-Identifier: Apache-2.0
//! `MDomain`, its sections and their members: lists of names that may contain `auto` and `manual` at any
//! position.

use super::value::{first, set};
use super::{Error, MdSection, Scope, ServerConfig};
use crate::names;

/// `MDomain NAME… [auto|manual]`
pub(super) fn single(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let mut section = section(scope);
    add_members(&mut section, args);
    if section.names.is_empty() {
        return Err(nameless(&section, || "needs at least one domain name".into()));
    }
    scope.server.mds.push(section);
    Ok(())
}

/// `<MDomain NAME… [auto|manual]>`: the section stays open until [`close_section`].
pub(super) fn open_section(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    let Some((line, _)) = first(args).rsplit_once('>') else {
        return Err(Error(format!("{}> directive missing closing '>'", scope.directive)));
    };
    let words = split_arguments(line);
    let mut section = section(scope);
    add_members(&mut section, &words.iter().map(String::as_str).collect::<Vec<_>>());
    if section.names.is_empty() {
        let missing = || format!("{}> section must specify a unique domain name", scope.directive);
        return Err(nameless(&section, missing));
    }
    scope.server.open = Some(section);
    Ok(())
}

/// To be called when httpd has read the inside of a section.
pub fn close_section(server: &mut ServerConfig) -> Result<(), Error> {
    let section = server.open.take().ok_or_else(|| Error::new("no <MDomain> section is open"))?;
    server.mds.push(section);
    Ok(())
}

/// `MDMembers`: names in a section; for a server only the default of its MDs.
pub(super) fn members(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), Error> {
    if let Some(section) = &mut scope.server.open {
        add_members(section, args);
        return Ok(());
    }
    let &[word] = args else {
        return Err(Error(format!(
            "{} is only valid inside a '<MDomainSet' context, not here",
            scope.directive
        )));
    };
    let transitive = is_transitive(word).ok_or_else(|| Error::new("unknown value, use \"auto|manual\""));
    set(&mut scope.server.settings.transitive, transitive)
}

fn section(scope: &Scope<'_>) -> MdSection {
    MdSection { defined_at: (scope.env.file.to_string(), scope.env.line), ..MdSection::default() }
}

/// Other versions of mod_md start with invalid names, and serve the others.
fn add_members(section: &mut MdSection, words: &[&str]) {
    for word in words {
        if let Some(transitive) = is_transitive(word) {
            section.settings.transitive = Some(transitive);
            continue;
        }
        match names::normalize(word) {
            Ok(name) => section.names.push(name),
            Err(reason) => {
                let text = format!("'{word}' is not a valid domain name: {reason}. {}", remedy(word));
                section.left_out.push(((*word).to_string(), text));
            }
        }
    }
}

/// A domain without any name.
fn nameless(section: &MdSection, missing: impl FnOnce() -> String) -> Error {
    Error(section.left_out.first().map_or_else(missing, |(_, text)| text.clone()))
}

fn remedy(word: &str) -> &'static str {
    let has_port = word.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    match word {
        _ if !word.is_ascii() => "Write it in its DNS form (punycode), which begins with xn--.",
        _ if has_port => "Write it without the port.",
        _ => "Correct or remove it.",
    }
}

fn is_transitive(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "auto" => Some(true),
        "manual" => Some(false),
        _ => None,
    }
}

/// The arguments on a line, as httpd splits one: at white space; a word in quotes may contain it. A backslash
/// before another one, or in quotes before such a quote, stands for the next character.
pub fn split_arguments(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.trim_start_matches(is_space).chars().peekable();
    while chars.peek().is_some() {
        let quote = chars.next_if(|c| matches!(c, '"' | '\''));
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| quote.is_some() || !is_space(*c)) {
            if Some(c) == quote {
                break;
            }
            let escaped = |next: &char| c == '\\' && (*next == '\\' || Some(*next) == quote);
            word.push(chars.next_if(escaped).unwrap_or(c));
        }
        while chars.next_if(|c| is_space(*c)).is_some() {}
        // httpd takes this for the end of the line.
        if word.is_empty() && chars.peek().is_none() {
            break;
        }
        words.push(word);
    }
    words
}

/// As C counts them.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_with_both_kinds_of_quotes() {
        for (line, words) in [
            ("a.test  b.test ", vec!["a.test", "b.test"]),
            ("\"a.test\" 'b.test'auto", vec!["a.test", "b.test", "auto"]),
            (r#""a\"b" c"#, vec!["a\"b", "c"]),
            (r#""a\\" 'b\'' c\\d e\" f\g"#, vec!["a\\", "b'", "c\\d", "e\\\"", "f\\g"]),
            ("\"a.test", vec!["a.test"]),
            ("\"\" a \"\"", vec!["", "a"]),
            ("\"\"", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(split_arguments(line), words, "{line}");
        }
    }

    #[test]
    fn closing_what_is_not_open_is_an_error() {
        assert!(close_section(&mut ServerConfig::default()).is_err());
    }
}
