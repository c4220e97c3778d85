// SPDX-License-Identifier: Apache-2.0
//! The list of all commands. A new one is a line here.

use super::compat::{acme, add, drive, list, update};
use super::console::call::{Call, Half, Outcome, SubCommand};
use super::overview::{check, status};
use super::{
    account, completions, dns, doctor, export, fleet, forget, gc, import, man, rehearse, renew, revoke,
    rollback, store,
};
use clap::{ArgMatches, Command};

pub struct Entry {
    pub half: Half,
    /// Its name, options and help.
    pub define: fn() -> Command,
    pub run: fn(&mut Call, &ArgMatches) -> Outcome,
    /// Its sub commands of the operator's half, where it belongs to the other one.
    pub operators: &'static [SubCommand],
}

const fn operator(define: fn() -> Command, run: fn(&mut Call, &ArgMatches) -> Outcome) -> Entry {
    Entry { half: Half::Operator, define, run, operators: &[] }
}

const fn compatible(define: fn() -> Command, run: fn(&mut Call, &ArgMatches) -> Outcome) -> Entry {
    Entry { half: Half::Compatible, define, run, operators: &[] }
}

/// In the order of the help.
pub const COMMANDS: &[Entry] = &[
    operator(status::define, status::run),
    operator(check::define, check::run),
    operator(doctor::define, doctor::run),
    operator(renew::define, renew::run),
    operator(rehearse::define, rehearse::run),
    operator(revoke::define, revoke::run),
    operator(rollback::define, rollback::run),
    operator(account::define, account::run),
    operator(import::define, import::run),
    operator(export::define, export::run),
    operator(dns::define, dns::run),
    operator(fleet::define, fleet::run),
    operator(forget::define, forget::run),
    operator(gc::define, gc::run),
    Entry { operators: store::OPERATORS, ..compatible(store::define, store::run) },
    operator(completions::define, completions::run),
    operator(man::define, man::run),
    compatible(add::define, add::run),
    compatible(list::define, list::run),
    compatible(update::define, update::run),
    compatible(drive::define, drive::run),
    compatible(acme::define, acme::run),
];

pub fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| (entry.define)().get_name() == name)
}

impl Entry {
    /// The half to which a call with this sub command belongs.
    pub fn half(&self, sub_command: Option<&str>) -> Half {
        let mut operators = self.operators.iter();
        match operators.any(|entry| sub_command == Some((entry.define)().get_name())) {
            true => Half::Operator,
            false => self.half,
        }
    }
}
