// SPDX-License-Identifier: Apache-2.0
//! `a2md store`: two commands under one name. `add`, `list`, `remove` and `update` are the C module's; the
//! others are the operator's, which take the common options after their name as well. [`OPERATORS`] lists
//! them: a new one is a line there. Imports run from here to the sub commands.

use super::call::{Call, Failure, Options, Outcome, SubCommand};
use clap::{ArgMatches, Command};

/// Sub commands of the operator's half.
pub const OPERATORS: &[SubCommand] = &[];

pub fn define() -> Command {
    let mut command = Command::new("store")
        .about("Add, list, update and remove managed domains in the store")
        .disable_help_subcommand(true)
        .allow_external_subcommands(true);
    for entry in OPERATORS {
        command = command.subcommand((entry.define)().args(Options::common()));
    }
    command
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let Some((name, own)) = matches.subcommand() else {
        return Err(Failure::new("sub command is missing"));
    };
    if let Some(entry) = OPERATORS.iter().find(|entry| (entry.define)().get_name() == name) {
        call.options.add(own);
        return (entry.run)(call, own);
    }
    Err(Failure::new(format!("unknown cmd: {name}")).status(22))
}
