// SPDX-License-Identifier: Apache-2.0
//! `a2md store`: two commands under one name. `add`, `list`, `remove` and `update` are the C module's; the
//! others are the operator's, which take the common options after their name as well. [`OPERATORS`] lists
//! them: a new one is a line there. Imports run from here to the sub commands.

mod add;
mod backup;
mod checks;
mod list;
mod remove;
mod restore;
mod update;
mod verify;

use super::console::call::{Call, Failure, Options, Outcome, SubCommand};
use clap::{ArgMatches, Command};

/// Sub commands of the operator's half.
pub const OPERATORS: &[SubCommand] = &[
    SubCommand { define: verify::define, run: verify::run },
    SubCommand { define: backup::define, run: backup::run },
    SubCommand { define: restore::define, run: restore::run },
];

/// Those of the C module.
const COMPATIBLE: &[SubCommand] = &[
    SubCommand { define: add::define, run: add::run },
    SubCommand { define: list::define, run: list::run },
    SubCommand { define: remove::define, run: remove::run },
    SubCommand { define: update::define, run: update::run },
];

pub fn define() -> Command {
    let command = Command::new("store")
        .about("Check, save and restore the store; add, list, update and remove domains in it")
        .disable_help_subcommand(true)
        .allow_external_subcommands(true);
    let compatible = COMPATIBLE.iter().map(|entry| (entry.define)());
    let operators = OPERATORS.iter().map(|entry| (entry.define)().args(Options::common()));
    command.subcommands(compatible.chain(operators))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let Some((name, own)) = matches.subcommand() else {
        return Err(Failure::new("sub command is missing"));
    };
    let is_named = |entry: &&SubCommand| (entry.define)().get_name() == name;
    if let Some(entry) = OPERATORS.iter().find(is_named) {
        call.options.add(own);
        return (entry.run)(call, own);
    }
    match COMPATIBLE.iter().find(is_named) {
        Some(entry) => (entry.run)(call, own),
        None => Err(Failure::new(format!("unknown cmd: {name}")).status(22)),
    }
}
