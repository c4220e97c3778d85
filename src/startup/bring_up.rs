// SPDX-License-Identifier: Apache-2.0
//! What a start changes in the store before mod_ssl looks at it: staged sets come into use, failing renewals
//! begin anew. With `MDStoreLocks` only under the lock of the store.

use crate::config::Plan;
use crate::notify::{Commands, Event};
use crate::renew::decide::remedies;
use crate::startup::activate::{Activated, Activation};
use crate::startup::reconcile::SyncedMd;
use crate::startup::recover::{OnTrial, Reverted};
use crate::startup::{cleanup, recover};
use crate::store::{Error, StartStore, StoreLock};
use crate::time::{SystemClock, Timestamp, format_duration};
use std::time::Duration;

/// What this start may do with the store.
pub enum Right {
    /// Change nothing of what is in use.
    Look,
    /// Everything, for as long as the lock is held where one is configured.
    Change { _lock: Option<StoreLock> },
}

impl Right {
    /// Takes the lock of `MDStoreLocks`, waiting no longer than that says.
    pub fn to_change(store: &StartStore, wait: Option<Duration>) -> Right {
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

/// Where the start before ended with new certificates, those before come back. Gives what is on trial still.
pub fn revert(store: &StartStore, now: Timestamp) -> OnTrial {
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
    reverted.left
}

/// Notes what is on trial, and gives the lock that says so while this start goes on; `None` where nothing is.
pub fn begin_trial(store: &StartStore, sets: &OnTrial) -> Option<StoreLock> {
    if sets.is_empty() {
        return None;
    }
    let begin = || {
        let lock = store.lock_trial()?;
        if lock.is_some() {
            recover::begin_trial(store, sets)?;
        }
        Ok(lock)
    };
    begin().unwrap_or_else(|error: Error| {
        crate::log!(
            Warn,
            "should httpd not start with the new certificates, those before will not come back by themselves: {}",
            error.advised()
        );
        None
    })
}

/// Activates the staged sets and restarts failing renewals. Where the store refuses, the sets in use stay.
/// Returns the sets that were put into use.
pub fn run(store: &StartStore, mds: &mut [SyncedMd], plan: &Plan, now: Timestamp) -> OnTrial {
    if let Err(error) = store.write_reach(plan.can_http, plan.can_https) {
        crate::log!(Warn, "the store's httpd.json cannot be written: {}", error.advised());
    }
    let mut activation = match Activation::begin(store, mds, now) {
        Ok(activation) => activation,
        Err(error) => {
            crate::log!(Error, "AH10069: staged sets cannot be read, those in use stay: {}", error.advised());
            return OnTrial::new();
        }
    };
    for md in mds {
        let name = md.md.name.clone();
        match activation.activate(md, now, plan.global.activation_delay) {
            Ok(Activated::Nothing) => {}
            Ok(Activated::Unfinished) => begin_anew(store, &name, now),
            Ok(Activated::Waiting(until)) => {
                crate::log!(Info, "{name}: the staged set is to be used from {} on", until.to_http_date());
            }
            Ok(Activated::Done) => {
                crate::log!(Info, "AH10068: {name}: staged set activated");
                installed(store, &name, plan);
                // The set was live; the renewal after it may be failing.
                begin_anew(store, &name, now);
            }
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
            Ok(Activated::OfOtherNames) => crate::log!(
                Warn,
                "md[{name}]: the staged certificates are for none of the names that the domain has now. They are dropped, \
                 and new ones are requested where those in use do not do."
            ),
            Ok(Activated::Damaged(reason)) => {
                crate::log!(
                    Error,
                    "AH10069: md[{name}]: error loading staged set, purging it and requesting a new one: {reason}"
                );
            }
            Err(error) => {
                crate::log!(
                    Error,
                    "AH10069: md[{name}]: error loading staged set, the one in use stays: {}",
                    error.advised()
                );
            }
        }
    }
    activation.replaced()
}

/// A restart is how an admin says "try again": a failing job loses its errors and what it has got so far.
fn begin_anew(store: &StartStore, name: &str, now: Timestamp) {
    match cleanup::begin_anew(store, name, now) {
        Ok(None) => {}
        Ok(Some(errors)) => {
            crate::log!(
                Notice,
                "AH10064: md[{name}]: previous drive job showed {}, purging STAGING area: the renewal begins again",
                cleanup::errors(errors)
            );
        }
        Err(error) => {
            crate::log!(Warn, "md[{name}]: the failing renewal cannot begin again: {}", error.advised())
        }
    }
}

/// The event `installed`, while we are still who may do things. What commands should have heard before that,
/// the next child tells them.
fn installed(store: &StartStore, name: &str, plan: &Plan) {
    let commands =
        Commands { message: plan.global.message_cmd.clone(), notify: plan.global.notify_cmd.clone() };
    if !commands.are_any() {
        return;
    }
    let outcome = cleanup::with_job(store, name, |job| {
        // First: the command may take a minute, in which the start may be ended.
        if let Err(error) = cleanup::hand_over(store, job, &commands) {
            crate::log!(Warn, "md[{name}]: commands will not hear that it was renewed: {}", error.advised());
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
