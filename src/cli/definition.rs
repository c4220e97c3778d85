// SPDX-License-Identifier: Apache-2.0
//! The definition of the command line, of which the parser, the manual page and the completions are made.

use super::console::call::{Half, Options, option_of_version};
use super::registry::COMMANDS;
use clap::Command;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::Write;

/// Exit code for a call that cannot be understood, and for help.
const USAGE: u8 = 2;

const ABOUT: &str = "Look at and steer the certificates that mod_md manages";

/// The whole command.
pub fn command() -> Command {
    let mut command = Command::new("a2md")
        .about(ABOUT)
        .override_usage("a2md [OPTIONS] COMMAND [ARGUMENTS]")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .allow_external_subcommands(true)
        .subcommand_help_heading("Commands")
        .args(Options::arguments())
        .arg(option_of_version())
        .after_help(compatible());
    for entry in COMMANDS {
        let defined = (entry.define)();
        command = command.subcommand(match entry.half {
            Half::Operator => defined.args(Options::common()),
            // One that has sub commands of ours is listed among both.
            Half::Compatible => defined.hide(entry.operators.is_empty()),
        });
    }
    command
}

/// The commands of the other half, which the help shows after ours.
fn compatible() -> String {
    let mut text = String::new();
    for entry in COMMANDS.iter().filter(|entry| entry.half == Half::Compatible) {
        let command = (entry.define)();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Those of ours are listed above.
        let about = if entry.operators.is_empty() {
            about
        } else {
            "Add, list, remove and update domains in the store".into()
        };
        text.push_str(&format!("  {:11}  {about}\n", command.get_name()));
    }
    if text.is_empty() { text } else { format!("Commands of mod_md 2.x's a2md:\n{text}") }
}

/// Prints why a call could not be parsed, or the help it asked for, and returns the exit code: for help of one
/// of our commands 0.
pub(super) fn report(error: &clap::Error) -> u8 {
    let is_of_ours = error.kind() == ErrorKind::DisplayHelp && is_help_of_ours(&error.to_string());
    // clap has escaped what it repeats of the call. Whoever reads may have gone.
    let text = error.render().to_string();
    let _ = match is_of_ours {
        true => write!(std::io::stdout(), "{text}"),
        false => write!(std::io::stderr(), "{text}"),
    };
    if is_of_ours { 0 } else { USAGE }
}

/// Whether a call that could not be parsed was one of this command.
pub(super) fn is_call_of(name: &str, arguments: &[OsString]) -> bool {
    let parsed = command().ignore_errors(true).try_get_matches_from(arguments);
    parsed.is_ok_and(|matches| matches.subcommand_name() == Some(name))
}

/// Whether a help text is that of one of our commands.
fn is_help_of_ours(text: &str) -> bool {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: a2md ")).unwrap_or_default();
    let mut words = usage.split(' ');
    let named = words.next().unwrap_or_default();
    super::registry::find(named).is_some_and(|entry| entry.half(words.next()) == Half::Operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_says_what_it_does() {
        command().debug_assert();
        for entry in COMMANDS {
            let command = (entry.define)();
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
