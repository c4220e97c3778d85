// SPDX-License-Identifier: Apache-2.0
//! The C module's a2md, call for call: its commands, messages, exit codes and JSON documents. Here is what
//! they share: how a call is performed and reported, its arguments, and its store. Neither httpd's
//! configuration nor the environment is read. Imports run from the commands to the files they share, and to
//! here.

pub mod acme;
pub mod add;
pub mod checks;
pub mod document;
pub mod drive;
pub mod list;
pub mod log;
pub mod stored;
pub mod update;

use super::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::StartStore;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

/// `apr_status_t` numbers of this half.
pub const NOT_FOUND: i32 = 2;
pub const EXISTS: i32 = 17;
pub const NOT_IMPLEMENTED: i32 = 70023;

/// Characters of a description.
const DESCRIPTION_MAX: usize = 31;

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
        document["description"] = json!(description(status));
    }
    document
}

/// The text of a status, as short as the C module cuts it.
pub fn description(status: i32) -> String {
    let text = match status {
        NOT_IMPLEMENTED => "This function has not been implemented on this platform".into(),
        _ => status::description(status),
    };
    text.chars().take(DESCRIPTION_MAX).collect()
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
    match store.other_holder().map_err(of_store)? {
        None => Ok(store),
        Some(uid) => Err(Failure::new(format!(
            "the store belongs to the user {uid}, who could not use what another user writes"
        ))
        .status(status::PERMISSION_DENIED)
        .advice(format!("Call a2md as that user: setpriv --reuid {uid} --clear-groups a2md …"))),
    }
}

/// A failure of the store. Its advice is part of the text.
pub fn of_store(error: crate::store::Error) -> Failure {
    Failure::new(error.advised()).status(error.os_error().unwrap_or(status::GENERAL))
}
