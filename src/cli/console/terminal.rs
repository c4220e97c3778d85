// SPDX-License-Identifier: Apache-2.0
//! What a terminal shows: its width, colours, and text that cannot steer it. Pure but for
//! [`Terminal::of_this_process`].

use std::io::{IsTerminal, stdin, stdout};

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; `None`: it is a file or a pipe, and lines may be of any length.
    pub width: Option<usize>,
    pub has_colours: bool,
    /// Somebody can answer questions.
    pub is_interactive: bool,
}

/// How a piece of text is shown where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// The parameters of the control sequence "select graphic rendition" (ECMA-48 §8.3.117).
    fn parameters(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warning => "33",
            Style::Bad => "1;31",
        }
    }
}

impl Terminal {
    pub fn of_this_process() -> Self {
        let is_terminal = stdout().is_terminal();
        let columns = || rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
        let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal {
            width: is_terminal.then(|| asked().or_else(columns).filter(|width| *width >= 20).unwrap_or(80)),
            has_colours: is_terminal && !is_dumb && !no_colour,
            is_interactive: stdin().is_terminal() && is_terminal,
        }
    }

    /// The text escaped, in this style where there are colours.
    pub fn paint(&self, text: &str, style: Style) -> String {
        let text = escaped(text);
        match style.parameters() {
            "" => text,
            _ if !self.has_colours => text,
            parameters => format!("\u{1b}[{parameters}m{text}\u{1b}[0m"),
        }
    }

    /// A table with a head, each row a list of cells with their styles, as wide as the terminal: the last
    /// column is wrapped. Every line ends with a line feed. Escapes all text: print it with
    /// [`write_as_it_is`](crate::cli::console::call::Call::write_as_it_is).
    pub fn table(&self, head: &[&str], rows: &[Vec<(String, Style)>]) -> String {
        let head: Vec<_> = head.iter().map(|title| (title.to_string(), Style::Bold)).collect();
        let all: Vec<Vec<(String, Style)>> = [head].iter().chain(rows).map(|row| flat(row)).collect();
        let columns = all.iter().map(Vec::len).max().unwrap_or_default();
        let width =
            |at: usize| all.iter().filter_map(|row| row.get(at)).map(|(text, _)| columns_of(text)).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or_default()).collect();
        let before: usize = widths.iter().take(columns.saturating_sub(1)).map(|width| width + 2).sum();
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(before).max(20));
        let mut out = String::new();
        for row in &all {
            self.row(&mut out, row, &widths, before, room);
        }
        out
    }

    fn row(&self, out: &mut String, row: &[(String, Style)], widths: &[usize], before: usize, room: usize) {
        let mut line = String::new();
        for (at, (text, style)) in row.iter().enumerate() {
            let is_last = at + 1 == widths.len();
            if !is_last {
                let gap = widths.get(at).map_or(0, |width| width + 2 - columns_of(text));
                line.push_str(&self.paint(text, *style));
                line.push_str(&" ".repeat(gap));
                continue;
            }
            for (number, piece) in wrapped(text, room).iter().enumerate() {
                if number > 0 {
                    line.push('\n');
                    line.push_str(&" ".repeat(before));
                }
                line.push_str(&self.paint(piece, *style));
            }
        }
        out.push_str(line.trim_end_matches(' '));
        out.push('\n');
    }
}

/// Cells of one line each.
fn flat(row: &[(String, Style)]) -> Vec<(String, Style)> {
    row.iter().map(|(text, style)| (escaped(text).replace('\n', " "), *style)).collect()
}

/// About how many columns a text takes.
fn columns_of(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most `width` characters, broken between words where that is possible.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > width {
            lines.push(String::new());
            length = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            if let Some(line) = lines.last_mut() {
                line.extend(word);
            }
            lines.push(String::new());
            word = rest;
        }
        if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            length += word.len();
            line.extend(word);
        }
    }
    lines
}

/// Whether a terminal would obey a character, or show the text in another order for it: control characters,
/// and those that change the direction of text or are invisible (Unicode category Cf).
fn is_steering(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || is_format
}

/// The text with everything that would steer a terminal made visible (`\u{1b}`). Line feeds stay.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_steering(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Terminal = Terminal { width: Some(40), has_colours: true, is_interactive: true };

    #[test]
    fn nothing_from_outside_steers_a_terminal() {
        for (text, expected) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\rb\tc\u{8}\u{7f}", "a\\u{d}b\\u{9}c\\u{8}\\u{7f}"),
            ("exe\u{202e}txt", "exe\\u{202e}txt"),
            ("two\nlines, größer", "two\nlines, größer"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        assert_eq!(TERMINAL.paint("\u{1b}]0;x\u{7}", Style::Bad), "\u{1b}[1;31m\\u{1b}]0;x\\u{7}\u{1b}[0m");
    }

    #[test]
    fn a_table_is_as_wide_as_the_terminal_and_its_last_column_is_wrapped() {
        let rows = vec![
            vec![
                ("a.test".to_string(), Style::Plain),
                ("one two three four five six seven".into(), Style::Plain),
            ],
            vec![("long-name.test".to_string(), Style::Plain), ("x\u{1b}[1my\nz".into(), Style::Plain)],
        ];
        let plain = Terminal { has_colours: false, ..TERMINAL };
        assert_eq!(
            plain.table(&["domain", "text"], &rows),
            "domain          text\na.test          one two three four five\n                six seven\n\
             long-name.test  x\\u{1b}[1my z\n"
        );
        let unlimited = Terminal { width: None, ..plain };
        assert!(
            unlimited
                .table(&["domain", "text"], &rows)
                .contains("a.test          one two three four five six seven\n")
        );
    }

    #[test]
    fn words_are_kept_whole_unless_they_are_longer_than_a_line() {
        assert_eq!(wrapped("abcdefghij kl m", 4), ["abcd", "efgh", "ij", "kl m"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
