// SPDX-License-Identifier: Apache-2.0
//! `a2md`, the operator's command: what happens beside a running httpd, or without one. Its two halves are the
//! C module's a2md, call for call, and commands of our own.
//!
//! Each command is a file or folder here, with two functions: `define` says its options, and `run` performs it
//! with a [`Call`](console::call::Call), which is all that a command knows of its surroundings and the only way to its
//! outputs. [`registry`] lists them; [`definition`] makes of that list the parser, the manual page and the
//! completions of shells. Imports run from [`registry`] to the commands, and from these to what they share:
//! [`overview`], [`site`], [`console`] and others. Knows nothing of httpd but its command line and
//! the store.

mod account;
mod authority;
mod compat;
mod completions;
pub mod console;
pub mod definition;
mod dns;
mod doctor;
pub mod engine;
mod export;
mod fleet;
mod follow_up;
mod forget;
mod gc;
mod import;
mod man;
pub mod overview;
mod registry;
mod rehearse;
mod renew;
mod revoke;
mod rollback;
pub mod site;
mod store;

use console::call::{Call, Failure, Half, Options};
use console::terminal::Terminal;
use std::ffi::OsString;

/// Reports why a call could not be parsed, and returns the exit code.
fn misunderstood(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let code = definition::report(error);
    // Monitors know 2 as critical, and read the first line of standard output.
    if code == 0 || !definition::is_call_of("check", arguments) {
        return code;
    }
    println!("{}", overview::check::unknown("the call cannot be understood, see standard error"));
    overview::check::UNKNOWN
}

/// Performs one call of the command, and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match definition::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return misunderstood(&error, &arguments),
    };
    let mut call = Call::new(Options::of(&matches), Terminal::of_this_process(), definition::command);
    if matches.get_flag("version") {
        call.say(&format!("version: {}", crate::VERSION));
        return 0;
    }
    let Some((name, own)) = matches.subcommand() else {
        return call.end(Half::Compatible, Err(Failure::new("sub command is missing")));
    };
    let Some(entry) = registry::find(name) else {
        let code = call.end(Half::Compatible, Err(Failure::new(format!("unknown cmd: {name}")).status(22)));
        // Scripts for the C module's a2md find what that prints.
        if call.terminal.width.is_some() {
            call.complain("  'a2md --help' lists the commands.");
        }
        return code;
    };
    call.options.add(own);
    let half = entry.half(own.subcommand_name());
    if matches!(half, Half::Operator) && call.options.verbosity >= 0 {
        console::warnings::show();
    }
    let outcome = (entry.run)(&mut call, own);
    call.end(half, outcome)
}
