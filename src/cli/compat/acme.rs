// SPDX-License-Identifier: Apache-2.0
//! `a2md acme newreg|agree|validate|delreg`: accounts at the CA of `-a`.

use super::{NOT_FOUND, arguments, checks, command, failed, missing, of_store, open_to_change, perform};
use crate::acme::{self, Server, Session};
use crate::cli::console::call::{Call, Failure, Outcome, SubCommand};
use crate::cli::engine;
use crate::cli::site::accounts::keys;
use crate::model::Md;
use crate::model::key_spec::ACCOUNT_KEY_DEFAULT;
use crate::model::outcome::status;
use crate::renew::attempt::account;
use crate::startup::accounts::Accounts;
use crate::store::{Group, StartStore};
use crate::time::StopFlag;
use clap::{ArgMatches, Command};
use serde_json::Value;
use std::sync::Arc;

const SUB_COMMANDS: [SubCommand; 4] = [
    SubCommand {
        define: || command("newreg", "Register a new account with these contacts"),
        run: |call, matches| perform(call, |call, _| register(call, &arguments(matches))),
    },
    SubCommand {
        define: || command("agree", "Agree to the CA's terms of service with these accounts"),
        run: |call, matches| perform(call, |call, _| agree(call, &arguments(matches))),
    },
    SubCommand {
        define: || command("validate", "Ask the CA whether these accounts are valid"),
        run: |call, matches| perform(call, |call, _| validate(call, &arguments(matches))),
    },
    SubCommand {
        define: || command("delreg", "Remove these accounts from the store, without asking the CA"),
        run: |call, matches| perform(call, |call, _| remove(call, &arguments(matches))),
    },
];

pub fn define() -> Command {
    Command::new("acme")
        .about("Register, agree, validate and remove accounts at a CA")
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .subcommands(SUB_COMMANDS.iter().map(|entry| (entry.define)()))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let Some((name, own)) = matches.subcommand() else {
        return Err(Failure::new("sub command is missing"));
    };
    match SUB_COMMANDS.iter().find(|entry| (entry.define)().get_name() == name) {
        Some(entry) => (entry.run)(call, own),
        None => Err(Failure::new(format!("unknown cmd: {name}")).status(status::INVALID)),
    }
}

fn register(call: &mut Call, contacts: &[String]) -> Result<(), Failure> {
    let store = open_to_change(call, "newreg")?;
    let directory = directory(call)?;
    if contacts.is_empty() {
        let text = "newreg needs at least one contact email as argument";
        return Err(missing(call, text, status::GENERAL));
    }
    let contacts: Vec<String> = contacts.iter().map(|text| checks::contact(text)).collect();
    let registered = check(&contacts).and_then(|()| register_at(call, &store, &directory, contacts));
    match registered {
        Ok(folder) => {
            call.say(&format!("registered: {folder}"));
            Ok(())
        }
        Err(Failure { text, status, .. }) => {
            crate::log!(Error, status = status, "{text}");
            crate::log!(Error, status = status, "register new account");
            Err(failed(status))
        }
    }
}

fn check(contacts: &[String]) -> Result<(), Failure> {
    let wrong = contacts.iter().find_map(|uri| Some((uri, checks::contact_fault(uri)?)));
    wrong.map_or(Ok(()), |(uri, fault)| {
        Err(Failure::new(format!("invalid contact uri ({fault}): {uri}")).status(status::INVALID))
    })
}

fn register_at(
    call: &Call,
    store: &StartStore,
    directory: &str,
    contacts: Vec<String>,
) -> Result<String, Failure> {
    let server = server(call, directory)?;
    let md = Md { contacts, ..Md::default() };
    let key =
        server.limit().generate(&ACCOUNT_KEY_DEFAULT, || false).map_err(|error| of_acme(&error.into()))?;
    let key = key.ok_or_else(|| failed(status::GENERAL))?;
    let registered = server.register(&key, &md.contacts, call.options.terms.as_deref(), None);
    let registration = registered.map_err(|error| match &error {
        acme::Error::AgreementRequired { terms } => {
            let text = format!(
                "the account did not agree to the terms of service of the CA: read {terms} and call again with -t \
                 accepted before the command, if you agree"
            );
            Failure::new(text).status(error.apr_status())
        }
        error => of_acme(error),
    })?;
    let json = account::account_json(directory, &md, &registration);
    let mut accounts = Accounts::read(store).map_err(|error| of_store(&error))?;
    let saved = accounts.save(store, directory, &json, &key).map_err(|error| of_store(&error))?;
    saved.ok_or_else(|| {
        let text =
            format!("the store has no number left for one more account: {} is not kept", registration.url);
        Failure::new(text)
    })
}

fn agree(call: &mut Call, ids: &[String]) -> Result<(), Failure> {
    let store = open_to_change(call, "agree")?;
    let directory = directory(call)?;
    for id in ids_of(call, "agree", ids)? {
        let session = session(call, &store, &directory, id)?;
        let contacts = contacts_of(&store, id)?;
        session.agree(&contacts).map_err(|error| of_acme(&error))?;
        let offered = || session.server().directory().terms_of_service.clone();
        let named = call.options.terms.clone().filter(|terms| terms != "accepted");
        let terms = named.or_else(offered).unwrap_or_else(|| "accepted".into());
        call.say(&format!("agreed terms-of-service: {terms}"));
    }
    Ok(())
}

fn validate(call: &mut Call, ids: &[String]) -> Result<(), Failure> {
    let store = open_to_change(call, "validate")?;
    let directory = directory(call)?;
    for id in ids_of(call, "validate", ids)? {
        let session = session(call, &store, &directory, id)?;
        let registration = session.account().map_err(|error| of_acme(&error))?;
        if registration.status != "valid" {
            let text = format!("account {id} is {} at the CA", registration.status);
            return Err(Failure::new(text).status(status::INVALID));
        }
        call.say(&format!("account valid: {id}"));
    }
    Ok(())
}

fn remove(call: &mut Call, ids: &[String]) -> Result<(), Failure> {
    let store = open_to_change(call, "delreg")?;
    for id in ids_of(call, "delreg", ids)? {
        // What can be no account's name is none that is known.
        if store.exists(Group::Accounts, id).unwrap_or(false) {
            store.purge(Group::Accounts, id).map_err(|error| of_store(&error))?;
        }
    }
    Ok(())
}

fn ids_of<'a>(call: &mut Call, command: &str, ids: &'a [String]) -> Result<&'a [String], Failure> {
    if ids.is_empty() {
        return Err(missing(call, &format!("{command} needs at least one account id"), status::GENERAL));
    }
    Ok(ids)
}

/// The directory of `-a`.
fn directory(call: &Call) -> Result<String, Failure> {
    let Some(url) = call.options.acme.clone() else {
        let text = "error creating acme instance: which CA? Name its directory with -a before the command";
        return Err(Failure::new(text).status(status::INVALID));
    };
    match checks::url("acme", &url) {
        Ok(()) => Ok(url),
        Err(text) => {
            Err(Failure::new(format!("error creating acme instance: {text}")).status(status::INVALID))
        }
    }
}

fn server(call: &Call, directory: &str) -> Result<Arc<Server>, Failure> {
    let transport = engine::connect(&engine::route(&call.options), &StopFlag::default());
    let transport = transport.map_err(|error| Failure::new(error.to_string()).status(error.status()))?;
    let server = Server::connect(directory, transport, call.clock.clone());
    server.map(Arc::new).map_err(|error| of_acme(&error))
}

fn session(call: &Call, store: &StartStore, directory: &str, id: &str) -> Result<Session, Failure> {
    let account = known(store, id)?;
    let Some((url, key)) = account else {
        crate::log!(Error, status = NOT_FOUND, "unknown account: {id}");
        return Err(failed(NOT_FOUND));
    };
    let server = server(call, directory)?;
    if keys::waiting(store, id).ok().flatten().is_none() {
        return Ok(Session::new(server, key, url));
    }
    match keys::open(store, id, &url, &server) {
        Ok(opened) => Ok(opened.session),
        Err(keys::Error::Refused(error) | keys::Error::Unknown(error) | keys::Error::Open(error)) => {
            Err(of_acme(&error))
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// The URL and the key of a stored account.
fn known(store: &StartStore, id: &str) -> Result<Option<(String, crate::crypto::PrivateKey)>, Failure> {
    if !store.exists(Group::Accounts, id).unwrap_or(false) {
        return Ok(None);
    }
    let json = store.read_json(Group::Accounts, id, "account.json").map_err(|error| of_store(&error))?;
    let key = store.read_key(Group::Accounts, id, "account.pem").map_err(|error| of_store(&error))?;
    let url = json.as_ref().and_then(|json| json.get("url")).and_then(Value::as_str).map(String::from);
    Ok(url.zip(key))
}

fn contacts_of(store: &StartStore, id: &str) -> Result<Vec<String>, Failure> {
    let json = store.read_json(Group::Accounts, id, "account.json").map_err(|error| of_store(&error))?;
    let contacts = json.as_ref().and_then(|json| json.get("contact")).and_then(Value::as_array);
    Ok(contacts.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect())
}

fn of_acme(error: &acme::Error) -> Failure {
    Failure::new(error.to_string()).status(error.apr_status())
}
