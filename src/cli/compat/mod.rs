// SPDX-License-Identifier: Apache-2.0
//! The C module's a2md, call for call: its commands, messages, exit codes and JSON documents. Here is what
//! they share: how a call is performed and reported, its arguments, and its store. Neither httpd's
//! configuration nor the environment is read. Imports run from the commands to the files they share, and to
//! here.

pub mod acme;
pub mod add;
pub mod amend;
pub mod checks;
mod codes;
pub mod document;
pub mod drive;
pub mod list;
pub mod log;
pub mod stored;
pub mod update;

pub use codes::{EXISTS, NOT_FOUND, NOT_IMPLEMENTED};

use super::console::call::{Call, Failure, Outcome};
use super::engine;
use crate::model::outcome::status;
use crate::store::{StartStore, StoreLock};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

/// A command whose arguments begin with the first one that is no option.
pub fn command(name: &'static str, about: &'static str) -> Command {
    let arguments = Arg::new("arguments").value_name("ARGUMENT").num_args(0..).trailing_var_arg(true);
    Command::new(name).about(about).disable_help_subcommand(true).arg(arguments)
}

pub fn arguments(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("arguments").into_iter().flatten().cloned().collect()
}

/// Performs a command and reports on it: the managed domains that it has added to its list, and how it went.
pub fn perform(
    call: &mut Call,
    work: impl FnOnce(&mut Call, &mut Vec<Value>) -> Result<(), Failure>,
) -> Outcome {
    log::begin(call.options.verbosity);
    let mut output = Vec::new();
    let failure = work(call, &mut output).err();
    if let Some(failure) = failure.as_ref().filter(|failure| !failure.text.is_empty()) {
        crate::log!(Error, status = failure.status, "{}", failure.text);
        failure.advice.iter().for_each(|advice| call.complain(advice));
    }
    let (code, status) = failure.map_or((0, status::OK), |failure| (failure.code, failure.status));
    if call.options.json {
        call.print_document(&document_of(output, status))?;
    } else {
        output.iter().for_each(|md| call.say(&document::line(md)));
    }
    Ok(code)
}

fn document_of(output: Vec<Value>, status: i32) -> Value {
    let mut document = json!({"output": output, "status": status});
    if status != status::OK {
        document["description"] = json!(codes::description(status));
    }
    document
}

/// A failure that was reported already.
pub fn failed(status: i32) -> Failure {
    Failure::new("").status(status)
}

/// What is missing in a call is said in the first line.
pub fn missing(call: &mut Call, text: &str, status: i32) -> Failure {
    call.complain(text);
    failed(status)
}

/// The store that the call names, to look at. It is made where there is none.
pub fn open(call: &mut Call, command: &str) -> Result<StartStore, Failure> {
    let Some(dir) = call.options.dir.clone() else {
        return Err(missing(call, &format!("need store directory for command: {command}"), status::INVALID));
    };
    let dir = std::path::absolute(&dir)
        .map_err(|error| Failure::new(format!("{}: {}", dir.display(), crate::log::plain(&error))))?;
    StartStore::open_or_make(&dir).map_err(|error| super::site::of_store(&dir, &error))
}

/// The same, to change it.
pub fn open_to_change(call: &mut Call, command: &str) -> Result<StartStore, Failure> {
    let store = open(call, command)?;
    engine::check_holder(&store)?;
    Ok(store)
}

/// The same, with the lock of the store, so that another call or a start does not change it meanwhile.
pub fn open_locked(call: &mut Call, command: &str) -> Result<(StartStore, StoreLock), Failure> {
    let store = open_to_change(call, command)?;
    let locked = engine::lock(&store)?;
    Ok((store, locked))
}

pub use engine::of_store;
