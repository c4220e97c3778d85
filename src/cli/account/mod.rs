// SPDX-License-Identifier: Apache-2.0
//! `a2md account`: the accounts at CAs. Shows them, here; changes their contacts and keys and ends them in
//! [`change`].

mod change;

use super::authority::connect;
use super::console::call::{Call, Failure, Options, Outcome};
use super::console::terminal::Style;
use super::site::Site;
use super::site::accounts::keys;
use super::site::accounts::keys::{Kinds, kind_of, spelled};
use super::site::accounts::known;
use super::site::accounts::known::{Known, Place, argument, user};
use crate::managed::Managed;
use clap::{Arg, ArgAction, ArgMatches, Command};
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
            Command::new("rollover")
                .about("Give an account another key (RFC 8555, 7.3.5)")
                .arg(id())
                .arg(
                    Arg::new("type")
                        .long("type")
                        .value_name("TYPE")
                        .help("RSA (3072 bits), RSA-2048 to RSA-8192, P-256, P-384 or P-521 [default: as the present one]"),
                )
                .arg(
                    Arg::new("at-renewal")
                        .long("at-renewal")
                        .action(ArgAction::SetTrue)
                        .help("Leave the key for the next renewal, which has the CA take it"),
                )
                .arg(
                    Arg::new("cancel")
                        .long("cancel")
                        .action(ArgAction::SetTrue)
                        .conflicts_with_all(["at-renewal", "type"])
                        .help("Take back a key that waits for a renewal"),
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
fn document(known: &Known, kinds: &Kinds, all: &[Known], mds: &[Managed]) -> Value {
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
        "key": kinds.key.as_ref().map(spelled),
        "next-key": kinds.next.as_ref().map(spelled),
        "next-key-taken": kinds.is_taken,
    })
}

fn list(call: &mut Call, site: &Site) -> Outcome {
    let (all, mds) = (known::all(site)?, site.mds()?);
    if call.options.json {
        let of = |known: &Known| document(known, &Kinds::read(site, known), &all, &mds);
        let accounts: Vec<Value> = all.iter().map(of).collect();
        call.print_document(&json!({"schema": 1, "accounts": accounts}))?;
        return Ok(0);
    }
    if all.is_empty() {
        call.say("The store has no account at any CA.");
        return Ok(0);
    }
    let kinds: Vec<Kinds> = all.iter().map(|known| Kinds::read(site, known)).collect();
    let row = |(known, kinds): (&Known, &Kinds)| {
        let style = if known.status == "valid" { Style::Good } else { Style::Bad };
        let users = known.users(&all, &mds);
        vec![
            (known.id(), Style::Plain),
            (known.status.clone(), style),
            (users.len().to_string(), Style::Plain),
            (kinds.words(), Style::Plain),
            (known.contacts.join(" "), Style::Plain),
            (known.url.clone(), Style::Plain),
        ]
    };
    let rows: Vec<_> = all.iter().zip(&kinds).map(row).collect();
    let table =
        call.terminal.table(&["account", "status", "domains", "key", "contacts", "URL (for CAA)"], &rows);
    call.write_as_it_is(table.as_bytes())?;
    for (known, kinds) in all.iter().zip(&kinds) {
        note(call, known, kinds);
        note_wish(call, known, kinds, &all, &mds);
    }
    Ok(0)
}

/// What else there is to say of an account.
fn note(call: &mut Call, known: &Known, kinds: &Kinds) {
    let id = known.id();
    if let Place::Staged(..) = known.place {
        call.say(&format!("{id} waits in staging: the next start of httpd moves it to accounts/."));
    }
    let next = kinds.next.as_ref().map(spelled).unwrap_or_default();
    match () {
        () if !known.has_next => {}
        () if kinds.is_taken => call.say(&format!(
            "A renewal has given {id} its new key ({next}): the next start of httpd puts it in its place."
        )),
        () => call.say(&format!(
            "A key ({next}) waits for {id}: the next renewal has the CA take it. To do it now: a2md account rollover \
             {id}. To keep the present key: a2md account rollover {id} --cancel."
        )),
    }
}

/// `MDAccountKey` is for new accounts: an admin may expect it of one that is there.
fn note_wish(call: &mut Call, known: &Known, kinds: &Kinds, all: &[Known], mds: &[Managed]) {
    let users = known.users(all, mds);
    let users = || mds.iter().filter(|managed| users.contains(&managed.md.name));
    let mut wishes = users().filter_map(|managed| managed.md.ca.account_key.as_ref());
    let coming = kinds.next.as_ref().or(kinds.key.as_ref());
    let (Some(wish), Some(coming)) = (wishes.next(), coming) else { return };
    // Where domains want different ones there is nothing to recommend.
    if wish.is_as(coming) || !wishes.all(|other| other.is_as(wish)) {
        return;
    }
    let (id, wish) = (known.id(), spelled(wish));
    let has = if kinds.next.is_some() { "is to have" } else { "has" };
    call.say(&format!(
        "{id} {has} a key of {}, and MDAccountKey, which is for new accounts, says {wish}: a2md account rollover {id} \
         --type {wish} gives it such a key, with --at-renewal at the next renewal.",
        spelled(coming)
    ));
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
    let kinds = Kinds::read(site, known);
    let mut document = document(known, &kinds, &all, &mds);
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
    note(call, known, &kinds);
    note_wish(call, known, &kinds, &all, &mds);
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
        ("Key that waits", "next-key"),
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
