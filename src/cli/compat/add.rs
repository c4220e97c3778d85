// SPDX-License-Identifier: Apache-2.0
//! `a2md add NAME…`: a new managed domain, checked.

use super::{EXISTS, arguments, checks, document, failed, missing, open_locked, perform, stored};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::Group;
use clap::{ArgMatches, Command};
use serde_json::Value;

pub fn define() -> Command {
    super::command("add", "Add a managed domain with these names")
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
    // A name that is none has no folder.
    if store.exists(Group::Domains, name).unwrap_or(false) && stored::read(&store, name).is_some() {
        return Err(failed(EXISTS));
    }
    let (acme, terms) = (call.options.acme.as_deref(), call.options.terms.as_deref());
    let agreement = terms.filter(|terms| *terms != "accepted");
    checks::names(name, &names)
        .and_then(|()| checks::overlap(name, &names, &stored::all(&store).unwrap_or_default()))
        .and_then(|()| acme.into_iter().chain(agreement).try_for_each(|url| checks::url(name, url)))
        .map_err(|text| Failure::new(text).status(status::INVALID))?;
    let md = document::computed(&store, name, &document::new(&names, acme, terms), call.clock.now());
    stored::write(&store, &as_stored(&md))?;
    output.push(md);
    Ok(())
}

/// Without what is computed at each look.
pub fn as_stored(md: &Value) -> Value {
    let mut stored = md.clone();
    if let Value::Object(fields) = &mut stored {
        for key in ["state-descr", "renew", "renew-window", "warn-window"] {
            fields.shift_remove(key);
        }
    }
    stored
}
