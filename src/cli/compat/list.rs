// SPDX-License-Identifier: Apache-2.0
//! `a2md list [NAME…]`: managed domains with their state by the certificates in use.

use super::{NOT_FOUND, arguments, document, failed, open, perform, stored};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::site::threads::in_threads;
use crate::model::Md;
use clap::{ArgMatches, Command};
use serde_json::Value;

pub fn define() -> Command {
    super::command("list", "List managed domains, all or those that have these names")
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    perform(call, |call, output| list(call, &arguments(matches), output))
}

fn list(call: &mut Call, names: &[String], output: &mut Vec<Value>) -> Result<(), Failure> {
    let store = open(call, "list")?;
    let (all, now) = (stored::all(&store)?, call.clock.now());
    let shown = |md: &Value| document::computed(&store, document::name(md), md, now);
    if names.is_empty() {
        output.extend(in_threads(&all, &shown));
        return Ok(());
    }
    for name in names {
        let Some(md) = find(&all, &name.to_ascii_lowercase()) else {
            crate::log!(Error, status = NOT_FOUND, "managed domain not found: {name}");
            return Err(failed(NOT_FOUND));
        };
        output.push(shown(md));
    }
    Ok(())
}

/// The one of this name, or else one that covers it.
fn find<'a>(all: &'a [Value], name: &str) -> Option<&'a Value> {
    let covers = |md: &&Value| Md::from_json(md).is_some_and(|md| md.covers(name));
    all.iter().find(|md| document::name(md) == name).or_else(|| all.iter().find(covers))
}
