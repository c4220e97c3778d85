// SPDX-License-Identifier: Apache-2.0
//! The order of a start's steps in the store. [`bring_up`] goes before mod_ssl, [`finish`] after it; between
//! the two mod_ssl asks for certificates. httpd calls them, and so do the tests of starts.
//!
//! | step | why there |
//! |---|---|
//! | take the lock of `MDStoreLocks` | the first: without it nothing in use may change |
//! | revert the set that ended the last start | before anything reads `domains`: the wrong set is in it |
//! | reconcile: folders follow renamed MDs | staged sets and accounts move along, so before these are read |
//! | give files to httpd's `User` | once folders have their final names |
//! | remove old requests | any time: no program waits for them |
//! | adopt accounts | before sets come into use, whose md.json names them |
//! | activate staged sets | once accounts and folders are in place |
//! | note the sets that may come on trial | with the first swap, before it: a start may end any time after it |
//! | have all of them on the disk, empty their staging | at once for all: each wait for the disk costs |
//! | start failing renewals over | after activation, which finds out whose renewal is unfinished |
//! | take further sets from former folders | once it is known which staged sets did not come into use |
//! | note which of them are | once all sets are in use, and before mod_ssl loads the first one |
//! | *mod_ssl loads certificates* | |
//! | write md.json | names are final only now: hosts may join |
//! | remove challenge data of others | by the final names |
//!
//! A step that fails for one domain leaves that domain as it was and is logged; others go on. Only a store
//! whose folders cannot be read ends the start.

use super::activate::{Activated, Activation};
use super::cleanup;
use super::reconcile;
use super::reconcile::{Former, HostNames, Matched};
use super::recover;
use super::recover::Reverted;
use super::stored_md::StoredMd;
use super::trial::LoadTrial;
use crate::config::{Host, Plan, PlannedMd, ServerConfig};
use crate::managed::Managed;
use crate::model::{Md, request};
use crate::notify::{Commands, Event};
use crate::renew::decide::remedies;
use crate::store::{Error, StartStore, StoreLock};
use crate::time::{SystemClock, Timestamp, format_duration};
use std::time::Duration;

/// The start that is under way.
pub struct Start<'a> {
    pub store: &'a StartStore,
    pub now: Timestamp,
    /// Only the configuration is checked: nothing changes, except that a set that ended the last start is
    /// reverted.
    pub is_check: bool,
    /// In the order of the plan's hosts.
    pub servers: &'a [(ServerConfig, Host)],
}

/// The result of the steps before mod_ssl.
pub struct BroughtUp {
    /// The stored data, in the order of the plan's MDs.
    pub mds: Vec<StoredMd>,
    /// The outcomes of their staged sets, already logged; empty where nothing could be activated.
    pub activated: Vec<Result<Activated, Error>>,
    pub trial: LoadTrial,
}

/// All steps before mod_ssl asks for certificates. The plan's MDs take over values that only the store has.
pub fn bring_up(start: &Start<'_>, plan: &mut Plan) -> Result<BroughtUp, Error> {
    let store = start.store;
    // Held until the staged sets are in use.
    let right = if start.is_check { Right::Look } else { Right::to_change(store, plan.global.store_locks) };
    // The check runs first, and so finds first where the last start ended.
    let is_first = right.may_change() || start.is_check;
    let mut trial = if is_first { revert(store, start.now) } else { LoadTrial::default() };
    let (mut mds, mut former) = reconcile(start, plan, &right)?;
    if !start.is_check {
        store.hand_over(|| plan.known_names(start.servers.iter().map(|(_, host)| host)));
        remove_old_requests(store, start.now);
    }
    report_problems(&plan.mds, &mds);
    let mut activated = Vec::new();
    if right.may_change() {
        if let Err(error) = store.write_reach(plan.can_http, plan.can_https) {
            crate::log!(Warn, "the store's httpd.json cannot be written: {}", error.advised());
        }
        let all: Vec<usize> = (0..mds.len()).collect();
        activated = activate(start, plan, &mut mds, &all, &mut trial);
        activate_others(start, plan, &mut mds, &mut former, &mut activated, &mut trial);
    }
    drop(right);
    trial.settle(store);
    Ok(BroughtUp { mds, activated, trial })
}

/// All steps after mod_ssl: md.json of all MDs, whose names are final, and the server's data on them, which
/// it returns: the certificates leave `stored`.
pub fn finish(store: &StartStore, planned: &mut [PlannedMd], stored: &mut [StoredMd]) -> Vec<Managed> {
    let write = |(planned, stored): (&mut PlannedMd, &mut StoredMd)| {
        if let Err(error) = stored.save(store, &mut planned.md) {
            crate::log!(
                Error,
                "AH10073: md[{}]: its md.json cannot be written: {}",
                planned.md.name,
                error.advised()
            );
        }
        Managed::new(planned.clone(), std::mem::take(&mut stored.certs))
    };
    let mds: Vec<Managed> = planned.iter_mut().zip(stored).map(write).collect();
    // Without MDs they are of others on the same store.
    let with_ways = || mds.iter().map(|managed| (&managed.md, managed.dns01.as_ref()));
    if !mds.is_empty()
        && let Err(error) = cleanup::purge_challenges(store, with_ways())
    {
        crate::log!(Warn, "old challenge data cannot be removed: {}", error.advised());
    }
    mds
}

/// What this start may change in the store.
enum Right {
    /// Nothing that is in use.
    Look,
    /// Everything, for as long as the lock is held where one is configured.
    Change { _lock: Option<StoreLock> },
}

impl Right {
    fn may_change(&self) -> bool {
        matches!(self, Right::Change { .. })
    }

    /// Takes the lock of `MDStoreLocks`, waiting no longer than that says.
    fn to_change(store: &StartStore, wait: Option<Duration>) -> Right {
        let Some(wait) = wait else { return Right::Change { _lock: None } };
        let reason = match store.lock(wait) {
            Ok(Some(lock)) => return Right::Change { _lock: Some(lock) },
            Ok(None) => format!("another process has held it for {} (MDStoreLocks)", format_duration(wait)),
            Err(error) => error.to_string(),
        };
        crate::log!(
            Error,
            "AH10398: unable to obtain global registry lock, renewed certificates may remain inactive on this httpd \
             instance until it is restarted: {reason}"
        );
        Right::Look
    }
}

/// Their programs have ended without removing them.
fn remove_old_requests(store: &StartStore, now: Timestamp) {
    if let Err(error) = store.remove_old_requests(request::LIFETIME, now) {
        crate::log!(Warn, "old requests of a2md cannot be removed: {}", error.advised());
    }
}

/// Restores the previous certificates where the last start ended with new ones. Returns the trial of the sets
/// that are left.
fn revert(store: &StartStore, now: Timestamp) -> LoadTrial {
    let reverted = recover::revert(store, now).unwrap_or_else(|error| {
        crate::log!(
            Error,
            "AH10069: the last start of httpd ended with new certificates, and those before cannot be put back: {}",
            error.advised()
        );
        Reverted::default()
    });
    for name in reverted.names {
        crate::log!(
            Error,
            "AH10069: md[{name}]: the last start of httpd ended before the new certificates of all domains were loaded. \
             Those before are in use again, the new ones wait in staging; the error log of that start says what mod_ssl \
             did not like."
        );
    }
    LoadTrial::of(reverted.left)
}

fn reconcile(start: &Start<'_>, plan: &mut Plan, right: &Right) -> Result<(Vec<StoredMd>, Former), Error> {
    let (matched, former) = match_up(start, plan, |mds, hosts| match right.may_change() {
        true => reconcile::sync(start.store, mds, hosts),
        false => Ok((reconcile::look(start.store, mds, hosts)?, Former::default())),
    })?;
    let complete = |(planned, matched): (&mut PlannedMd, Matched)| matched.complete(&mut planned.md);
    Ok((plan.mds.iter_mut().zip(matched).map(complete).collect(), former))
}

/// Calls `step` with the MDs and the names of their hosts.
fn match_up<T>(start: &Start<'_>, plan: &Plan, step: impl FnOnce(&[&Md], HostNames<'_>) -> T) -> T {
    let mds: Vec<&Md> = plan.mds.iter().map(|planned| &planned.md).collect();
    step(&mds, &|md| plan.host_names(md, |at| start.servers.get(at).map(|(_, host)| host)))
}

/// configtest and the advice of a start report the admin's own files.
fn report_problems(planned: &[PlannedMd], stored: &[StoredMd]) {
    let mds = planned.iter().map(|planned| &planned.md).zip(stored);
    for (md, stored) in mds.filter(|(md, _)| !md.has_static_files()) {
        for problem in &stored.problems {
            crate::log!(Warn, "md[{}]: {problem}", md.name);
        }
    }
}

/// Activates the staged sets of the MDs at these places and starts failing renewals over. Where the store
/// refuses, the sets in use stay. Adds the sets that came into use to `trial`.
fn activate(
    start: &Start<'_>,
    plan: &mut Plan,
    stored: &mut [StoredMd],
    places: &[usize],
    trial: &mut LoadTrial,
) -> Vec<Result<Activated, Error>> {
    let (store, now) = (start.store, start.now);
    let mds: Vec<&Md> = plan.mds.iter().map(|planned| &planned.md).collect();
    let mut activation = match Activation::begin(store, &mds, now) {
        Ok(activation) => activation.with_trial(std::mem::take(trial)),
        Err(error) => {
            crate::log!(
                Error,
                "AH10069: staged certificates cannot be read, those in use stay: {}",
                error.advised()
            );
            return Vec::new();
        }
    };
    let commands =
        Commands { message: plan.global.message_cmd.clone(), notify: plan.global.notify_cmd.clone() };
    let delay = plan.global.activation_delay;
    let mut activated = Vec::new();
    for at in places {
        if let (Some(planned), Some(stored)) = (plan.mds.get_mut(*at), stored.get_mut(*at)) {
            activated.push(activation.activate(&mut planned.md, stored, delay));
        }
    }
    *trial = activation.finish();
    for (planned, outcome) in places.iter().filter_map(|at| plan.mds.get(*at)).zip(&activated) {
        let name = &planned.md.name;
        report(name, outcome);
        if matches!(outcome, Ok(Activated::Done)) {
            installed(store, name, &commands);
        }
        // Where a set came into use it was live, and the renewal after it may be failing.
        if matches!(outcome, Ok(Activated::Unfinished | Activated::Done)) {
            start_over(store, name, now);
        }
    }
    activated
}

/// MDs whose staged sets were dropped may find others in former folders, and so may the next start: goes on
/// until there is none left.
fn activate_others(
    start: &Start<'_>,
    plan: &mut Plan,
    stored: &mut [StoredMd],
    former: &mut Former,
    activated: &mut [Result<Activated, Error>],
    trial: &mut LoadTrial,
) {
    // Where nothing could be activated, sets stay with their folders.
    while !activated.is_empty() {
        let given = match_up(start, plan, |mds, hosts| former.give_sets(start.store, mds, stored, hosts));
        if given.is_empty() {
            break;
        }
        for (at, outcome) in given.iter().zip(activate(start, plan, stored, &given, trial)) {
            if let Some(activated) = activated.get_mut(*at) {
                *activated = outcome;
            }
        }
    }
}

fn report(name: &str, outcome: &Result<Activated, Error>) {
    match outcome {
        Ok(Activated::Nothing | Activated::Unfinished) => {}
        Ok(Activated::Waiting(until)) => {
            crate::log!(
                Info,
                "md[{name}]: the staged certificates come into use at {}",
                until.to_http_date()
            );
        }
        Ok(Activated::Done) => crate::log!(Info, "AH10068: {name}: staged set activated"),
        Ok(Activated::Refused(reason)) => crate::log!(
            Error,
            "AH10069: md[{name}]: the staged certificates are not put into use, those before stay: {reason}. What to do: {} \
             Then restart httpd.",
            remedies::REFUSED
        ),
        Ok(Activated::Outdone) => crate::log!(
            Notice,
            "md[{name}]: the staged certificates were ordered for an earlier configuration, and clients would get \
             less from them than from those in use. They are dropped."
        ),
        Ok(Activated::Withdrawn) => crate::log!(
            Notice,
            "md[{name}]: the staged certificates were revoked or replaced by a2md, so those in use stay. They are \
             dropped."
        ),
        Ok(Activated::OfOtherNames) => crate::log!(
            Warn,
            "md[{name}]: the staged certificates are for none of the names that the domain has now. They are dropped, \
             and new ones are requested where those in use do not do."
        ),
        Ok(Activated::Damaged(reason)) => crate::log!(
            Error,
            "AH10069: md[{name}]: error loading staged set, purging it and requesting a new one: {reason}"
        ),
        Err(error) => crate::log!(
            Error,
            "AH10069: md[{name}]: error loading staged set, the one in use stays: {}",
            error.advised()
        ),
    }
}

/// Starts a failing job over, because admins restart httpd to try again: its errors and obtained files go.
fn start_over(store: &StartStore, name: &str, now: Timestamp) {
    match cleanup::start_over(store, name, now) {
        Ok(None) => {}
        Ok(Some(errors)) => {
            crate::log!(
                Notice,
                "AH10064: md[{name}]: previous drive job showed {}, purging STAGING area: the renewal starts over",
                cleanup::errors(errors)
            );
        }
        Err(error) => {
            crate::log!(Warn, "md[{name}]: cannot start the failing renewal over: {}", error.advised())
        }
    }
}

/// Runs the command for `installed` while this process still has the rights of the user that starts httpd.
/// The next child runs those that should have come before it.
fn installed(store: &StartStore, name: &str, commands: &Commands) {
    if !commands.are_any() {
        return;
    }
    let outcome = cleanup::with_job(store, name, |job| {
        // First: the command may take a minute, in which the start may be ended.
        if let Err(error) = cleanup::hand_over(store, job, commands) {
            crate::log!(Warn, "md[{name}]: no command will report that it was renewed: {}", error.advised());
        }
        if commands.message.is_some() {
            // That the command failed is in the log; nothing depends on it here.
            let _ = commands.fire(&Event::Installed, job, &SystemClock::default());
        }
    });
    if let Err(error) = outcome {
        crate::log!(Warn, "md[{name}]: its job.json cannot be written: {}", error.advised());
    }
}
