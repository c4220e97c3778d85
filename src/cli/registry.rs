// SPDX-License-Identifier: Apache-2.0
//! The list of all commands. A new one is a line here.

use super::call::{Call, Half, Outcome};
use super::{completions, man};
use clap::{ArgMatches, Command};

pub struct Entry {
    pub half: Half,
    /// Its name, options and help.
    pub define: fn() -> Command,
    pub run: fn(&mut Call, &ArgMatches) -> Outcome,
}

const fn operator(define: fn() -> Command, run: fn(&mut Call, &ArgMatches) -> Outcome) -> Entry {
    Entry { half: Half::Operator, define, run }
}

/// In the order of the help.
pub const COMMANDS: &[Entry] =
    &[operator(completions::define, completions::run), operator(man::define, man::run)];

pub fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| (entry.define)().get_name() == name)
}
