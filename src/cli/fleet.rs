// SPDX-License-Identifier: Apache-2.0
//! `a2md fleet`: the fleet of nodes that share certificates (`MDFleet`). [`status`] shows it, [`secret`] makes
//! its secret, and [`ask`] has the process that replicates do something. Never talks to the engine itself.
//! Imports run from here to these, and from them to [`findings`].

mod ask;
pub mod findings;
mod secret;
mod status;

use super::console::call::{Call, Failure, Options, Outcome};
use super::site::Site;
use clap::{ArgMatches, Command};

/// How a fleet comes to be.
const TO_BEGIN: &str = "MDFleet URL and MDFleetSecretFile FILE in httpd's configuration make one; 'a2md fleet secret --out FILE' makes \
     its secret.";

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

/// Fails where a call makes no sense, as there is no fleet.
fn check_member(site: &Site) -> Result<(), Failure> {
    if site.is_in_fleet() {
        return Ok(());
    }
    let dir = site.dir.display();
    Err(match site.configuration {
        Some(_) => {
            Failure::new(format!("the httpd with the store {dir} belongs to no fleet")).advice(TO_BEGIN)
        }
        None => Failure::new(format!(
            "nothing in the store {dir} tells of a fleet, and httpd could not be asked"
        ))
        .advice(format!(
            "{TO_BEGIN} Where it has them, name httpd's control program by --httpd, and call a2md as root."
        )),
    })
}
