// SPDX-License-Identifier: Apache-2.0
//! `a2md doctor`: finds out why certificates are not renewed or not served, before the CA does. Each check
//! compares facts and adds [`Finding`]s. The checks read files, ask the CA once, and reach out to the names of
//! the site; `--offline` reaches nothing. Changes nothing. Imports run from here to the checks, and from these
//! to [`finding`].

mod authority;
mod configuration;
mod content;
mod directories;
pub mod finding;
mod fleet;
mod folder;
mod reach;
mod renewal;

use super::console::call::{Call, Failure, Outcome};
use super::site::threads::in_threads;
use super::site::{self, Site};
use crate::managed::Managed;
use crate::managed::bundle::MD_FILE;
use crate::store::Group;
use clap::{Arg, ArgAction, ArgMatches, Command};
use directories::Directories;
use finding::{Finding, Subject, Verdict};
use std::collections::HashSet;
use std::path::Path;

pub fn define() -> Command {
    let names = Arg::new("names")
        .value_name("NAME")
        .action(ArgAction::Append)
        .help("Managed domains, names that they cover, or names that are not configured yet [default: all]");
    let offline = Arg::new("offline")
        .long("offline")
        .action(ArgAction::SetTrue)
        .help("Look at files and at httpd's configuration alone: reach no CA and none of the names");
    Command::new("doctor")
        .about("Find out why certificates are not renewed or not served")
        .args([names, offline])
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let names: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
    let findings = finding::sorted(look(call, &names, matches.get_flag("offline"))?);
    if call.options.json {
        call.print_document(&finding::document(&findings))?;
    } else {
        let text = finding::text(&findings, &call.terminal, call.options.verbosity > 0);
        call.write_as_it_is(text.as_bytes())?;
    }
    Ok(u8::from(finding::count(&findings, Verdict::Fails) > 0))
}

/// Performs all checks.
fn look(call: &mut Call, names: &[String], is_offline: bool) -> Result<Vec<Finding>, Failure> {
    let mut out = Vec::new();
    let found = site::find(call);
    configuration::look(call, found.as_ref().ok(), &mut out);
    let found = match found {
        Ok(found) => found,
        // Whoever has a configuration that cannot be read wants to hear of that.
        Err(failure) if finding::count(&out, Verdict::Fails) > 0 => {
            let advice = failure.advice.unwrap_or_else(|| "Name its folder by -d.".into());
            out.push(Finding::cannot_be_told("store-missing", "store", format!("{}.", failure.text), advice));
            return Ok(out);
        }
        Err(failure) => return Err(failure),
    };
    call.step("Looking at the store …");
    let (dir, is_there) =
        (found.dir.clone(), folder::look(&found.dir, found.configuration.as_ref(), &mut out));
    if !is_there {
        return Ok(out);
    }
    match Site::open_found(call, found) {
        Ok(site) => of_site(call, &site, names, is_offline, &mut out)?,
        Err(failure) => out.push(unopened(&dir, failure)),
    }
    Ok(out)
}

/// The checks that need an open store.
fn of_site(
    call: &mut Call,
    site: &Site,
    names: &[String],
    is_offline: bool,
    out: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let now = call.clock.now();
    folder::rights(site, out);
    content::accounts(&site.store, out);
    let subjects = subjects(site, names)?;
    let mut due = Vec::new();
    let looked = in_threads(&subjects, &|subject| {
        let mut found = Vec::new();
        content::look(site, subject, now, &mut found);
        let is_due = renewal::look(site, subject, now, &mut found);
        (found, is_due)
    });
    for (subject, (found, is_due)) in subjects.iter().zip(looked) {
        out.extend(found);
        due.extend(is_due.then(|| subject.name.clone()));
    }
    renewal::process(call, site, &due, out);
    fleet::look(site, now, out);
    if !is_offline {
        let mut directories = Directories::default();
        authority::look(call, site, &subjects, &mut directories, out);
        reach::look(call, site, &subjects, &mut directories, out);
    }
    Ok(())
}

/// The store is there and cannot be opened.
fn unopened(dir: &Path, failure: Failure) -> Finding {
    let subject = dir.display().to_string();
    let advice =
        failure.advice.unwrap_or_else(|| "Restore md_store.json from a backup of this store.".into());
    match failure.status {
        13 => Finding::cannot_be_told("store-unreadable", subject, format!("{}.", failure.text), advice),
        2 => Finding::fails(
            "store-key",
            subject,
            format!("{}.", failure.text),
            "Restore md_store.json from a backup of this store. Without one, move the folder away: httpd then makes a new \
             store, and new accounts and certificates.",
        ),
        _ => Finding::fails("store-key", subject, format!("{}.", failure.text), advice),
    }
}

/// What is looked at: all MDs, or those that the names mean. A name that no MD covers stands for itself.
fn subjects(site: &Site, names: &[String]) -> Result<Vec<Subject>, Failure> {
    let mds = site.mds()?;
    let of_md = |managed: &Managed| Subject {
        name: managed.md.name.clone(),
        names: managed.md.domains.clone(),
        managed: Some(managed.clone()),
    };
    let plain = |name: &str| Subject { name: name.into(), names: vec![name.into()], managed: None };
    let mut subjects: Vec<Subject> = Vec::new();
    if names.is_empty() {
        let configured = site.configured_names();
        let is_used = |managed: &&Managed| {
            configured.as_ref().is_none_or(|names| names.contains(managed.md.name.as_str()))
        };
        subjects.extend(mds.iter().filter(is_used).map(of_md));
        let stored = site.store.names(Group::Domains).unwrap_or_default();
        let is_damaged = |name: &&String| site.store.read_json(Group::Domains, name, MD_FILE).is_err();
        let known: HashSet<&str> = mds.iter().map(|managed| managed.md.name.as_str()).collect();
        let is_new = |name: &&String| !known.contains(name.as_str());
        subjects.extend(stored.iter().filter(is_new).filter(is_damaged).map(|name| plain(name)));
    }
    for name in names {
        let name = name.to_ascii_lowercase();
        let meant = mds
            .iter()
            .find(|managed| managed.md.name == name)
            .or_else(|| mds.iter().find(|managed| managed.md.covers(&name)));
        let subject = meant.map_or_else(|| plain(&name), of_md);
        if !subjects.iter().any(|known| known.name == subject.name) {
            subjects.push(subject);
        }
    }
    Ok(subjects)
}
