// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet`: the fleet of nodes that share certificates (`MDFleet`). [`status`] shows it, [`secret`] makes
//! its secret, and [`ask`] has the process that replicates do something. Never talks to the engine itself.
//! Imports run from here to these, and from them to [`findings`] and
//! [`member`].

mod ask;
pub mod findings;
mod member;
mod secret;
mod status;

use super::console::call::{Call, Failure, Options, Outcome};
use clap::{ArgMatches, Command};

pub fn define() -> Command {
    let command = Command::new("fleet")
        .about("Look at and steer the fleet of httpds that share certificates")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(status::define())
        .subcommand(secret::define())
        .subcommand(ask::define_rekey())
        .subcommand(ask::define_resync())
        .subcommand(ask::define_evict());
    command.mut_subcommands(|command| command.args(Options::common()))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let Some((name, own)) = matches.subcommand() else { return Err(Failure::new("sub command is missing")) };
    call.options.add(own);
    match name {
        "status" => status::run(call, own),
        "secret" => secret::run(call, own),
        _ => ask::run(call, name, own),
    }
}
