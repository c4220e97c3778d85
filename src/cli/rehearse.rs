// SPDX-License-Identifier: Apache-2.0
//! `a2md rehearse NAME…`: a whole order at the CA's directory for tests, through the challenges of the real
//! renewal, whose files in staging it does not touch. Keeps the account there and nothing else; what an
//! interrupted rehearsal has left, the next one removes. Refuses the CA that the domain orders from, and more
//! than one rehearsal of a domain in an hour.

use super::console::call::{Call, Failure, Outcome};
use super::console::terminal::escaped;
use super::engine;
use super::site::lock::lock;
use super::site::{Site, names_or_all};
use super::site::{request, server};
use crate::config::rehearsal_of;
use crate::dns::Name;
use crate::log::{Level, Record};
use crate::managed::Managed;
use crate::managed::serve::Certs;
use crate::model::ledger::Cause;
use crate::model::{Ca, Md};
use crate::names;
use crate::renew::attempt::context::Context;
use crate::renew::worker::alone::{self, Ended};
use crate::startup::accounts::Accounts;
use crate::store::{Group, Note, StartStore};
use crate::time::{StopFlag, Timestamp};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};
use std::io::{Write, stderr};
use std::time::Duration;

/// One rehearsal of a domain in this time.
const PAUSE: Duration = Duration::from_secs(3600);
/// Before the name of a domain: the name of its rehearsal, in staging and in logs.
const PREFIX: &str = "_rehearsal.";
const WILDCARD_PREFIX: &str = "_rehearsal.wildcard.";

pub fn define() -> Command {
    let option = |id: &'static str, short, value: &'static str, help: &'static str| {
        Arg::new(id).short(short).long(id).value_name(value).action(ArgAction::Append).help(help)
    };
    Command::new("rehearse")
        .about("Order at the CA's directory for tests, and keep only the account")
        .args(names_or_all())
        .arg(option("acme", 'a', "URL", "The directory for tests, where the CA has none that is known"))
        .arg(option("terms", 't', "URL|accepted", "Agreement to the terms of service there"))
}

/// How a rehearsal went.
struct Rehearsal {
    name: String,
    /// The directory that was asked.
    ca: Option<String>,
    seconds: u64,
    /// What went wrong.
    failure: Option<Fault>,
}

#[derive(Default)]
struct Fault {
    text: String,
    problem: Option<String>,
    advice: Option<String>,
}

pub fn run(call: &mut Call, matches: &ArgMatches) -> Outcome {
    let site = Site::open(call)?;
    engine::check_holder(&site.store)?;
    let targets = site.select(call, matches)?;
    let stop = engine::stop_on_signals();
    crate::log::install(match call.options.verbosity {
        ..0 => None,
        0 => Some(show_steps),
        1.. => Some(show_all),
    });
    let mut results = Vec::new();
    for target in targets {
        let name = target.md.name.clone();
        let result = rehearse(call, &site, target, &stop).unwrap_or_else(|failure| {
            let fault = Fault { text: failure.text, problem: None, advice: failure.advice };
            Rehearsal { name, ca: None, seconds: 0, failure: Some(fault) }
        });
        report(call, &result);
        let is_stopped = stop.is_raised();
        results.push(result);
        if is_stopped {
            break;
        }
    }
    if call.options.json {
        let rehearsals: Vec<Value> = results.iter().map(Rehearsal::to_json).collect();
        call.print_document(&json!({"schema": 1, "rehearsals": rehearsals}))?;
    }
    Ok(u8::from(results.iter().any(|result| result.failure.is_some())))
}

/// Rehearses one domain. An error: it was not begun, or the store refuses.
fn rehearse(call: &mut Call, site: &Site, target: Managed, stop: &StopFlag) -> Result<Rehearsal, Failure> {
    let (name, begin) = (target.md.name.clone(), call.clock.now());
    let (store, ca) = (&site.store, directory(&target.md, call)?);
    let runs = || request::running(site).is_some() || server::pid(call, site).is_some();
    if needs_httpd(&target.md) && !runs() {
        return Err(request::not_running(site));
    }
    let _held = engine::hold(store, &name, begin)?;
    {
        let _locked = lock(site)?;
        note_begin(store, &name, begin)?;
    }
    call.step(&format!("{name}: rehearsing at {ca}"));
    let stand_in = stand_in(target, &ca, call);
    let rehearsal = stand_in.md.name.clone();
    let context = context(site, stand_in.clone(), stop);
    tidy_up(site, &context, &rehearsal)?;
    let outcome = alone::renew(&context, 0, &ca, Cause::Missing);
    // Also where a signal has stopped the other one.
    let context = self::context(site, stand_in, &StopFlag::default());
    tidy_up(site, &context, &rehearsal)?;
    let seconds = call.clock.now().since(begin).as_secs();
    let failure = outcome.err().map(fault);
    Ok(Rehearsal { name, ca: Some(ca), seconds, failure })
}

/// All that the rehearsal needs, with the zones that httpd answers.
fn context(site: &Site, stand_in: Managed, stop: &StopFlag) -> Context {
    let mut context = engine::context(&site.store, vec![stand_in], stop);
    if let Some(known) = site.configuration.as_ref().filter(|known| known.dns.is_on()) {
        let zones = known.dns.zones.iter();
        context.settings.dns_zones = zones.filter_map(|zone| Name::parse(&zone.zone).ok()).collect();
    }
    context
}

/// Whether httpd has to answer challenges: not where only records of the DNS are looked at.
fn needs_httpd(md: &Md) -> bool {
    let challenges = &md.ca.challenges;
    let is_by_dns = !challenges.is_empty() && challenges.iter().all(|type_| type_.starts_with("dns-"));
    !is_by_dns && !md.domains.iter().all(|domain| names::is_wildcard(domain))
}

/// The directory for the rehearsal.
fn directory(md: &Md, call: &Call) -> Result<String, Failure> {
    let own = md.ca.urls.first().or(md.ca.url.as_ref()).map(String::as_str).unwrap_or_default();
    let Some(url) = &call.options.acme else {
        let known = rehearsal_of(own).map(String::from);
        return known.ok_or_else(|| {
            Failure::new(format!("no directory for tests is known of the CA {own}")).advice(
                "Name one with --acme URL: that of the CA's staging environment, or a CA of your own.",
            )
        });
    };
    let same = |known: &String| known.trim_end_matches('/') == url.trim_end_matches('/');
    if md.ca.urls.iter().chain(&md.ca.url).any(same) && rehearsal_of(own).is_none_or(|test| test != own) {
        let text = format!("{url} is the CA that it orders from, whose limits a rehearsal would use up");
        return Err(Failure::new(text).advice("Name the CA's directory for tests with --acme URL."));
    }
    Ok(url.clone())
}

/// Notes that a domain is rehearsed, or refuses because it was lately.
fn note_begin(store: &StartStore, name: &str, now: Timestamp) -> Result<(), Failure> {
    let fail = |error: crate::store::Error| engine::of_store(&error);
    let noted = store.read_note(Note::Rehearsals).map_err(fail)?.unwrap_or_default();
    let time = |value: &Value| value.as_str().and_then(Timestamp::parse_http_date);
    // One from the future was noted by a clock that was wrong.
    let is_recent = |at: Timestamp| at <= now.ceil() && now.since(at) < PAUSE;
    let mut recent = Map::new();
    for (other, value) in noted.as_object().into_iter().flatten() {
        if time(value).is_some_and(is_recent) {
            recent.insert(other.clone(), value.clone());
        }
    }
    if let Some(at) = recent.get(name).and_then(time) {
        return Err(Failure::new(format!(
            "it was rehearsed at {}, and once in an hour is enough for any CA",
            at.to_http_date()
        ))
        .advice(format!("It can be rehearsed again at {}.", at.plus(PAUSE).to_http_date())));
    }
    recent.insert(name.into(), json!(now.to_http_date()));
    store.write_note(Note::Rehearsals, &Value::Object(recent)).map_err(fail)
}

/// The domain under a name of its own, so that nothing in staging is that of its renewal; without what is in
/// use, which a rehearsal does not replace.
fn stand_in(target: Managed, ca: &str, call: &Call) -> Managed {
    let target = engine::complete(target, &call.options);
    let md = &target.md;
    let name = match md.name.strip_prefix("*.") {
        Some(base) => format!("{WILDCARD_PREFIX}{base}"),
        None => format!("{PREFIX}{}", md.name),
    };
    let agreement = call.options.terms.clone().or(md.ca.agreement.clone());
    let challenges = md.ca.challenges.clone();
    let ca = Ca { urls: vec![ca.to_string()], agreement, challenges, proto: "ACME".into(), ..Ca::default() };
    let md = Md { name, ca, ..target.md };
    Managed { md, certs: Certs::default(), in_use: true, ..target }
}

/// Keeps the account, and removes all else that a rehearsal has left.
fn tidy_up(site: &Site, context: &Context, rehearsal: &str) -> Result<(), Failure> {
    let fail = |error: crate::store::Error| engine::of_store(&error);
    // What it could not remove is in the log, and removed by the next one.
    let _ = alone::clean_up(context, 0);
    let (_locked, store) = (lock(site)?, &site.store);
    let mut accounts = Accounts::read(store).map_err(fail)?;
    // One that this program has not left there is none of ours.
    accounts.adopt(store, rehearsal, &|_, _| false).map_err(fail)?;
    store.remove_strangers(Group::Staging, std::iter::once(rehearsal)).map_err(fail)?;
    store.purge(Group::Staging, rehearsal).map_err(fail)
}

fn fault(ended: Ended) -> Fault {
    let said = |text: String| without_prefix(&text);
    match ended {
        Ended::Held(limit) => Fault {
            text: format!("the CA wants no requests until {}", limit.until.to_http_date()),
            ..Fault::default()
        },
        Ended::Records(what) => Fault { text: said(what), ..Fault::default() },
        Ended::Stopped => Fault { text: "stopped by a signal".into(), ..Fault::default() },
        Ended::Failed(failed) => {
            Fault { text: said(failed.text), problem: failed.problem, advice: failed.advice.map(said) }
        }
    }
}

fn report(call: &mut Call, result: &Rehearsal) {
    if call.options.json {
        return;
    }
    let Rehearsal { name, ca, seconds, failure } = result;
    match (failure, ca) {
        (None, ca) => {
            let ca = ca.as_deref().unwrap_or_default();
            call.say(&format!("{name}: works: {ca} issued a certificate in {seconds} s, which is not kept"));
        }
        (Some(Fault { text, advice, .. }), ca) => {
            let how = if ca.is_some() { format!("fails after {seconds} s") } else { "not rehearsed".into() };
            call.say(&format!("{name}: {how}: {text}"));
            advice.iter().for_each(|advice| call.say(&format!("  {advice}")));
        }
    }
}

impl Rehearsal {
    fn to_json(&self) -> Value {
        let mut out = json!({
            "name": self.name, "ca": self.ca, "works": self.failure.is_none(), "seconds": self.seconds,
        });
        if let Some(Fault { text, problem, advice }) = &self.failure {
            out["error"] = json!(text);
            out["problem"] = json!(problem);
            out["advice"] = json!(advice);
        }
        out
    }
}

/// Shows the steps of a renewal.
fn show_steps(record: &Record<'_>) {
    let text = record.text.to_string();
    let step = text.split_once("] while[").and_then(|(_, step)| step.strip_suffix(']'));
    if let Some(step) = step.filter(|step| !step.contains("] detail[")) {
        // Whoever reads may have gone.
        let _ = writeln!(stderr(), "  {}", escaped(&without_prefix(step)));
    }
}

/// With the domain's own name.
fn without_prefix(text: &str) -> String {
    text.replace(WILDCARD_PREFIX, "*.").replace(PREFIX, "")
}

fn show_all(record: &Record<'_>) {
    if record.level <= Level::Debug {
        let _ = writeln!(stderr(), "  {}", escaped(&record.text.to_string()));
    }
}
