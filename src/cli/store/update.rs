// SPDX-License-Identifier: Apache-2.0
//! `a2md store update NAME [domains NAME…]`: changes a managed domain, unchecked.

use crate::cli::call::{Call, Failure, Outcome};
use crate::cli::compat::{
    NOT_IMPLEMENTED, arguments, checks, command, document, failed, missing, open_to_change, perform, stored,
};
use crate::model::outcome::status;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    command("update", "Change the CA (-a before 'store') or the domains of a managed domain, unchecked")
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    perform(call, |call, output| update(call, &arguments(matches), output))
}

fn update(call: &mut Call, arguments: &[String], output: &mut Vec<Value>) -> Result<(), Failure> {
    let store = open_to_change(call, "update")?;
    let Some((name, rest)) = arguments.split_first() else {
        return Err(missing(call, "needs md name", status::GENERAL));
    };
    let before = stored::find(&store, name)?;
    let mut md = before.clone();
    if let Some(url) = &call.options.acme {
        document::set_ca(&mut md, "urls", Some(json!([url])));
    }
    match rest.split_first() {
        None => {}
        Some((aspect, [])) if aspect == "domains" => {
            let text = "update domains needs at least 1 domain name as parameter";
            return Err(missing(call, text, status::GENERAL));
        }
        Some((aspect, names)) if aspect == "domains" => md["domains"] = json!(checks::folded(names)),
        Some((aspect, _)) => {
            crate::log!(Error, status = NOT_IMPLEMENTED, "unknown update aspect: {aspect}");
            return Err(failed(NOT_IMPLEMENTED));
        }
    }
    if md == before {
        crate::log!(Info, "no changes necessary");
    } else {
        stored::write(&store, &md)?;
    }
    output.push(document::shown(&md));
    Ok(())
}
