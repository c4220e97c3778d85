// SPDX-License-Identifier: Apache-2.0
//! `a2md store verify`: the whole store checked, and with `--repair` owners, modes and leftovers put right.
//! Deletes no key. Imports `checks`.

use super::checks::{self, Fault, Mend};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::console::terminal::Style;
use crate::cli::site::lock::lock;
use crate::cli::site::{Site, of_store};
use crate::startup::recover;
use crate::store::whole::Survey;
use crate::store::{Error, Owner};
use crate::time::Timestamp;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

pub fn define() -> Command {
    Command::new("verify").about("Check every file of the store: content, keys and chains, owners and modes").arg(
        Arg::new("repair").long("repair").action(ArgAction::SetTrue).help(
            "Set owners and modes right, remove what ended processes have left, and end an interrupted activation",
        ),
    )
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let now = call.clock.now();
    let (mut survey, mut faults) = look(&site, now)?;
    let mut mended = Vec::new();
    if matches.get_flag("repair") && faults.iter().any(|fault| fault.mend.is_some()) {
        let _lock = lock(&site)?;
        // What was wrong before the lock was held may be right by now.
        faults = look(&site, now)?.1;
        let failed = repair(&site, &faults);
        failed.iter().for_each(|text| call.complain(text));
        let before = faults;
        (survey, faults) = look(&site, now)?;
        let is_left =
            |fault: &Fault| faults.iter().any(|left| left.path == fault.path && left.kind == fault.kind);
        mended = before.into_iter().filter(|fault| !is_left(fault)).collect();
    }
    tell(call, &site, &survey, &faults, &mended)?;
    Ok(u8::from(!faults.is_empty()))
}

fn look(site: &Site, now: Timestamp) -> Result<(Survey, Vec<Fault>), Failure> {
    let failed = |error: Error| of_store(&site.dir, &error);
    let user = site.configuration.as_ref().and_then(|configuration| configuration.user);
    let workers = user.map(|(uid, gid)| Owner { uid, gid });
    let survey = site.store.survey(workers).map_err(failed)?;
    let faults = checks::all(&site.store, &survey, now).map_err(failed)?;
    Ok((survey, faults))
}

/// Does what can be done, and returns what could not.
fn repair(site: &Site, faults: &[Fault]) -> Vec<String> {
    let mut failed = Vec::new();
    let mut has_ended_swaps = false;
    for fault in faults {
        let outcome = match &fault.mend {
            Some(Mend::Rights(entry, rights)) => site.store.set_rights(entry, *rights),
            Some(Mend::Remove(entry)) => site.store.remove_entry(entry),
            Some(Mend::EndSwaps) if !has_ended_swaps => {
                has_ended_swaps = true;
                recover::swaps(&site.store)
            }
            _ => Ok(()),
        };
        failed.extend(outcome.err().map(|error| error.advised()));
    }
    failed
}

fn tell(
    call: &mut Call,
    site: &Site,
    survey: &Survey,
    faults: &[Fault],
    mended: &[Fault],
) -> Result<(), Failure> {
    let files = survey.entries.len();
    if call.options.json {
        let list = |faults: &[Fault]| faults.iter().map(Fault::to_json).collect::<Vec<_>>();
        return call.print_document(&json!({
            "schema": 1, "store": site.dir, "entries": files, "problems": list(faults), "repaired": list(mended),
        }));
    }
    let row = |fault: &Fault, style: Style, done: &str| {
        vec![(fault.path.clone(), style), (format!("{}{done}", fault.what), Style::Plain)]
    };
    let can_be = |fault: &Fault| if fault.mend.is_some() { " (--repair mends it)" } else { "" };
    let mut rows: Vec<_> = faults.iter().map(|fault| row(fault, Style::Bad, can_be(fault))).collect();
    rows.extend(mended.iter().map(|fault| row(fault, Style::Good, " - repaired")));
    if !rows.is_empty() {
        let table = call.terminal.table(&["file", "problem"], &rows);
        call.write_as_it_is(table.as_bytes())?;
    }
    let problems = match faults.len() {
        0 => "in order".to_string(),
        1 => "1 problem".to_string(),
        n => format!("{n} problems"),
    };
    let repaired = if mended.is_empty() { String::new() } else { format!(", {} repaired", mended.len()) };
    call.say(&format!("{}: {files} entries, {problems}{repaired}", site.dir.display()));
    Ok(())
}
