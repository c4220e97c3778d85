// SPDX-License-Identifier: Apache-2.0
//! One call of the command as its commands see it: the options common to all, the terminal, and the way to
//! print. Text goes through [`Call::say`], which escapes it: what a CA, DNS or the store sent never steers a
//! terminal.

use super::terminal::{Terminal, escaped};
use crate::time::{Clock, SystemClock};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Which of the two halves a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Ours.
    Operator,
    /// As the C module's a2md has it.
    Compatible,
}

/// The exit code of a command, or why it could not do its work.
pub type Outcome = Result<u8, Failure>;

/// A sub command, as a command lists its own.
pub struct SubCommand {
    /// Its name, options and help.
    pub define: fn() -> clap::Command,
    pub run: fn(&mut Call, &ArgMatches) -> Outcome,
}

/// Why a command could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, where and why: a sentence without full stop.
    pub text: String,
    /// What to do.
    pub advice: Option<String>,
    pub code: u8,
    /// `apr_status_t`, for the JSON of the compatible half.
    pub status: i32,
}

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Failure { text: text.into(), advice: None, code: 1, status: crate::model::outcome::status::GENERAL }
    }

    #[must_use]
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Failure { advice: Some(advice.into()), ..self }
    }

    #[must_use]
    pub fn code(self, code: u8) -> Self {
        Failure { code, ..self }
    }

    #[must_use]
    pub fn status(self, status: i32) -> Self {
        Failure { status, ..self }
    }
}

impl From<io::Error> for Failure {
    /// Of standard output.
    fn from(error: io::Error) -> Self {
        Failure::new(format!("standard output cannot be written: {}", crate::log::plain(&error)))
    }
}

/// Options that all commands have. In the operator's half they may stand before the command's name or
/// anywhere after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The folder of the store.
    pub dir: Option<PathBuf>,
    /// The directory URL of the CA; the last one given.
    pub acme: Option<String>,
    /// More CA certificates to trust when talking to the CA.
    pub ca_file: Option<PathBuf>,
    pub json: bool,
    /// HTTP proxy for the CA.
    pub proxy: Option<String>,
    /// `URL` or `accepted`.
    pub terms: Option<String>,
    /// Log levels more than info; negative: less.
    pub verbosity: i8,
    /// The command line of httpd's control program (`apachectl`).
    pub httpd: Option<String>,
}

impl Options {
    /// Those before the command's name.
    pub fn of(matches: &ArgMatches) -> Self {
        let mut options = Options::default();
        options.add(matches);
        options
    }

    /// Adds those that were given at another level. What is said twice counts as said last.
    pub fn add(&mut self, matches: &ArgMatches) {
        let given = |id: &str| matches!(matches.try_contains_id(id), Ok(true));
        let text =
            |id: &str| given(id).then(|| matches.get_many::<String>(id)?.next_back().cloned()).flatten();
        let path =
            |id: &str| given(id).then(|| matches.get_many::<PathBuf>(id)?.next_back().cloned()).flatten();
        let count =
            |id: &str| if given(id) { i8::try_from(matches.get_count(id)).unwrap_or(i8::MAX) } else { 0 };
        let is_set = |id: &str| given(id) && matches.value_source(id) == Some(ValueSource::CommandLine);
        self.dir = path("dir").or(self.dir.take());
        self.acme = text("acme").or(self.acme.take());
        self.ca_file = path("cafile").or(self.ca_file.take());
        self.json |= is_set("json");
        self.proxy = text("proxy").or(self.proxy.take());
        self.terms = text("terms").or(self.terms.take());
        self.httpd = text("httpd").or(self.httpd.take());
        self.verbosity = self.verbosity.saturating_add(count("verbose")).saturating_sub(count("quiet"));
    }

    /// Their definitions before the command's name.
    pub fn arguments() -> Vec<Arg> {
        let mut all = Options::common();
        all.extend([
            option("acme", 'a', "URL", "Directory URL of the CA"),
            option("proxy", 'p', "URL", "HTTP proxy for the CA"),
            option("terms", 't', "URL|accepted", "Agreement to the CA's terms of service"),
        ]);
        all
    }

    /// Those that each of the operator's commands takes after its name as well.
    pub fn common() -> Vec<Arg> {
        vec![
            option("dir", 'd', "DIR", "Folder of the store [default: MD_STORE, or the store of httpd]")
                .value_parser(value_parser!(PathBuf)),
            option("cafile", 'C', "FILE", "Trust the CA certificates in this file, too")
                .value_parser(value_parser!(PathBuf)),
            Arg::new("json")
                .short('j')
                .long("json")
                .action(ArgAction::SetTrue)
                .overrides_with("json")
                .help("Print one JSON document"),
            Arg::new("quiet")
                .short('q')
                .long("quiet")
                .action(ArgAction::Count)
                .help("Leave out the steps of long work"),
            Arg::new("verbose").short('v').long("verbose").action(ArgAction::Count).help("Say more"),
            Arg::new("httpd")
                .long("httpd")
                .value_name("COMMAND")
                .action(ArgAction::Append)
                .help("Control program of httpd with its arguments [default: apachectl]"),
        ]
    }
}

/// `-V`, before the command's name alone.
pub fn option_of_version() -> Arg {
    Arg::new("version").short('V').long("version").action(ArgAction::SetTrue).help("Print the version")
}

fn option(id: &'static str, short: char, value: &'static str, help: &'static str) -> Arg {
    Arg::new(id).short(short).long(id).value_name(value).action(ArgAction::Append).help(help)
}

/// One call of the command.
pub struct Call {
    pub options: Options,
    pub terminal: Terminal,
    pub clock: Arc<dyn Clock>,
    /// The whole command line, for the commands that print it.
    pub definition: fn() -> clap::Command,
}

impl Call {
    pub fn new(options: Options, terminal: Terminal, definition: fn() -> clap::Command) -> Self {
        Call { options, terminal, clock: Arc::new(SystemClock::default()), definition }
    }

    /// Prints a line, or several, on standard output. Control characters other than line feeds are escaped.
    pub fn say(&mut self, text: &str) {
        // Whoever reads may have gone, as `head` does: that is no failure of the command.
        let _ = writeln!(io::stdout(), "{}", escaped(text));
    }

    /// Shows a step of long work on standard error, unless `-q` is given.
    pub fn step(&self, text: &str) {
        if self.options.verbosity >= 0 {
            self.complain(text);
        }
    }

    /// Prints a line on standard error.
    pub fn complain(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", escaped(text));
    }

    /// Prints what is not for terminals, or was escaped piece by piece ([`Terminal::paint`]).
    pub fn write_as_it_is(&mut self, content: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout();
        match out.write_all(content).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Prints a JSON document, two spaces deep, in ASCII: so that nothing in it steers a terminal.
    pub fn print_document(&mut self, document: &Value) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(document).unwrap_or_default();
        self.write_as_it_is(format!("{}\n", in_ascii(&text)).as_bytes())
    }

    /// Reports the outcome of a command, and returns the exit code.
    pub(crate) fn end(&mut self, half: Half, outcome: Outcome) -> u8 {
        let failure = match outcome {
            Ok(code) => return code,
            Err(failure) => failure,
        };
        let printed = match (half, self.options.json) {
            (Half::Operator, true) => {
                let Failure { text, advice, .. } = &failure;
                self.print_document(&json!({"schema": 1, "error": text, "advice": advice}))
            }
            (Half::Operator, false) => {
                self.complain(&format!("a2md: {}", failure.text));
                failure.advice.iter().for_each(|advice| self.complain(&format!("  {advice}")));
                Ok(())
            }
            (Half::Compatible, is_json) => {
                self.complain(&failure.text);
                let description: String =
                    crate::model::outcome::status::description(failure.status).chars().take(31).collect();
                let document = json!({"output": [], "status": failure.status, "description": description});
                if is_json { self.print_document(&document) } else { Ok(()) }
            }
        };
        // There is nowhere left to say that even this could not be written.
        let _ = printed;
        failure.code
    }
}

/// JSON with everything outside ASCII, and the one control character that JSON lets pass, as `\uXXXX`.
fn in_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_ascii_and_read_back_as_they_were() {
        let value = json!({"a": "\u{7f}\u{9b}2J ä \u{1f600} \u{202e}"});
        let text = in_ascii(&value.to_string());
        assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
