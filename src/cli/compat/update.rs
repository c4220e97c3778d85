// SPDX-License-Identifier: Apache-2.0
//! `a2md update NAME ASPECT VALUE…`: changes one setting of a managed domain, checked.

use super::amend::amend;
use super::{NOT_IMPLEMENTED, checks, document, failed, missing, stored};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::StartStore;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    super::command("update", "Change the names, CA, account, terms or contacts of a managed domain")
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let change =
        |call: &mut Call, store: &StartStore, md: &mut Value, rest: &[String]| match rest.split_first() {
            Some((aspect, values)) => change(call, store, md, aspect, values),
            None => change_by_options(call, md),
        };
    amend(call, matches, change, |call, store, md| {
        let shown = document::computed(store, document::name(md), md, call.clock.now());
        md["state"] = shown["state"].clone();
        shown
    })
}

fn change(
    call: &mut Call,
    store: &StartStore,
    md: &mut Value,
    aspect: &str,
    values: &[String],
) -> Result<(), Failure> {
    match aspect {
        "domains" => domains(call, store, md, values),
        "ca" => ca(call, md, values),
        "account" => {
            document::set_ca(md, "account", values.first().map(|id| json!(id)));
            Ok(())
        }
        "agreement" => agreement(md, values.first()),
        "contacts" => contacts(call, md, values),
        _ => {
            let text = format!("unknown update aspect: {aspect}");
            crate::log!(Error, status = NOT_IMPLEMENTED, "{text}");
            Err(failed(NOT_IMPLEMENTED))
        }
    }
}

/// What stands before the command's name changes the CA and the agreement.
fn change_by_options(call: &Call, md: &mut Value) -> Result<(), Failure> {
    if let Some(url) = &call.options.acme {
        checks::url(document::name(md), url).map_err(invalid)?;
        document::set_ca(md, "urls", Some(json!([url])));
    }
    match &call.options.terms {
        Some(terms) => agreement(md, Some(terms)),
        None => Ok(()),
    }
}

fn domains(call: &mut Call, store: &StartStore, md: &mut Value, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        let text = "update domains needs at least 1 domain name as parameter";
        return Err(missing(call, text, status::GENERAL));
    }
    let (name, names) = (document::name(md).to_string(), checks::folded(names));
    checks::names(&name, &names)
        .and_then(|()| checks::overlap(&name, &names, &stored::all(store).unwrap_or_default()))
        .map_err(invalid)?;
    md["domains"] = json!(names);
    Ok(())
}

fn ca(call: &mut Call, md: &mut Value, values: &[String]) -> Result<(), Failure> {
    let Some(url) = values.first() else {
        return Err(missing(call, "update ca needs at least 1 url as parameter", status::GENERAL));
    };
    checks::url(document::name(md), url).map_err(invalid)?;
    document::set_ca(md, "urls", Some(json!([url])));
    if let Some(proto) = values.get(1) {
        document::set_ca(md, "proto", Some(json!(proto)));
    }
    Ok(())
}

fn agreement(md: &mut Value, agreement: Option<&String>) -> Result<(), Failure> {
    if let Some(url) = agreement.filter(|text| *text != "accepted") {
        checks::url(document::name(md), url).map_err(invalid)?;
    }
    document::set_ca(md, "agreement", agreement.map(|text| json!(text)));
    Ok(())
}

fn contacts(call: &mut Call, md: &mut Value, contacts: &[String]) -> Result<(), Failure> {
    if contacts.is_empty() {
        let text = "update contacts needs at least 1 contact email";
        return Err(missing(call, text, status::GENERAL));
    }
    let contacts: Vec<String> = contacts.iter().map(|text| checks::contact(text)).collect();
    let name = document::name(md);
    for contact in &contacts {
        if let Some(fault) = checks::contact_fault(contact) {
            return Err(invalid(format!("contact for {name} invalid ({fault}): {contact}")));
        }
    }
    md["contacts"] = json!(contacts);
    Ok(())
}

fn invalid(text: String) -> Failure {
    Failure::new(text).status(status::INVALID)
}
