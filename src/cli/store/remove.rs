// SPDX-License-Identifier: Apache-2.0
//! `a2md store remove [-f] NAME…`: removes managed domains with their keys and certificates.

use crate::cli::compat::{NOT_FOUND, arguments, command, failed, missing, of_store, open_locked, perform};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::Group;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub fn define() -> Command {
    let force = Arg::new("force").short('f').long("force").action(ArgAction::SetTrue).overrides_with("force");
    command("remove", "Remove managed domains from the store")
        .arg(force.help("That there is none of a name is no error"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let is_forced = matches.get_flag("force");
    perform(call, |call, _| remove(call, &arguments(matches), is_forced))
}

fn remove(call: &mut Call, names: &[String], is_forced: bool) -> Result<(), Failure> {
    let (store, _locked) = open_locked(call, "remove")?;
    if names.is_empty() {
        return Err(missing(call, "needs at least one name", status::INVALID));
    }
    for name in names.iter().map(|name| name.to_ascii_lowercase()) {
        if store.exists(Group::Domains, &name).unwrap_or(false) {
            store.purge(Group::Domains, &name).map_err(|error| of_store(&error))?;
        } else if !is_forced {
            crate::log!(Error, status = NOT_FOUND, "removing md {name}");
            return Err(failed(NOT_FOUND));
        }
    }
    Ok(())
}
