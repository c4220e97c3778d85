// SPDX-License-Identifier: Apache-2.0
//! `a2md store update NAME [domains NAME…]`: changes a managed domain, unchecked.

use crate::cli::compat::amend::amend;
use crate::cli::compat::{NOT_IMPLEMENTED, checks, command, document, failed, missing};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::model::outcome::status;
use crate::store::StartStore;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

pub fn define() -> Command {
    command("update", "Change the CA (-a before 'store') or the domains of a managed domain, unchecked")
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let change = |call: &mut Call, _: &StartStore, md: &mut Value, rest: &[String]| change(call, md, rest);
    amend(call, matches, change, |_, _, md| document::shown(md))
}

fn change(call: &mut Call, md: &mut Value, rest: &[String]) -> Result<(), Failure> {
    if let Some(url) = &call.options.acme {
        document::set_ca(md, "urls", Some(json!([url])));
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
    Ok(())
}
