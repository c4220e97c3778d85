// SPDX-License-Identifier: Apache-2.0
//! `a2md store add NAME…`: a new managed domain, as it is given.

use crate::cli::compat::stored;
use crate::cli::compat::{
    EXISTS, arguments, checks, command, document, failed, missing, open_locked, perform,
};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::names;
use crate::store::Group;
use clap::{ArgMatches, Command};
use serde_json::Value;

pub fn define() -> Command {
    command("add", "Add a managed domain with these names, unchecked")
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    perform(call, |call, output| add(call, &arguments(matches), output))
}

fn add(call: &mut Call, names: &[String], output: &mut Vec<Value>) -> Result<(), Failure> {
    let (store, _locked) = open_locked(call, "add")?;
    let names = checks::folded(names);
    let Some(name) = names.first() else {
        return Err(missing(call, "needs at least one name", status::INVALID));
    };
    if names::normalize(name).is_err() {
        let text = format!("md {name} with invalid domain name: {name}");
        return Err(Failure::new(text).status(status::INVALID));
    }
    if store.exists(Group::Domains, name).unwrap_or(false) && stored::read(&store, name).is_some() {
        return Err(failed(EXISTS));
    }
    let md = document::new(&names, call.options.acme.as_deref(), call.options.terms.as_deref());
    stored::write(&store, &md)?;
    output.push(md);
    Ok(())
}
