// SPDX-License-Identifier: Apache-2.0
//! `a2md forget NAME…`: removes domains that no configuration names any more. Certificates and keys go to the
//! archive, unless `--purge` is given. Refuses what a configured domain needs, and everything where the
//! configuration cannot be asked and an httpd renews in the store. Imports `surplus`.

use super::console::call::{Call, Failure, Outcome};
use super::console::terminal::Style;
use super::console::{confirm, space};
use super::site::lock::lock;
use super::site::request::RESTART;
use super::site::surplus;
use super::site::surplus::Holdings;
use super::site::{Site, of_store};
use crate::names;
use crate::store::Group;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    let names = Arg::new("name").value_name("NAME").num_args(1..).required(true);
    let purge = Arg::new("purge").long("purge").action(ArgAction::SetTrue);
    Command::new("forget")
        .about("Remove domains that the configuration does not name any more")
        .arg(names.help("Their names in the store (MDomain)"))
        .arg(purge.help("Remove certificates and keys for good, with all in the archive"))
        .arg(confirm::option())
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let is_purged = matches.get_flag("purge");
    let named = matches.get_many::<String>("name").into_iter().flatten();
    let mut wanted = named.map(|name| asked(name)).collect::<Result<Vec<_>, _>>()?;
    wanted.sort();
    wanted.dedup();
    let survey = site.store.survey(None).map_err(|error| of_store(&site.dir, &error))?;
    let holdings: Vec<_> = wanted.iter().map(|name| Holdings::of(&survey, name)).collect();
    refuse(&site, &holdings, matches.get_flag("yes"))?;
    if !call.options.json {
        show(call, &holdings, is_purged)?;
    }
    confirm::confirm(call, matches, &question(&holdings, is_purged))?;
    let _lock = lock(&site)?;
    for domain in &holdings {
        call.step(&format!("removing {}", domain.name));
        surplus::remove(&site.store, domain, is_purged).map_err(|error| of_store(&site.dir, &error))?;
    }
    tell(call, &holdings, is_purged)?;
    Ok(0)
}

fn asked(name: &str) -> Result<String, Failure> {
    names::normalize(name)
        .map_err(|error| Failure::new(format!("'{name}' names no domain: {error}")).status(22))
}

/// Domains that must not go.
fn refuse(site: &Site, holdings: &[Holdings<'_>], is_sure: bool) -> Result<(), Failure> {
    if let Some(missing) = holdings.iter().find(|domain| domain.entries.is_empty()) {
        let text = format!("{}: the store {} has nothing of that name", missing.name, site.dir.display());
        return Err(Failure::new(text).status(2).advice("a2md status lists the domains by their names."));
    }
    let Some(configuration) = &site.configuration else {
        let renewer = site.store.renewer_within(RESTART).map_err(|error| of_store(&site.dir, &error))?;
        return match renewer {
            Some(holder) => Err(Failure::new(format!(
                "httpd uses the store (process {} on host {}), and its configuration cannot be asked",
                holder.pid, holder.host
            ))
            .advice("Name httpd's control program: --httpd apachectl.")),
            None if is_sure => Ok(()),
            None => Err(Failure::new("whether the configuration names these domains is not known").advice(
                "Name httpd's control program: --httpd apachectl. Or, where you know that it does not name them: --yes.",
            )),
        };
    };
    for domain in holdings {
        if let Some(reason) = surplus::need(&site.store, configuration, &domain.name) {
            return Err(Failure::new(format!("{} is in use: {reason}", domain.name))
                .advice("Remove it from the configuration and restart httpd first."));
        }
    }
    Ok(())
}

/// What becomes of a folder.
fn fate(path: &str, is_purged: bool) -> &'static str {
    match path.split('/').next() {
        Some("domains") if !is_purged => "moves to the archive",
        Some("archive") if !is_purged => "stays",
        Some("staging") if !is_purged => "is removed; a finished certificate moves to the archive",
        _ => "is removed",
    }
}

fn show(call: &mut Call, holdings: &[Holdings<'_>], is_purged: bool) -> Result<(), Failure> {
    let folders = holdings.iter().flat_map(Holdings::folders);
    let rows: Vec<_> = folders
        .map(|entry| {
            let fate = fate(&entry.path, is_purged);
            let style = if fate == "stays" { Style::Dim } else { Style::Plain };
            vec![(entry.path.clone(), style), (fate.to_string(), style)]
        })
        .collect();
    let table = call.terminal.table(&["folder", "what becomes of it"], &rows);
    call.write_as_it_is(table.as_bytes())
}

fn question(holdings: &[Holdings<'_>], is_purged: bool) -> String {
    let names: Vec<_> = holdings.iter().map(|domain| domain.name.as_str()).collect();
    let what = if is_purged { " with all keys and certificates, for good" } else { "" };
    format!("Remove {}{what}?", names.join(", "))
}

fn tell(call: &mut Call, holdings: &[Holdings<'_>], is_purged: bool) -> Result<(), Failure> {
    if call.options.json {
        let entry = |domain: &Holdings<'_>| -> Value {
            let folders: Vec<_> = domain.folders().iter().map(|entry| entry.path.clone()).collect();
            json!({"name": domain.name, "folders": folders, "archived": !is_purged && domain.has(Group::Domains)})
        };
        let domains: Vec<_> = holdings.iter().map(entry).collect();
        return call.print_document(&json!({"schema": 1, "forgotten": domains}));
    }
    let size: u64 = holdings.iter().map(|domain| domain.size(&[])).sum();
    let domains = if holdings.len() == 1 { "1 domain".into() } else { format!("{} domains", holdings.len()) };
    call.say(&match is_purged {
        true => format!("{domains} forgotten, {} removed.", space::shown(size)),
        false => format!(
            "{domains} forgotten. Keys and certificates are in the archive; a2md gc removes them in time."
        ),
    });
    Ok(())
}
