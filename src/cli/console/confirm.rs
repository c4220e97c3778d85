// SPDX-License-Identifier: Apache-2.0
//! Asks before what cannot be undone: on a terminal a question, elsewhere the option `--yes` is needed.

use super::call::{Call, Failure};
use clap::{Arg, ArgAction, ArgMatches};
use std::io::BufRead;

/// `--yes`.
pub fn option() -> Arg {
    Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do not ask")
}

/// Returns if the user agrees. `what`: a sentence that says what happens.
pub fn confirm(call: &mut Call, matches: &ArgMatches, what: &str) -> Result<(), Failure> {
    if matches.get_flag("yes") {
        return Ok(());
    }
    if !call.terminal.is_interactive {
        return Err(
            Failure::new(format!("not done without --yes: {what}")).advice("Call it again with --yes.")
        );
    }
    call.complain(&format!("{what}\nType yes to go on:"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if ["yes", "y"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
        _ => Err(Failure::new("nothing was changed")),
    }
}
