// SPDX-License-Identifier: Apache-2.0
//! `a2md completions SHELL`: the completions of a shell, from the definition of all commands.

use super::console::call::{Call, Failure, Outcome};
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

pub fn define() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new("completions").about("Print the completions for a shell").arg(shell)
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let shell = matches.get_one::<Shell>("shell").ok_or_else(|| Failure::new("which shell?"))?;
    let mut out = Vec::new();
    clap_complete::generate(*shell, &mut (call.definition)(), "a2md", &mut out);
    call.write_as_it_is(&out)?;
    Ok(0)
}
