// SPDX-License-Identifier: Apache-2.0
//! `a2md import CLIENT [DIR]`: takes over keys, chains and accounts of another ACME client, without an order.
//! Changes nothing in the tree it reads. Imports run from here to the readers of trees ([`certbot`],
//! [`acme_sh`], [`lego`], [`files`]), to [`plan`], [`carry`], [`hindrance`] and [`report`], and from all of them
//! to [`found`].

mod acme_sh;
mod carry;
mod certbot;
mod files;
mod found;
mod hindrance;
mod lego;
mod plan;
mod report;

use super::console::call::{Call, Failure, Outcome};
use super::follow_up::{self, Asked};
use super::site::lock::lock;
use super::site::{Site, of_store};
use crate::crypto::Certificate;
use crate::managed::{Managed, published, withdrawn};
use crate::model::request::Op;
use crate::store::outside::Tree;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use found::Found;
use hindrance::Client;
use plan::{Plan, View};
use report::Report;
use std::path::{Path, PathBuf};

pub fn define() -> Command {
    let flag =
        |id: &'static str, help: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    Command::new("import")
        .about("Take over certificates, keys and accounts of another ACME client, without an order")
        .arg(
            Arg::new("client")
                .value_name("CLIENT")
                .required(true)
                .value_parser(PossibleValuesParser::new(Client::ALL.map(|(token, _)| token)))
                .help("The other client; `files` for any folder with PEM files"),
        )
        .arg(
            Arg::new("tree")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Its folder [default: where the client has it]"),
        )
        .arg(flag("dry-run", "Say what would be done, and do nothing"))
        .arg(flag("new-key", "Take over names and accounts alone: the renewal makes new keys"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let named = matches.get_one::<String>("client");
    let client = Client::ALL.iter().find(|(token, _)| Some(*token) == named.map(String::as_str));
    let client = client.map(|(_, client)| *client).ok_or_else(|| Failure::new("which client?"))?;
    let (is_dry, is_new_key) = (matches.get_flag("dry-run"), matches.get_flag("new-key"));
    let tree = open_tree(client, matches.get_one::<PathBuf>("tree").cloned())?;
    let site = if is_dry { Site::open_or_imagine(call)? } else { Site::open_or_make(call)? };
    let locked = if is_dry { None } else { lock(&site)? };
    let mds = site.mds()?;
    call.step(&format!("reading {}", tree.path().display()));
    let found = read(client, &tree, &mds);
    if found.sets.is_empty() && found.accounts.is_empty() {
        return Err(Failure::new(format!(
            "there is neither a certificate nor an account of {} in {}",
            client.token(),
            tree.path().display()
        ))
        .advice("Name the folder that the client uses."));
    }
    let now = call.clock.now();
    let mut plan = plan(&site, &found, &mds, now);
    if is_new_key {
        plan.leave_keys(&mds);
    }
    let carried = carry::accounts(&site.store, &found.accounts, &mds, is_dry);
    let carried = carried.map_err(|error| of_store(&site.dir, &error))?;
    let mut failed = Vec::new();
    if !is_dry {
        let why = format!("Imported from {} in {}.", client.token(), tree.path().display());
        failed = carry::sets(&site.store, &found, &plan, &mds, &carried, &why, now);
    }
    drop(locked);
    let hindrances = hindrance::find(client, tree.path(), &site, &found.exposed);
    let asked = follow_up(call, &site, &plan, &mds, &failed, is_dry);
    let report = Report {
        asked: &asked,
        client,
        tree: tree.path(),
        found: &found,
        plan: &plan,
        mds: &mds,
        carried: &carried,
        failed: &failed,
        hindrances: &hindrances,
        is_dry,
    };
    report.print(call)?;
    Ok(u8::from(!failed.is_empty()))
}

/// Asks the running httpd to look at the domains that have got a set, as it would later by itself.
fn follow_up(
    call: &mut Call,
    site: &Site,
    plan: &Plan,
    mds: &[Managed],
    failed: &[(String, String)],
    is_dry: bool,
) -> Vec<(String, Asked)> {
    let mut asked = Vec::new();
    for take in plan.takes.iter().filter(|_| !is_dry) {
        let Some(name) = mds.get(take.md).map(|managed| managed.md.name.clone()) else { continue };
        if failed.iter().all(|(other, _)| *other != name) {
            let outcome = follow_up::ask(call, site, &name, Op::Look);
            let has_failed = outcome.has_failed;
            asked.push((name, outcome));
            // Where it gives no answer, waiting for each of many takes long: it looks by itself.
            if has_failed {
                break;
            }
        }
    }
    asked
}

fn open_tree(client: Client, named: Option<PathBuf>) -> Result<Tree, Failure> {
    let is_folder = |path: &PathBuf| Tree::open(path).is_ok();
    let path = named.or_else(|| defaults(client).into_iter().find(is_folder)).ok_or_else(|| {
        Failure::new(format!("no folder of {} is known", client.token()))
            .advice(format!("Name it: a2md import {} DIR", client.token()))
    })?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Tree::open(&path).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error.os_error() {
            Some(13) => failure.advice("Call a2md as root, or as the user whose folder that is."),
            _ => failure.advice(format!("Name the folder of {}.", client.token())),
        }
    })
}

/// Where clients have their trees.
fn defaults(client: Client) -> Vec<PathBuf> {
    let at_home = |folder: &str| std::env::var_os("HOME").map(|home| Path::new(&home).join(folder));
    let (own, others): (Option<PathBuf>, &[&str]) = match client {
        Client::Certbot => (None, &["/etc/letsencrypt"]),
        Client::AcmeSh => (at_home(".acme.sh"), &["/root/.acme.sh", "/etc/acme.sh"]),
        Client::Lego => (at_home(".lego"), &[".lego"]),
        Client::Files => (None, &[]),
    };
    own.into_iter().chain(others.iter().map(PathBuf::from)).collect()
}

fn read(client: Client, tree: &Tree, mds: &[Managed]) -> Found {
    let cas: Vec<String> = mds.iter().flat_map(|managed| managed.md.ca.urls.iter().cloned()).collect();
    match client {
        Client::Certbot => certbot::read(tree),
        Client::AcmeSh => acme_sh::read(tree, &cas),
        Client::Lego => lego::read(tree, &cas),
        Client::Files => files::read(tree),
    }
}

fn plan(site: &Site, found: &Found, mds: &[Managed], now: crate::time::Timestamp) -> Plan {
    let work = site.store.worker();
    let staged = |name: &str| {
        let job = crate::managed::staging::Staging::new(&work, name).job().ok().flatten();
        job.filter(|job| job.finished).and_then(|_| published::staged_certs(&work, name))
    };
    let is_withdrawn = |name: &str, leaf: &Certificate| {
        withdrawn::read_with_fleet(&site.store, name, now).entry(leaf).is_some()
    };
    plan::make(&found.sets, mds, View { staged: &staged, is_withdrawn: &is_withdrawn }, now)
}
