// SPDX-License-Identifier: Apache-2.0
//! Prints the outcome of a pass, for people or as JSON. Nothing secret is in it.

use super::pass::{Export, Passed};
use crate::cli::console::call::{Call, Failure};
use serde_json::{Value, json};

/// Prints the outcome of one pass.
pub fn print(call: &mut Call, export: &Export, passed: &Passed) -> Result<(), Failure> {
    if let Some(doubt) = &passed.doubt {
        call.complain(&format!("{}: the set in use is taken from domains: {doubt}", passed.md));
    }
    if call.options.json {
        return call.print_document(&document(export, passed));
    }
    let dir = export.dir.display();
    let until = passed.until.to_http_date();
    if passed.is_changed {
        call.say(&format!(
            "{}: {} written to {dir}, valid until {until}",
            passed.md,
            passed.files.join(", ")
        ));
    } else {
        call.say(&format!("{}: the files in {dir} are up to date, valid until {until}", passed.md));
    }
    if !passed.removed.is_empty() {
        call.say(&format!(
            "{}: removed, for keys that there are no more: {}",
            passed.md,
            passed.removed.join(", ")
        ));
    }
    for file in &passed.left {
        call.complain(&format!("{}: {file} is for a former key and was changed since: remove it", passed.md));
    }
    let Some(ran) = &passed.ran else { return Ok(()) };
    match &ran.outcome {
        Ok(()) => call.say("The command has succeeded."),
        Err(error) => call.complain(&format!("a2md: the files are in place, but {error}")),
    }
    if !ran.printed.is_empty() {
        call.complain(&ran.printed);
    }
    Ok(())
}

fn document(export: &Export, passed: &Passed) -> Value {
    let ran = passed.ran.as_ref();
    let (outcome, printed) =
        (ran.map(|ran| ran.outcome.as_ref().map_err(ToString::to_string)), ran.map(|ran| &ran.printed));
    json!({
        "schema": 1,
        "name": passed.md,
        "to": export.dir.display().to_string(),
        "format": export.formats.iter().map(|format| format.token()).collect::<Vec<_>>(),
        "source": passed.source.token(),
        "valid-until": passed.until.to_http_date(),
        "changed": passed.is_changed,
        "files": passed.files,
        "removed": passed.removed,
        "left": passed.left,
        "run": outcome.map(|outcome| json!({
            "succeeded": outcome.is_ok(), "error": outcome.err(), "printed": printed,
        })),
    })
}
