// SPDX-License-Identifier: Apache-2.0
//! The fenced blocks of a page and the comments that say how they are run, as tests/docs/README.md has them.

use std::time::Duration;

/// What the reader of a walked page begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Bare,
    Site,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `None`: the page is not walked.
    pub walk: Option<State>,
    pub steps: Vec<Step>,
    /// Lines of blocks that could run and are not, with the reason.
    pub skipped: Vec<(usize, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Of the opening fence.
    pub line: usize,
    pub before: Vec<String>,
    /// Every suite, where it is empty.
    pub suites: Vec<String>,
    pub until: Option<Duration>,
    pub exit: i32,
    pub action: Action,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// A whole block of `sh`.
    Script(String),
    /// The commands of a block of `console`.
    Commands(Vec<Command>),
    Write {
        path: String,
        append: bool,
        text: String,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub text: String,
    /// Nothing is compared where it is empty.
    pub output: Vec<String>,
}

/// Comments since the last block.
#[derive(Default)]
struct Marks {
    before: Vec<String>,
    suites: Vec<String>,
    until: Option<Duration>,
    exit: i32,
    skip: Option<String>,
    file: Option<String>,
    replace: Vec<(String, String)>,
}

pub const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Whether a page has any comment of tests.
pub fn is_marked(text: &str) -> bool {
    text.contains("<!-- test: ")
}

/// Reads a page. The error names the line.
pub fn read(text: &str) -> Result<Page, String> {
    let mut page = Page::default();
    let mut marks = Marks::default();
    let mut is_marked = false;
    // The level of the heading whose section is skipped.
    let mut skipped: Option<(usize, String)> = None;
    let mut level = 0;
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    while let Some((at, line)) = lines.next() {
        if let Some(mark) = line.trim_start().strip_prefix("<!-- test: ") {
            let mark = mark.strip_suffix(" -->").ok_or(format!("line {at}: the comment has no end"))?;
            let (word, rest) = mark.split_once(' ').ok_or(format!("line {at}: '{mark}' says nothing"))?;
            match word {
                "walk" => page.walk = Some(state(rest).ok_or(format!("line {at}: no state '{rest}'"))?),
                "skip-section" => skipped = Some((level, rest.into())),
                _ => {
                    marks.take(word, rest).map_err(|error| format!("line {at}: {error}"))?;
                    is_marked = true;
                }
            }
        } else if let Some((indent, language)) =
            line.split_once("```").filter(|(indent, _)| indent.trim().is_empty())
        {
            let mut body = String::new();
            loop {
                // As far in as the fence, in a list.
                let inside = lines.next().map(|(_, inside)| inside.strip_prefix(indent).unwrap_or(inside));
                match inside {
                    Some("```") => break,
                    Some(inside) => body.extend([inside, "\n"]),
                    None => return Err(format!("line {at}: the block has no end")),
                }
            }
            let reason = marks.skip.clone().or_else(|| skipped.as_ref().map(|(_, reason)| reason.clone()));
            let step = std::mem::take(&mut marks).step(at, language, &body)?;
            match (step, reason) {
                (None, None) if is_marked => {
                    return Err(format!("line {at}: a comment for a block that is not run"));
                }
                (Some(_), Some(reason)) => page.skipped.push((at, reason)),
                (step, _) => page.steps.extend(step),
            }
            is_marked = false;
        } else if line.starts_with('#') {
            level = line.bytes().take_while(|byte| *byte == b'#').count();
            if skipped.as_ref().is_some_and(|(above, _)| level <= *above) {
                skipped = None;
            }
        } else if is_marked && !line.is_empty() {
            return Err(format!("line {at}: a comment of tests stands directly before its block"));
        }
    }
    if is_marked { Err("a comment of tests at the end has no block".into()) } else { Ok(page) }
}

fn state(word: &str) -> Option<State> {
    match word {
        "bare" => Some(State::Bare),
        "site" => Some(State::Site),
        _ => None,
    }
}

impl Marks {
    fn take(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let number = || rest.parse::<u16>().map_err(|_| format!("'{rest}' is no number"));
        match word {
            "skip" => self.skip = Some(rest.into()),
            "file" => self.file = Some(rest.into()),
            "before" => self.before.push(rest.into()),
            "until" => self.until = Some(Duration::from_secs(number()?.into())),
            "exit" => self.exit = number()?.into(),
            "on" => match rest.split(' ').find(|suite| !SUITES.contains(suite)) {
                Some(suite) => return Err(format!("no suite '{suite}'")),
                None => self.suites = rest.split(' ').map(String::from).collect(),
            },
            "replace" => match rest.split_once(" by ") {
                Some((old, new)) => self.replace.push((old.into(), new.into())),
                None => return Err(format!("'{rest}' has no 'by'")),
            },
            _ => return Err(format!("no comment '{word}'")),
        }
        Ok(())
    }

    /// `None`: such a block is never run.
    fn step(self, line: usize, language: &str, body: &str) -> Result<Option<Step>, String> {
        let mut body = body.to_string();
        for (old, new) in &self.replace {
            if !body.contains(old.as_str()) {
                return Err(format!("line {line}: '{old}' is not in the block"));
            }
            body = body.replace(old.as_str(), new);
        }
        let action = match (self.file, language) {
            (Some(file), _) => {
                let (append, path) = match file.strip_prefix(">>") {
                    Some(path) => (true, path.trim_start()),
                    None => (false, file.as_str()),
                };
                Action::Write { path: path.into(), append, text: body }
            }
            (None, "sh") => Action::Script(body),
            (None, "console") => {
                Action::Commands(commands(&body).map_err(|error| format!("line {line}: {error}"))?)
            }
            (None, _) => return Ok(None),
        };
        let Marks { before, suites, until, exit, .. } = self;
        Ok(Some(Step { line, before, suites, until, exit, action }))
    }
}

/// Commands begin with `$ `, and go on after a backslash; their output is below them.
fn commands(body: &str) -> Result<Vec<Command>, String> {
    let mut found: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for line in body.lines() {
        if let Some(text) = line.strip_prefix("$ ") {
            found.push(Command { text: text.into(), output: Vec::new() });
        } else {
            let last = found.last_mut().ok_or("the block does not begin with a command")?;
            if goes_on {
                last.text = format!("{}\n{line}", last.text);
            } else {
                last.output.push(line.into());
            }
        }
        goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
    }
    Ok(found)
}

/// Whether a command printed what the page shows. `…` stands for any text, and alone in a line for any
/// lines.
pub fn is_shown(shown: &[String], printed: &str) -> bool {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    shown.is_empty() || lines_match(shown, &printed)
}

fn lines_match(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|from| lines_match(rest, &printed[from..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, below)| is_like(first, line) && lines_match(rest, below)),
    }
}

/// Runs of blanks are alike: the columns of a table are as wide as its longest name.
fn is_like(shown: &str, line: &str) -> bool {
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (joined(shown), joined(line));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Step {
        let mut page = read(text).unwrap();
        assert_eq!(page.steps.len(), 1, "{page:?}");
        page.steps.remove(0)
    }

    #[test]
    fn blocks_of_sh_and_console_are_run_and_others_are_not() {
        let page = read("<!-- test: walk bare -->\n# A\n\n```sh\na\nb\n```\n\n```json\n{}\n```\n").unwrap();
        assert_eq!(page.walk, Some(State::Bare));
        assert_eq!(page.steps.len(), 1);
        assert_eq!((page.steps[0].line, &page.steps[0].action), (4, &Action::Script("a\nb\n".into())));
        let console = one("```console\n$ one \\\n  more\nout\n$ two\n```\n");
        let command = |text: &str, output: &[&str]| Command {
            text: text.into(),
            output: output.iter().map(ToString::to_string).collect(),
        };
        let both = vec![command("one \\\n  more", &["out"]), command("two", &[])];
        assert_eq!(console.action, Action::Commands(both));
        assert!(read("```console\nout\n```\n").is_err());
        let listed = one("1. One\n\n   <!-- test: exit 1 -->\n   ```sh\n   a \\\n     b\n   ```\n");
        assert_eq!(listed.action, Action::Script("a \\\n  b\n".into()));
    }

    #[test]
    fn comments_concern_the_block_below_them_alone() {
        let text = "<!-- test: file >> /etc/x -->\n<!-- test: replace a by b -->\n```apache\na c a\n```\n";
        let write = Action::Write { path: "/etc/x".into(), append: true, text: "b c b\n".into() };
        assert_eq!(one(text).action, write);
        let step = one("<!-- test: until 9 -->\n<!-- test: exit 1 -->\n\n```sh\nx\n```\n```text\ny\n```\n");
        assert_eq!((step.until, step.exit), (Some(Duration::from_secs(9)), 1));
        let step =
            one("<!-- test: on trixie -->\n<!-- test: before a -->\n<!-- test: before b -->\n```sh\n```\n");
        assert_eq!((step.suites, step.before), (vec!["trixie".into()], vec!["a".into(), "b".into()]));
    }

    #[test]
    fn a_skipped_section_ends_at_a_heading_of_its_level() {
        let text = "## A\n<!-- test: skip-section no Fedora -->\n```sh\na\n```\n### B\n```sh\nb\n```\n## C\n\
                    ```sh\nc\n```\n<!-- test: skip why -->\n```sh\nd\n```\n";
        let page = read(text).unwrap();
        assert_eq!(page.steps.iter().map(|step| step.line).collect::<Vec<_>>(), [11]);
        let reasons: Vec<&str> = page.skipped.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(reasons, ["no Fedora", "no Fedora", "why"]);
    }

    #[test]
    fn what_breaks_the_rules_is_an_error() {
        for text in [
            "<!-- test: skip -->\n```sh\n```\n",
            "<!-- test: perhaps so -->\n```sh\n```\n",
            "<!-- test: skip so\n```sh\n```\n",
            "<!-- test: walk far -->\n",
            "<!-- test: on sid -->\n```sh\n```\n",
            "<!-- test: exit far -->\n```sh\n```\n",
            "<!-- test: replace a -->\n```sh\na\n```\n",
            "<!-- test: replace a by b -->\n```sh\nc\n```\n",
            "<!-- test: exit 1 -->\n```text\n```\n",
            "<!-- test: exit 1 -->\nText\n```sh\n```\n",
            "<!-- test: exit 1 -->\n",
            "```sh\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn output_is_compared_where_it_is_not_left_out() {
        let shown = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        for (expected, printed, same) in [
            ("", "anything", true),
            ("a  b", "a b\n", true),
            ("a", "a\nb\n", false),
            ("a\n…", "a\nb\nc\n", true),
            ("…\nc", "a\nb\nc\n", true),
            ("…\nb", "a\nb\nc\n", false),
            ("…\nb\n…", "a\nb\nc\n", true),
            ("at … in …s", "at 12:00 in 3s", true),
            ("at … in …s", "at 12:00 in 3m", false),
            ("a…a", "a", false),
            ("a…", "a", true),
        ] {
            assert_eq!(is_shown(&shown(expected), printed), same, "{expected:?} {printed:?}");
        }
    }
}
