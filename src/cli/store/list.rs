// SPDX-License-Identifier: Apache-2.0
//! `a2md store list`: all managed domains as they are stored.

use crate::cli::compat::{command, document, open, perform, stored};
use crate::cli::console::call::{Call, Outcome};
use clap::{ArgMatches, Command};

pub fn define() -> Command {
    command("list", "List all managed domains as they are stored")
}

pub fn run(call: &mut Call, _: &ArgMatches) -> Outcome {
    perform(call, |call, output| {
        let store = open(call, "list")?;
        output.extend(stored::all(&store)?.iter().map(document::shown));
        Ok(())
    })
}
