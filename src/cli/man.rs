// SPDX-License-Identifier: Apache-2.0
//! `a2md man`: the manual page, from the definition of all commands.

use super::call::{Call, Failure, Outcome};
use clap::{ArgMatches, Command};

pub fn define() -> Command {
    Command::new("man").about("Print the manual page a2md(8), for man -l")
}

pub fn run(call: &mut Call, _: &ArgMatches) -> Outcome {
    let mut out = Vec::new();
    let page = clap_mangen::Man::new((call.definition)()).section("8");
    page.render(&mut out).map_err(|error| Failure::new(format!("the page cannot be made: {error}")))?;
    call.write_as_it_is(&out)?;
    Ok(0)
}
