// SPDX-License-Identifier: Apache-2.0
//! `a2md gc`: removes what nobody needs any more: old sets in the archive, domains that no configuration names,
//! and what processes have left behind. Lists it first. Refuses nothing, but passes over all that may be in
//! use. Imports `surplus`.

use super::console::call::{Call, Failure, Outcome};
use super::console::terminal::Style;
use super::console::{confirm, space};
use super::site::lock::lock;
use super::site::surplus;
use super::site::surplus::Holdings;
use super::site::{Site, of_store};
use crate::challenge::answers;
use crate::config::Configuration;
use crate::store::whole::{Entry, Place, Sort, Survey};
use crate::store::{Error, Group, Note, StartStore};
use crate::time::{DAY, Timestamp, parse_duration_millis};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const OLD: &str = "180d";
/// Sets of a domain in the archive that stay, however old.
const SETS_KEPT: usize = 2;
/// Things that processes at work may still need are younger.
const IDLE: Duration = DAY;

pub fn define() -> Command {
    let older = Arg::new("older-than").long("older-than").value_name("TIME").default_value(OLD);
    let dry = Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue);
    Command::new("gc")
        .about("Remove old certificates from the archive, unused domains and leftovers")
        .arg(older.help("How long certificates and domains must have been out of use, as 90d or 12h"))
        .arg(dry.help("List only"))
        .arg(confirm::option())
}

/// Something that can go.
struct Item {
    path: String,
    why: String,
    size: u64,
    act: Act,
}

enum Act {
    Purge(Group, String),
    Forget(String),
    Remove(Entry),
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    let text = matches.get_one::<String>("older-than").map(String::as_str).unwrap_or(OLD);
    let age = parse_duration_millis(text, DAY).and_then(|millis| u64::try_from(millis).ok());
    let age = age.map(Duration::from_millis).ok_or_else(|| {
        Failure::new(format!("'{text}' is no time"))
            .advice("Write it as 180d, 12h or 30mi.")
            .status(22)
            .code(2)
    })?;
    let failed = |error: Error| of_store(&site.dir, &error);
    let is_dry = matches.get_flag("dry-run");
    let survey = site.store.survey(None).map_err(failed)?;
    let items = surplus_of(&site.store, site.configuration.as_ref(), &survey, call.clock.now(), age)
        .map_err(failed)?;
    if !call.options.json {
        show(call, &site, &items)?;
    }
    if !is_dry && !items.is_empty() {
        confirm::confirm(call, matches, &format!("Remove {}?", things(items.len())))?;
        let _lock = lock(&site)?;
        // A start may have used something meanwhile.
        let survey = site.store.survey(None).map_err(failed)?;
        let still = surplus_of(&site.store, site.configuration.as_ref(), &survey, call.clock.now(), age)
            .map_err(failed)?;
        let listed: BTreeSet<&str> = items.iter().map(|item| item.path.as_str()).collect();
        for item in still.iter().filter(|item| listed.contains(item.path.as_str())) {
            act(&site, &survey, item)?;
        }
    }
    tell(call, &items, is_dry)?;
    Ok(0)
}

fn things(count: usize) -> String {
    if count == 1 { "1 thing".into() } else { format!("{count} things") }
}

fn act(site: &Site, survey: &Survey, item: &Item) -> Result<(), Failure> {
    let done = match &item.act {
        Act::Purge(group, name) => site.store.purge(*group, name),
        Act::Remove(entry) => site.store.remove_entry(entry),
        Act::Forget(name) => surplus::remove(&site.store, &Holdings::of(survey, name), false),
    };
    done.map_err(|error| of_store(&site.dir, &error))
}

/// All that can go. Without a configuration all domains count as configured.
fn surplus_of(
    store: &StartStore,
    configuration: Option<&Configuration>,
    survey: &Survey,
    now: Timestamp,
    age: Duration,
) -> Result<Vec<Item>, Error> {
    let names = |c: &Configuration| c.mds.iter().map(|planned| planned.md.name.clone()).collect();
    let configured = configuration.map(names);
    let mut found = old_sets(survey, configured.as_ref(), &on_trial(store)?, now, age);
    found.extend(survey.entries.iter().filter_map(|entry| leftover(store, survey, entry, now)));
    if let Some(configuration) = configuration {
        found.extend(unused(store, configuration, survey, now, age));
        let domains = configuration.mds.iter().flat_map(|planned| &planned.md.domains);
        let needed = Needed {
            store,
            domains: domains.map(|name| name.strip_prefix("*.").unwrap_or(name)).collect(),
            mds: configuration.mds.iter().map(|planned| planned.md.name.as_str()).collect(),
        };
        found.extend(survey.entries.iter().filter_map(|entry| challenge(&needed, entry, now)));
    }
    let sizes = sizes(survey);
    for item in &mut found {
        let below = format!("{}/", item.path);
        let files = sizes.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        item.size += files.map(|(_, size)| size).sum::<u64>();
    }
    Ok(found)
}

fn sizes(survey: &Survey) -> BTreeMap<String, u64> {
    let files = survey.entries.iter().filter(|entry| entry.sort == Sort::File);
    files.map(|entry| (entry.path.clone(), entry.size)).collect()
}

/// Folders of the archive that a start may put back.
fn on_trial(store: &StartStore) -> Result<BTreeSet<String>, Error> {
    let note = store.read_note(Note::Trial)?.unwrap_or_default();
    let sets = note.as_object().into_iter().flatten();
    Ok(sets.filter_map(|(_, set)| set.get("archived")?.as_str().map(String::from)).collect())
}

/// Old sets in the archive, but of each domain that is configured, or may be, the newest ones stay.
fn old_sets(
    survey: &Survey,
    configured: Option<&BTreeSet<String>>,
    on_trial: &BTreeSet<String>,
    now: Timestamp,
    age: Duration,
) -> Vec<Item> {
    let mut by_domain: BTreeMap<String, Vec<(u32, &Entry)>> = BTreeMap::new();
    for entry in &survey.entries {
        if let Some(Place::Folder(Group::Archive, folder)) = &entry.place
            && entry.sort == Sort::Folder
            && let Some((name, number)) = folder.rsplit_once('.')
        {
            by_domain.entry(name.to_string()).or_default().push((number.parse().unwrap_or_default(), entry));
        }
    }
    let mut found = Vec::new();
    for (name, mut sets) in by_domain {
        sets.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let is_configured = configured.is_none_or(|configured| configured.contains(&name));
        let kept = if is_configured { SETS_KEPT } else { 0 };
        for (number, entry) in sets.into_iter().skip(kept) {
            let folder = format!("{name}.{number}");
            let idle = now.since(entry.changed);
            if idle >= age && !on_trial.contains(&folder) {
                let why = format!("in the archive, unchanged for {} days", idle.as_secs() / DAY.as_secs());
                found.push(Item {
                    path: entry.path.clone(),
                    why,
                    size: 0,
                    act: Act::Purge(Group::Archive, folder),
                });
            }
        }
    }
    found
}

/// Domains that the configuration does not need.
fn unused(
    store: &StartStore,
    configuration: &Configuration,
    survey: &Survey,
    now: Timestamp,
    age: Duration,
) -> Vec<Item> {
    let mut found = Vec::new();
    for (name, holdings) in Holdings::all(survey) {
        // Responses for certificates of no domain have a folder of that name.
        let is_current =
            [Group::Domains, Group::Staging, Group::Ocsp].iter().any(|group| holdings.has(*group));
        if !is_current || name == "other" {
            continue;
        }
        let mut current = holdings.entries.iter().filter(|entry| !is_archived(entry));
        let is_old = current.all(|entry| now.since(entry.changed) >= age);
        if !is_old || surplus::need(store, configuration, &name).is_some() {
            continue;
        }
        let folders = holdings.folders().into_iter().filter(|entry| !is_archived(entry));
        let folders: Vec<_> = folders.map(|entry| entry.path.as_str()).collect();
        let why = match holdings.has(Group::Domains) {
            true => "no configuration names it: its certificates move to the archive",
            false => "no configuration names it",
        };
        let size = holdings.size(&[Group::Staging, Group::Ocsp, Group::Tmp]);
        found.push(Item { path: folders.join(", "), why: why.into(), size, act: Act::Forget(name) });
    }
    found
}

fn is_archived(entry: &Entry) -> bool {
    matches!(entry.place, Some(Place::Folder(Group::Archive, _) | Place::File(Group::Archive, ..)))
}

/// What a process has left that ended at the wrong moment.
fn leftover(store: &StartStore, survey: &Survey, entry: &Entry, now: Timestamp) -> Option<Item> {
    if now.since(entry.changed) < IDLE {
        return None;
    }
    let (path, size) = (entry.path.clone(), if entry.sort == Sort::File { entry.size } else { 0 });
    let item = |why: &str, act| Some(Item { path: path.clone(), why: why.into(), size, act });
    match &entry.place {
        _ if entry.leftover().is_some() => {
            item("left by a process that ended at the wrong moment", Act::Remove(entry.clone()))
        }
        Some(Place::Folder(Group::Tmp, name)) => {
            // Without a folder in `domains` it is what the next start puts into use.
            let is_done = Holdings::of(survey, name).has(Group::Domains)
                || store.read_json(Group::Tmp, name, "md.json").is_ok_and(|json| json.is_none());
            is_done.then(|| item("left by an activation", Act::Purge(Group::Tmp, name.clone())))?
        }
        Some(Place::FlatFile(flat, _)) if flat.dir == "requests" => {
            item("a request that nobody has answered", Act::Remove(entry.clone()))
        }
        _ => None,
    }
}

/// What is configured.
struct Needed<'a> {
    store: &'a StartStore,
    mds: BTreeSet<&'a str>,
    /// Without the first label of wildcards.
    domains: BTreeSet<&'a str>,
}

/// Answers for names that no domain has. Records in the DNS that may still be there are told and removed by a
/// start.
fn challenge(needed: &Needed<'_>, entry: &Entry, now: Timestamp) -> Option<Item> {
    let Some(Place::Folder(Group::Challenges, name)) = &entry.place else { return None };
    let folder = answers::Folder { store: needed.store, group: Group::Challenges, name };
    let files = needed.store.files(Group::Challenges, name).ok()?;
    let has_records = files.iter().any(|file| file == "acme-dns-01.json");
    let is_answered = folder.owners().iter().any(|owner| needed.mds.contains(owner.as_str()));
    let is_needed = needed.domains.contains(name.as_str()) || is_answered || has_records;
    let is_idle = entry.sort == Sort::Folder && now.since(entry.changed) >= IDLE;
    (is_idle && !is_needed).then(|| Item {
        path: entry.path.clone(),
        why: "answers to challenges for a name that no domain has".into(),
        size: 0,
        act: Act::Purge(Group::Challenges, name.clone()),
    })
}

fn show(call: &mut Call, site: &Site, items: &[Item]) -> Result<(), Failure> {
    if site.configuration.is_none() {
        call.complain(
            "The configuration of httpd is not known: all domains count as configured. --httpd COMMAND names its control \
             program.",
        );
    }
    if items.is_empty() {
        return Ok(());
    }
    let row = |item: &Item| {
        let size = (space::shown(item.size), Style::Plain);
        vec![(item.path.clone(), Style::Plain), size, (item.why.clone(), Style::Plain)]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    let table = call.terminal.table(&["what", "size", "why it can go"], &rows);
    call.write_as_it_is(table.as_bytes())
}

fn tell(call: &mut Call, items: &[Item], is_dry: bool) -> Result<(), Failure> {
    let size: u64 = items.iter().map(|item| item.size).sum();
    if call.options.json {
        let entry =
            |item: &Item| -> Value { json!({"path": item.path, "bytes": item.size, "reason": item.why}) };
        let items: Vec<_> = items.iter().map(entry).collect();
        return call.print_document(&json!({"schema": 1, "removed": !is_dry, "bytes": size, "items": items}));
    }
    call.say(&match (items.len(), is_dry) {
        (0, _) => "Nothing to remove.".to_string(),
        (n, true) => format!("{} can be removed: {}.", things(n), space::shown(size)),
        (n, false) => format!("{} removed: {}.", things(n), space::shown(size)),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlannedMd;
    use crate::managed::fixture::{Lab, md};

    const AGE: Duration = Duration::from_secs(180 * 86_400);

    fn configuration(names: &[&str]) -> Configuration {
        let planned = |name: &&str| PlannedMd { md: md(&[name]), ..PlannedMd::default() };
        Configuration { mds: names.iter().map(planned).collect(), ..Configuration::default() }
    }

    /// What can go, older than these days, with this configuration.
    fn found(store: &StartStore, configured: Option<&[&str]>, days: u32) -> Vec<String> {
        let configuration = configured.map(configuration);
        let survey = store.survey(None).unwrap();
        let now = crate::time::SystemClock::default();
        let now = crate::time::Clock::now(&now).plus(DAY * days);
        let items = surplus_of(store, configuration.as_ref(), &survey, now, AGE).unwrap();
        let mut paths: Vec<_> = items.into_iter().map(|item| item.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn of_old_sets_the_last_two_of_a_configured_domain_stay_and_those_on_trial() {
        let lab = Lab::new();
        for name in ["a.test", "gone.test"] {
            for number in [1, 2, 9, 10, 11] {
                lab.store.write(Group::Archive, &format!("{name}.{number}"), "md.json", b"{}").unwrap();
            }
        }
        lab.store.write_note(Note::Trial, &json!({"a.test": {"archived": "a.test.2"}})).unwrap();
        let of_a = ["archive/a.test.1", "archive/a.test.9"];
        let of_gone = [1, 10, 11, 2, 9].map(|number| format!("archive/gone.test.{number}"));
        assert_eq!(found(&lab.store, Some(&["a.test"]), 179), [""; 0]);
        assert_eq!(
            found(&lab.store, Some(&["a.test"]), 181),
            [&of_a.map(String::from)[..], &of_gone].concat()
        );
        let unknown =
            [&of_a[..], &["archive/gone.test.1", "archive/gone.test.2", "archive/gone.test.9"]].concat();
        assert_eq!(found(&lab.store, None, 181), unknown, "all may be configured");
    }

    #[test]
    fn domains_of_no_configuration_go_and_those_that_lend_their_certificates_stay() {
        let lab = Lab::new();
        for name in ["a.test", "gone.test", "lender.test"] {
            lab.install(&md(&[name]));
        }
        lab.store.write(Group::Staging, "begun.test", "job.json", b"{}").unwrap();
        lab.store.write(Group::Ocsp, "gone.test", "job.json", b"{}").unwrap();
        lab.store.write(Group::Ocsp, "other", "job.json", b"{}").unwrap();
        let configured = ["a.test", "*.lender.test", "lender.test"];
        assert_eq!(found(&lab.store, Some(&configured), 179), [""; 0]);
        let expected = ["domains/gone.test, ocsp/gone.test", "staging/begun.test"];
        assert_eq!(found(&lab.store, Some(&configured), 181), expected);
        let heir = ["a.test", "www.lender.test"];
        assert!(!found(&lab.store, Some(&heir), 181).contains(&"domains/a.test".to_string()));
        assert_eq!(found(&lab.store, None, 181), [""; 0]);
    }

    #[test]
    fn leftovers_of_a_day_go() {
        let lab = Lab::new();
        lab.install(&md(&["a.test"]));
        for (group, name, file) in [
            (Group::Tmp, "a.test", "md.json"),
            (Group::Tmp, "c-module.test", "job.json"),
            (Group::Tmp, "interrupted.test", "md.json"),
            (Group::Challenges, "a.test", "acme-http-01.txt"),
            (Group::Challenges, "gone.test", "acme-http-01.txt"),
            (Group::Challenges, "record.test", "acme-dns-01.json"),
        ] {
            lab.store.write(group, name, file, b"{}").unwrap();
        }
        std::fs::write(lab.root().join("domains/a.test/.md.json.1.2"), "x").unwrap();
        std::fs::create_dir(lab.root().join("requests")).ok();
        std::fs::write(lab.root().join("requests/a.test.json"), "{}").unwrap();
        assert_eq!(found(&lab.store, Some(&["a.test"]), 0), [""; 0]);
        let always =
            ["domains/a.test/.md.json.1.2", "requests/a.test.json", "tmp/a.test", "tmp/c-module.test"];
        assert_eq!(found(&lab.store, None, 2), always);
        let all = [&["challenges/gone.test"], &always[..]].concat();
        assert_eq!(found(&lab.store, Some(&["a.test"]), 2), all);
    }
}
