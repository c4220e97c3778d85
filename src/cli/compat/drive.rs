// SPDX-License-Identifier: Apache-2.0
//! `a2md drive [-f] [-c TYPE] [-r] [NAME…]`: renews managed domains now, in this process, and brings what is
//! issued into `domains`.

use super::{
    NOT_FOUND, NOT_IMPLEMENTED, arguments, command, failed, of_store, open_to_change, perform, stored,
};
use crate::cli::console::call::{Call, Failure, Outcome};
use crate::cli::engine;
use crate::managed::Managed;
use crate::managed::staging::Staging;
use crate::model::ledger::Cause;
use crate::model::outcome::status;
use crate::model::{Md, State};
use crate::renew::attempt::context::Context;
use crate::renew::decide::due::{self, Decision};
use crate::renew::worker::alone::{self, Ended};
use crate::startup::activate::Activated;
use crate::store::StartStore;
use crate::time::StopFlag;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is said of the options of one call.
struct Drive<'a> {
    store: &'a StartStore,
    stop: StopFlag,
    is_forced: bool,
    is_reset: bool,
    challenge: Option<String>,
}

pub fn define() -> Command {
    let flag = |id: &'static str, short, help: &'static str| {
        Arg::new(id).short(short).long(id).action(ArgAction::SetTrue).overrides_with(id).help(help)
    };
    let challenge = Arg::new("challenge").short('c').long("challenge").value_name("TYPE");
    command("drive", "Renew managed domains that are due, all or these, in this process")
        .arg(flag("force", 'f', "Also where nothing is due"))
        .arg(flag("reset", 'r', "Drop what an earlier attempt has left"))
        .arg(challenge.action(ArgAction::Append).help("The challenge to use"))
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    perform(call, |call, _| {
        let store = open_to_change(call, "drive")?;
        let drive = Drive {
            store: &store,
            stop: engine::stop_on_signals(),
            is_forced: matches.get_flag("force"),
            is_reset: matches.get_flag("reset"),
            challenge: matches.get_many::<String>("challenge").and_then(|mut all| all.next_back().cloned()),
        };
        // An earlier call may have died while it put a set into use.
        engine::recover(&store)?;
        drive.names(call, &arguments(matches))
    })
}

impl Drive<'_> {
    fn names(&self, call: &Call, names: &[String]) -> Result<(), Failure> {
        if names.is_empty() {
            let all = stored::all(self.store)?;
            let mut renewed = all.iter().filter_map(Md::from_json).filter(|md| md.left_alone().is_none());
            return renewed.try_for_each(|md| self.one(call, md));
        }
        for name in names {
            self.one(call, self.find(name)?)?;
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Md, Failure> {
        let json: Value = stored::find(self.store, name)?;
        Md::from_json(&json).ok_or_else(|| {
            crate::log!(Error, status = NOT_FOUND, "{name}: not found");
            failed(NOT_FOUND)
        })
    }

    fn one(&self, call: &Call, mut md: Md) -> Result<(), Failure> {
        let name = md.name.clone();
        let target = engine::managed(self.store, md.clone(), &call.options);
        let Some(cause) = self.cause(&target, call) else { return Ok(()) };
        let ca = self.complete(&mut md, call)?;
        // The child that renews waits meanwhile.
        let _held = engine::hold(self.store, &name, call.clock.now())?;
        let target = Managed { md: md.clone(), ..target };
        let worker = self.store.worker();
        let staging = Staging::new(&worker, &name);
        if self.is_reset {
            staging.reset().map_err(|error| of_store(&error))?;
        }
        let is_there = !self.is_forced && !self.is_reset && staging.is_complete();
        if !is_there {
            let known = self.known_accounts(&name);
            let context = engine::context(self.store, vec![target], &self.stop);
            let outcome = alone::renew(&context, 0, &ca, cause);
            self.known_accounts(&name).difference(&known).for_each(|url| {
                crate::log!(Info, "registered new account {url}");
            });
            outcome.map_err(|ended| self.ended(&context, &name, ended))?;
        }
        self.activate(call, &mut md)
    }

    /// Why the managed domain is renewed; `None`: it is not.
    fn cause(&self, target: &Managed, call: &Call) -> Option<Cause> {
        let md = &target.md;
        let (state, _) = crate::managed::certificates::assess(md, &target.certs);
        let need = due::need(md, &target.certs, None, call.clock.now());
        match need {
            Decision::Now(reason) if state != State::Complete => {
                crate::log!(Info, "md[{}] detail[needs new certificate (is incomplete).]", md.name);
                Some(reason.cause())
            }
            Decision::Now(reason) => {
                crate::log!(Info, "md[{}] detail[needs new certificate ({reason}).]", md.name);
                Some(reason.cause())
            }
            _ if self.is_forced => {
                crate::log!(Info, "md[{}] detail[should renew (forced).]", md.name);
                Some(Cause::Window)
            }
            _ => None,
        }
    }

    /// Adds what the call says to the settings in the store. Returns the CA to ask.
    fn complete(&self, md: &mut Md, call: &Call) -> Result<String, Failure> {
        let fail = |status, text: String| Err(Failure::new(text).status(status));
        if !md.ca.proto.eq_ignore_ascii_case("ACME") {
            return fail(NOT_IMPLEMENTED, format!("md[{}]: Unknown CA protocol: {}", md.name, md.ca.proto));
        }
        if md.ca.urls.is_empty() {
            md.ca.urls = md.ca.url.clone().or_else(|| call.options.acme.clone()).into_iter().collect();
        }
        let Some(ca) = md.ca.urls.first().cloned() else {
            return fail(
                status::INVALID,
                format!("md[{}]: no CA is known for it: name one by a2md update {} ca URL", md.name, md.name),
            );
        };
        if let Some(challenge) = &self.challenge {
            md.ca.challenges = vec![challenge.clone()];
        }
        if md.ca.agreement.is_none() {
            md.ca.agreement.clone_from(&call.options.terms);
        }
        if md.contacts.is_empty() && !self.has_account(&ca) {
            let text = format!(
                "No contact information is available for MD {}. Configure one using the MDContactEmail or ServerAdmin \
                 directive.",
                md.name
            );
            return fail(status::INVALID, text);
        }
        Ok(ca)
    }

    /// Whether there is an account at this CA to order with.
    fn has_account(&self, ca: &str) -> bool {
        let worker = self.store.worker();
        let names = worker.account_names().unwrap_or_default();
        names.iter().filter_map(|name| worker.read_account_json(name).ok().flatten()).any(|account| {
            let text = |key: &str| account.get(key).and_then(Value::as_str);
            text("ca-url") == Some(ca) && text("status").is_none_or(|status| status == "valid")
        })
    }

    /// The URLs of the accounts that wait in staging.
    fn known_accounts(&self, name: &str) -> BTreeSet<String> {
        let worker = self.store.worker();
        let accounts = Staging::new(&worker, name).accounts().into_iter();
        accounts.filter_map(|(_, json, _)| Some(json.get("url")?.as_str()?.to_string())).collect()
    }

    fn activate(&self, call: &Call, md: &mut Md) -> Result<(), Failure> {
        let name = md.name.clone();
        let activated = engine::activate(self.store, md, call.clock.now())?;
        let why = match activated {
            Activated::Done => {
                crate::log!(
                    Info,
                    "md[{name}] while[moving tmp to become new domains] detail[new certificate successfully saved in domains]"
                );
                return Ok(());
            }
            Activated::Waiting(at) => {
                crate::log!(
                    Info,
                    "md[{name}] detail[new certificate waits in staging, it is valid from {} on]",
                    at.to_http_date()
                );
                return Ok(());
            }
            Activated::Refused(why) | Activated::Damaged(why) => why,
            Activated::Outdone => "clients would get less from them than from those in use".into(),
            Activated::Withdrawn => "they were revoked or replaced by an operator".into(),
            Activated::OfOtherNames => "they are for none of the names of the managed domain".into(),
            Activated::Nothing | Activated::Unfinished => "they are not complete in staging".into(),
        };
        Err(Failure::new(format!("md[{name}]: the new certificates are not put into use: {why}")))
    }

    fn ended(&self, context: &Context, name: &str, ended: Ended) -> Failure {
        match ended {
            Ended::Held(limit) => Failure::new(format!(
                "md[{name}]: the CA {} wants no requests until {}, and --force does not override that",
                limit.ca,
                limit.until.to_http_date()
            )),
            Ended::Records(what) => Failure::new(format!("md[{name}]: {what}")),
            Ended::Stopped => {
                // Nobody waits for the answers.
                let _ = alone::clean_up(context, 0);
                Failure::new(format!("md[{name}]: stopped by a signal; the next call goes on from here"))
            }
            Ended::Failed(failure) => {
                if let Some(terms) = failure.terms {
                    let text = format!(
                        "md[{name}]: the CA requires you to accept the terms-of-service as specified in <{terms}>. Read \
                         them, and if you agree call a2md update {name} agreement accepted"
                    );
                    crate::log!(Error, status = failure.status, "{text}");
                }
                failed(failure.status)
            }
        }
    }
}
