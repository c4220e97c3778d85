// SPDX-License-Identifier: Apache-2.0
//! `a2md account`: the accounts at CAs. Shows them, here; changes their contacts and keys and ends them in
//! [`change`].

mod change;

use super::authority::connect;
use super::console::call::{Call, Failure, Options, Outcome};
use super::console::terminal::Style;
use super::site::Site;
use super::site::accounts::keys;
use super::site::accounts::keys::kind_of;
use super::site::accounts::known;
use super::site::accounts::known::{Known, Place, argument, user};
use crate::managed::Managed;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    let id = || Arg::new("id").value_name("ID").required(true).help("Folder, or URL or host of its CA");
    let command = Command::new("account")
        .about("Show and change accounts at CAs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List the accounts of the store"))
        .subcommand(Command::new("show").about("Show an account, and ask the CA about it").arg(id()))
        .subcommand(
            Command::new("contacts")
                .about("Replace the contacts of an account, at the CA and here")
                .arg(id())
                .arg(Arg::new("email").value_name("EMAIL").required(true).num_args(1..)),
        )
        .subcommand(
            Command::new("rollover").about("Give an account another key (RFC 8555, 7.3.5)").arg(id()).arg(
                Arg::new("type")
                    .long("type")
                    .value_name("TYPE")
                    .help("RSA-3072, RSA-4096, P-256, P-384 … [default: as the present one]"),
            ),
        )
        .subcommand(
            Command::new("deactivate")
                .about("End an account for good, at the CA and here")
                .arg(id())
                .arg(crate::cli::console::confirm::option()),
        );
    command.mut_subcommands(|command| command.args(Options::common()))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let Some((name, own)) = matches.subcommand() else { return Err(Failure::new("sub command is missing")) };
    call.options.add(own);
    let site = Site::open(call)?;
    match name {
        "list" => list(call, &site),
        "show" => show(call, &site, own),
        "contacts" => change::contacts(call, &site, own),
        "rollover" => change::rollover(call, &site, own),
        _ => change::deactivate(call, &site, own),
    }
}

/// What is known of an account without asking its CA.
fn document(known: &Known, all: &[Known], mds: &[Managed]) -> Value {
    let (place, md) = match &known.place {
        Place::Stored(_) => ("accounts", None),
        Place::Staged(name, _) => ("staging", Some(name)),
    };
    json!({
        "id": known.id(),
        "ca": known.ca_url,
        "url": known.url,
        "status": known.status,
        "contacts": known.contacts,
        "place": place,
        "waits-in": md,
        "eab-kid": known.eab_kid,
        "domains": known.users(all, mds),
        "rollover-interrupted": known.is_interrupted,
    })
}

fn list(call: &mut Call, site: &Site) -> Outcome {
    let (all, mds) = (known::all(site)?, site.mds()?);
    if call.options.json {
        let accounts: Vec<Value> = all.iter().map(|known| document(known, &all, &mds)).collect();
        call.print_document(&json!({"schema": 1, "accounts": accounts}))?;
        return Ok(0);
    }
    if all.is_empty() {
        call.say("The store has no account at any CA.");
        return Ok(0);
    }
    let row = |known: &Known| {
        let style = if known.status == "valid" { Style::Good } else { Style::Bad };
        let users = known.users(&all, &mds);
        vec![
            (known.id(), Style::Plain),
            (known.status.clone(), style),
            (users.len().to_string(), Style::Plain),
            (known.contacts.join(" "), Style::Plain),
            (known.url.clone(), Style::Plain),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let table = call.terminal.table(&["account", "status", "domains", "contacts", "URL (for CAA)"], &rows);
    call.write_as_it_is(table.as_bytes())?;
    for known in &all {
        note(call, known);
    }
    Ok(0)
}

/// What else there is to say of an account.
fn note(call: &mut Call, known: &Known) {
    if let Place::Staged(..) = known.place {
        call.say(&format!("{} waits in staging: the next start of httpd moves it to accounts/.", known.id()));
    }
    if known.is_interrupted {
        call.say(&format!(
            "{} was being given another key when that ended: call a2md account rollover again.",
            known.id()
        ));
    }
}

fn show(call: &mut Call, site: &Site, matches: &ArgMatches) -> Outcome {
    let (all, mds) = (known::all(site)?, site.mds()?);
    let known = known::find(&all, argument(matches, "id"))?;
    let server = connect(call, &known.ca_url, user(known, &all, &mds))?;
    let found = match &known.place {
        Place::Stored(folder) => keys::open(&site.store, folder, &known.url, &server)
            .map(|opened| (opened.registration, opened.session.key().clone())),
        Place::Staged(name, slot) => keys::open_staged(&site.store, name, *slot, &known.url, &server)
            .map(|(registration, session)| (registration, session.key().clone())),
    };
    let mut document = document(known, &all, &mds);
    let (at_ca, contacts, code) = match &found {
        Ok((registration, key)) => {
            document["key"] = json!(kind_of(key));
            let contacts = registration.object.get("contact").cloned().unwrap_or_else(|| json!([]));
            (registration.status.clone(), contacts, u8::from(registration.status != "valid"))
        }
        Err(error @ keys::Error::Unknown(_)) => {
            document["error"] = json!(error.to_string());
            ("refused".to_string(), json!([]), 1)
        }
        Err(error) => return Err(keys::failure(site, &known.ca_url, error)),
    };
    document["status-at-ca"] = json!(at_ca);
    document["contacts-at-ca"] = contacts;
    document["caa"] = json!(format!("accounturi={}", known.url));
    if call.options.json {
        document["schema"] = json!(1);
        call.print_document(&document)?;
        return Ok(code);
    }
    say(call, &document);
    note(call, known);
    Ok(code)
}

fn say(call: &mut Call, document: &Value) {
    let text = |key: &str| match document.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    for (title, key) in [
        ("At the CA", "status-at-ca"),
        ("Why", "error"),
        ("Account", "id"),
        ("CA", "ca"),
        ("URL", "url"),
        ("Parameter in CAA", "caa"),
        ("Status here", "status"),
        ("Key", "key"),
        ("Contacts here", "contacts"),
        ("Contacts at the CA", "contacts-at-ca"),
        ("Bound to (EAB)", "eab-kid"),
        ("Domains", "domains"),
    ] {
        let text = text(key);
        if !text.is_empty() {
            call.say(&format!("{title:19} {text}"));
        }
    }
}
