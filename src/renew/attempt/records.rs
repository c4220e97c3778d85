// SPDX-License-Identifier: Apache-2.0
//! The TXT records of a renewal: noted on disk, set up, waited for, removed. What takes long keeps no place
//! from other renewals. The way is that of `challenge::dns01::solver`.

use super::context::{Pause, Renewal};
use super::obstacle::Obstacle;
use super::progress::Running;
use crate::challenge::answers::{Folder, Noted};
use crate::challenge::dns01::place::{Found, Place};
use crate::challenge::dns01::propagation::{self, Missing};
use crate::challenge::dns01::server::Patient;
use crate::challenge::dns01::solver::{self, Solver, Tools};
use crate::challenge::dns01::{self, Record, responder};
use crate::dns::Name;
use crate::renew::decide::error::Error;
use crate::store::{Work, WorkGroup};

const GROUP: WorkGroup = WorkGroup::Challenges;

/// The most servers without a record that are named.
const NAMED: usize = 3;

/// The most records of a domain that stay noted while their server is not reached.
const KEPT_MAX: usize = 20;

/// The record that answers a challenge.
pub(super) struct Wanted<'a> {
    /// Of the challenge.
    pub type_: &'a str,
    /// Without `*.`.
    pub domain: &'a str,
    /// Where validators look for it.
    pub name: String,
    pub value: String,
    /// The domains of all records that are set up together.
    pub all_domains: &'a [String],
    /// How many of them come after this one.
    pub remaining: usize,
}

fn folder<'a>(renewal: &Renewal<'a>, domain: &'a str) -> Folder<'a, Work> {
    Folder { store: &renewal.context.store, group: GROUP, name: domain }
}

/// `None`: `MDChallengeDns01` is not configured.
fn with_solver<T>(renewal: &Renewal<'_>, act: impl FnOnce(&Solver<'_>, Tools<'_>) -> T) -> Option<T> {
    let (context, dns01) = (renewal.context, renewal.target.dns01.as_ref()?);
    let (clock, resolvers) = (renewal.clock(), context.resolvers());
    let dns = Patient { dns: context.dns(), silent: context.answering.silent(), clock };
    let (store, changing) = (&context.store, context.answering.lock());
    let connect = || context.cas.connect_beside(&renewal.target.route);
    let zones = &context.settings.dns_zones;
    let tools = Tools { dns: &dns, resolvers: &resolvers, zones, clock, store, changing, connect: &connect };
    Some(renewal.pause(Pause::Command, || act(&Solver::new(dns01, renewal.name(), tools), tools)))
}

/// Sets up the record. Returns where, for the servers that have to have it.
pub(super) fn set_up(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    wanted: &Wanted<'_>,
) -> Result<Place, Obstacle> {
    let set_up = |solver: &Solver<'_>, _: Tools<'_>| set_up_by(solver, renewal, running, wanted);
    with_solver(renewal, set_up).unwrap_or(Err(Obstacle::Unknown))
}

/// Noted first: also a record whose set-up was killed half-way is removed.
fn set_up_by(
    solver: &Solver<'_>,
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    wanted: &Wanted<'_>,
) -> Result<Place, Obstacle> {
    let (owner, domain) = (renewal.name(), wanted.domain);
    let name = Name::parse(&wanted.name).map_err(solver::Failed::from)?;
    let Found { place, unknown } = solver.place(&name)?;
    if let Some(reason) = unknown {
        crate::log!(
            Info,
            "md[{owner}]: the place of the TXT record of {name} cannot be looked up, {} is assumed: {reason}",
            place.name
        );
    }
    running.remark(&described(solver, &place))?;
    let noted = solver.noted(wanted.type_, domain, &name, &place, &wanted.value);
    let is_new = note(renewal, domain, &noted)?;
    let at = place.name.to_string();
    let record = Record {
        domain,
        name: &at,
        value: &wanted.value,
        all_domains: wanted.all_domains,
        remaining: wanted.remaining,
    };
    let outcome = solver.set_up(&record, &name, place.zone.as_ref());
    let _held = renewal.context.answering.changing();
    match &outcome {
        // There is no record to remove, and nothing to report to an admin.
        Err(failed) if is_new && failed.has_not_begun() => {
            folder(renewal, domain).forget_record(owner, &noted)?;
        }
        Ok(Some(output)) => folder(renewal, domain).note_output(owner, &noted, output)?,
        _ => {}
    }
    outcome?;
    Ok(place)
}

/// Notes a record that another node has set up for the same order: the clean-up removes it.
pub(super) fn adopt(renewal: &Renewal<'_>, type_: &str, domain: &str, name: &str, value: &str) {
    let adopt = |solver: &Solver<'_>, _: Tools<'_>| {
        let name = Name::parse(name).map_err(solver::Failed::from)?;
        let place = solver.place(&name)?.place;
        note(renewal, domain, &solver.noted(type_, domain, &name, &place, value))
    };
    if let Some(Err::<_, Obstacle>(obstacle)) = with_solver(renewal, adopt) {
        let left = dns01::left_behind(name, value);
        crate::log!(
            Warn,
            "md[{}]: the TXT record that another node has set up cannot be noted: {obstacle}: {left}",
            renewal.name()
        );
    }
}

/// Whether no other note has the record.
fn note(renewal: &Renewal<'_>, domain: &str, noted: &Noted) -> Result<bool, Obstacle> {
    let _held = renewal.context.answering.changing();
    let folder = folder(renewal, domain);
    let is_new = !folder.read(dns01::NOTE).all().any(|value| value == noted.value);
    folder.note_record(renewal.name(), noted.clone())?;
    Ok(is_new)
}

fn described(solver: &Solver<'_>, place: &Place) -> String {
    let zone = place.zone.as_ref().map(|zone| format!(" in the zone {zone}")).unwrap_or_default();
    format!("TXT record {}{zone}, {}", place.name, solver::described(solver.way()))
}

/// Waits until the servers have these records, as long as `MDDnsPropagation` allows.
pub(super) fn await_visible(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    records: &[(Place, String)],
) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let wait = |solver: &Solver<'_>, tools: Tools<'_>| await_by(solver, tools, renewal, running, records);
    with_solver(renewal, wait).unwrap_or(Ok(()))
}

fn await_by(
    solver: &Solver<'_>,
    tools: Tools<'_>,
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    records: &[(Place, String)],
) -> Result<(), Error> {
    let before = running.job.last.activity.clone();
    let (watch, unknown) = solver.watch(records);
    for reason in unknown {
        crate::log!(Info, "md[{}]: {reason}", renewal.name());
    }
    let Some(mut watch) = watch else { return Ok(()) };
    running.step("Asking name servers for the TXT records")?;
    running.show()?;
    let mut outcome = Ok(());
    let mut tell = |text: &str| {
        if outcome.is_ok() {
            outcome = running.step(text).and_then(|()| running.show());
        }
    };
    propagation::wait(&mut watch, tools.dns, tools.clock, &mut tell)?;
    outcome?;
    report_missing(renewal, running, &watch.missing())?;
    // What fails from now on is not for want of a record.
    before.map_or(Ok(()), |activity| running.step(activity))
}

fn report_missing(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    missing: &[Missing],
) -> Result<(), Error> {
    for Missing { server, record, reason } in missing.iter().take(NAMED) {
        let text = format!(
            "the name server {server} is not known to have the TXT record of {record} ({reason}); the CA is asked all \
             the same. Where the CA does not find it, check that server, or set MDDnsPropagation to a longer time"
        );
        crate::log!(Warn, "md[{}]: {text}", renewal.name());
        running.remark(&text)?;
    }
    if missing.len() > NAMED {
        let more = missing.len() - NAMED;
        crate::log!(Warn, "md[{}]: {more} more are not known to have a record", renewal.name());
    }
    Ok(())
}

/// What has become of the records of a domain.
pub(super) enum Removal {
    /// None is left, or none that anybody could remove.
    Done,
    /// The next clean-up has to try again.
    Kept,
    Stopped,
}

/// The records of a domain, also those that an earlier child has set up.
pub(super) fn of(renewal: &Renewal<'_>, domain: &str) -> Vec<Noted> {
    let _held = renewal.context.answering.changing();
    folder(renewal, domain).read(dns01::NOTE).records_of(renewal.name()).cloned().collect()
}

/// Removes these records of a domain. `later`: how many of other domains come after them. `unreached`: why the
/// server of the way was not reached for an earlier domain of this clean-up; it is not waited for again.
pub(super) fn tear_down(
    renewal: &Renewal<'_>,
    domain: &str,
    records: &[Noted],
    later: usize,
    unreached: &mut Option<String>,
) -> Removal {
    let name = renewal.name();
    if records.is_empty() || is_left_to_others(renewal, domain) {
        return Removal::Done;
    }
    for (before, noted) in records.iter().enumerate() {
        let remaining = later + records.len() - 1 - before;
        let reason = match unreached {
            Some(reason) if noted.served_for.is_none() => Some(reason.clone()),
            _ => match remove(renewal, domain, noted, remaining) {
                Ok(()) => None,
                Err(failed) if failed.is_stopped() => return Removal::Stopped,
                Err(failed) => {
                    let reason = failed.to_string();
                    *unreached = failed.is_unreached().then(|| reason.clone());
                    Some(reason)
                }
            },
        };
        if let Some(reason) = reason {
            if unreached.is_some() && records.len() <= KEPT_MAX {
                crate::log!(
                    Warn,
                    "md[{name}]: MDChallengeDns01: {reason}: the next renewal tries again to remove the TXT record of {}",
                    name_of(domain, noted)
                );
                // The others are at the same server.
                return Removal::Kept;
            }
            let left = dns01::left_behind(&name_of(domain, noted), &noted.value);
            crate::log!(Warn, "md[{name}]: MDChallengeDns01: {reason}: {left}");
        }
        let _held = renewal.context.answering.changing();
        report(renewal, domain, folder(renewal, domain).forget_record(name, noted));
    }
    Removal::Done
}

/// Whether the way removes all records of a name, and other MDs have some: the MD that has the last one
/// removes them.
fn is_left_to_others(renewal: &Renewal<'_>, domain: &str) -> bool {
    let name = renewal.name();
    let way = renewal.target.dns01.as_ref().map(|dns01| &dns01.way);
    if way.is_none_or(solver::removes_one_by_one) {
        return false;
    }
    let _held = renewal.context.answering.changing();
    let folder = folder(renewal, domain);
    let is_left = folder.has_records_of_others(name);
    if is_left {
        crate::log!(Debug, "md[{name}]: 'teardown {domain}' is left to the other MD with a record there");
        report(renewal, domain, folder.forget_records(name));
    }
    is_left
}

fn report(renewal: &Renewal<'_>, domain: &str, outcome: Result<(), crate::store::Error>) {
    if let Err(error) = outcome {
        crate::log!(
            Warn,
            "md[{}]: the challenge data of {domain} cannot be removed: {}",
            renewal.name(),
            error.advised()
        );
    }
}

/// The name where the record was set up.
fn name_of(domain: &str, noted: &Noted) -> String {
    noted.at.clone().unwrap_or_else(|| dns01::record_name(domain))
}

fn remove(
    renewal: &Renewal<'_>,
    domain: &str,
    noted: &Noted,
    remaining: usize,
) -> Result<(), solver::Failed> {
    let (owner, name) = (renewal.name(), name_of(domain, noted));
    let all_domains = &renewal.target.md.domains;
    let record = Record { domain, name: &name, value: &noted.value, all_domains, remaining };
    if noted.served_for.is_some() {
        let _held = renewal.context.answering.changing();
        return Ok(responder::tear_down(&renewal.context.store, GROUP, owner, &record)?);
    }
    if !dns01::is_ours(&name, &noted.value) {
        crate::log!(
            Warn,
            "md[{owner}]: challenges/{domain}/{} has a record that no renewal has set up, at {}: it is not removed. A \
             program that runs as httpd's user can have written it.",
            dns01::NOTE,
            name.escape_debug()
        );
        return Ok(());
    }
    let tear_down = |solver: &Solver<'_>, _: Tools<'_>| solver.tear_down(&record, noted.output.as_deref());
    with_solver(renewal, tear_down).unwrap_or_else(|| {
        let left = dns01::left_behind(&name, &noted.value);
        crate::log!(Warn, "md[{owner}]: MDChallengeDns01 is not configured any more: {left}");
        Ok(())
    })
}
