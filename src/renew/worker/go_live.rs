// SPDX-License-Identifier: Apache-2.0
//! A complete set's turn: whether it goes live now, later or at a restart, and then does. The engine calls
//! this at each look at a renewal that is finished.

use super::check::{Engine, Next};
use crate::crypto::{CertInfo, Identity};
use crate::managed::Managed;
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw};
use crate::managed::gate;
use crate::managed::gate::Admitted;
use crate::managed::live_set::LiveSet;
use crate::managed::published;
use crate::managed::published::Published;
use crate::managed::serve::Certs;
use crate::managed::staging::Staging;
use crate::model::job::status;
use crate::model::{Job, Md, Outcome, Trial};
use crate::notify::{self, Event};
use crate::renew::attempt::progress::Running;
use crate::renew::decide::activation::{self, Due};
use crate::renew::decide::due::Decision;
use crate::renew::decide::error::Error;
use crate::renew::decide::{due, retry};
use crate::store::{self, WorkGroup};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// What has become of a complete set.
enum Turn {
    /// It is served.
    Live,
    /// It is complete and waits: look again then.
    Waiting(Timestamp),
    /// A restart brings it into use.
    Restart,
    /// TLS servers refuse it, for this reason. It stays where it is, in case the hosts' settings change.
    Refused(String),
    /// It cannot be used, for this reason.
    Damaged(String),
}

/// How often to look for an OCSP response, and whether a disk is well again.
const PAUSE: Duration = Duration::from_secs(10);

impl Engine {
    /// A complete set goes live, or waits; the commands hear of it. Tells when to look again, and whether it
    /// is in use. `new`: what has just been got; without, it was complete before.
    pub(crate) fn after_renewal(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        new: Option<Vec<Bundle>>,
    ) -> (Next, bool) {
        let (name, is_new) = (&target.md.name, new.is_some());
        let was_refused = matches!(running.job.trial, Some(Trial::Refused(_)));
        let turn = self.go_live(index, target, running, new);
        match &turn {
            // Another one may be better, once this one would have been replaced anyway.
            Turn::Refused(reason) if !self.is_staged_set_due(target) => {
                running.job.trial = Some(Trial::Refused(reason.clone()));
                running.job.last.activity =
                    Some(format!("Trying the new certificates of {name} on its hosts"));
                let error = Error::Refused(reason.clone());
                return (self.failed(target, running, None, &error), false);
            }
            Turn::Damaged(reason) | Turn::Refused(reason) => {
                crate::log!(
                    Error,
                    "AH10069: md[{name}]: cannot use the staged certificates, requesting new ones: {reason}"
                );
                let begun = self.make_room(target, running);
                let error = begun.err().unwrap_or_else(|| Error::Unusable(reason.clone()));
                return (self.failed(target, running, None, &error), false);
            }
            Turn::Restart if is_new || was_refused => crate::log!(
                Notice,
                "AH10059: The Managed Domain {name} has been setup and changes will be activated on next (graceful) \
                 server restart."
            ),
            Turn::Waiting(at) if is_new => {
                crate::log!(
                    Notice,
                    "AH10059: The Managed Domain {name} has been setup and goes live in due time, at {} at the earliest.",
                    at.to_http_date()
                );
            }
            _ => {}
        }
        let told = self.tell_renewed(running);
        if let Turn::Live = turn {
            self.tell_activated(running);
        }
        if self.settings().commands.are_any() {
            self.save_told(running);
        } else if let Err(error) = running.show() {
            // Nobody is told twice where this is lost.
            running.report_unsaved(&error);
        }
        match turn {
            Turn::Live => (told, true),
            Turn::Waiting(at) => (earlier(told, Next::At(at)), false),
            Turn::Restart | Turn::Refused(_) | Turn::Damaged(_) => (told, false),
        }
    }

    /// Has all workers serve the staged set, if its hosts take it and it is time.
    fn go_live(
        &self,
        index: usize,
        target: &Managed,
        running: &mut Running<'_>,
        new: Option<Vec<Bundle>>,
    ) -> Turn {
        let (name, now) = (&target.md.name, self.clock().now());
        if new.is_none()
            && published::staged_certs(self.store(), name)
                .is_some_and(|certs| is_served(target, certs.iter().map(|(_, cert)| cert)))
        {
            return Turn::Live;
        }
        let workers = self.live().filter(|_| target.live.is_attached());
        if workers.is_none() && new.is_none() && running.job.trial == Some(Trial::Accepted) {
            return Turn::Restart;
        }
        let admitted = published::staged(self.store(), &mut running.job, new).and_then(|(ordered, sets)| {
            let sets = self.admit(index, name, running, sets)?;
            self.sign(&mut running.job, &ordered, &sets);
            Ok((ordered, sets))
        });
        let (ordered, sets) = match admitted {
            Ok(admitted) => admitted,
            Err(Flaw::Store(error @ store::Error::Io { .. })) => {
                crate::log!(Error, "md[{name}]: the staged certificates cannot be read: {}", error.advised());
                return Turn::Waiting(now.plus(PAUSE));
            }
            Err(flaw) if flaw.is_refusal() => return Turn::Refused(flaw.to_string()),
            Err(flaw) => return Turn::Damaged(flaw.to_string()),
        };
        let Some((workers, delay)) = workers else { return Turn::Restart };
        let certs: Vec<CertInfo> = sets.iter().map(|set| set.info.clone()).collect();
        let have_staples = workers.have_staples(index, &certs);
        match activation::due(&target.md, &target.served(), &certs, delay, have_staples, now) {
            Due::At(at) => return Turn::Waiting(at),
            Due::Stapled => return Turn::Waiting(now.plus(PAUSE)),
            Due::Now => {}
        }
        let new_certs =
            Certs::arrange(&target.md.keys(), sets.iter().map(|set| (set.spec.clone(), set.info.clone())));
        if !new_certs.are_for(&target.md, now) {
            return Turn::Damaged("they are for none of the names that the domain has now".into());
        }
        if target.served().outdo(&new_certs, &target.md, now) {
            return Turn::Damaged("the certificates in use serve more names, or are valid for longer".into());
        }
        let published = Published::new(now, &ordered, &running.job, sets);
        let set = match LiveSet::new(&published, &target.md.keys()) {
            Ok(set) => set,
            Err(error) => return Turn::Damaged(error.to_string()),
        };
        if let Err(error) = published.write(self.store(), name) {
            crate::log!(Error, "md[{name}]: the new certificates cannot go live: {}", error.advised());
            return Turn::Waiting(now.plus(PAUSE));
        }
        workers.tell(index, set);
        if !is_served(target, certs.iter()) {
            // Why stands in the log.
            return Turn::Restart;
        }
        crate::log!(Notice, "AH10059: The Managed Domain {name} has been setup and is live now.");
        running.job.note(now, "progress", None, Some("The new certificates are live.".into()));
        Turn::Live
    }

    /// Has the sets pass the gate: by the hosts that will serve them, or where these are not known, by the
    /// settings of this machine. What ended a start is not tried again by one that cannot ask the hosts.
    fn admit(
        &self,
        index: usize,
        name: &str,
        running: &mut Running<'_>,
        sets: Vec<Bundle>,
    ) -> Result<Admitted, Flaw> {
        let identities =
            sets.iter().map(|set| Identity::new(&set.key, &set.chain)).collect::<Result<Vec<_>, _>>();
        let identities = identities.map_err(|error| Flaw::Unusable(error.to_string()))?;
        let trial = match self.hosts().and_then(|hosts| hosts.try_out(index, &identities)) {
            Some(Ok(())) => Some(Trial::Accepted),
            Some(Err(reason)) => Some(Trial::Refused(reason)),
            None => running.job.trial.clone(),
        };
        let admitted = gate::admit(self.store(), WorkGroup::Staging, name, sets, trial.as_ref())?;
        let job = &mut running.job;
        if let Some(Trial::Refused(_)) = job.trial {
            (job.errors, job.next_run, job.last) = (0, None, Outcome::default());
        }
        job.trial = trial;
        Ok(admitted)
    }

    /// Has a start know the set again that the job has got. Without that it is worth no less than one of the
    /// C module.
    pub(crate) fn sign(&self, job: &mut Job, ordered: &Md, sets: &[Bundle]) {
        let is_tried = job.trial == Some(Trial::Accepted);
        let code = bundle::vouch(self.store(), &job.name, ordered, sets, is_tried);
        job.auth = code
            .inspect_err(|error| crate::log!(Warn, "md[{}]: its new set gets no `auth`: {error}", job.name))
            .ok();
    }

    /// Whether the staged set itself would be renewed by now.
    fn is_staged_set_due(&self, target: &Managed) -> bool {
        let certs = published::staged_certs(self.store(), &target.md.name).unwrap_or_default();
        let certs = Certs::arrange(&target.md.keys(), certs);
        matches!(due::need(&target.md, &certs, None, self.clock().now()), Decision::Now(_))
    }

    /// Tells the commands about a complete set, until they have heard.
    fn tell_renewed(&self, running: &mut Running<'_>) -> Next {
        let clock = self.clock().as_ref();
        // What a CA has asked to wait for does not hold them back.
        if let Some(at) = retry::waits_for(&running.job, "", None, clock.now()) {
            // They have failed, and this look is for something else.
            return Next::At(at);
        }
        let commands = &self.settings().commands;
        let failure = self.tell_of_set(running).err();
        let job = &mut running.job;
        let next = match failure {
            None => {
                job.errors = 0;
                job.next_run = None;
                Next::Never
            }
            // The next child tells the command again; what is on disk says so.
            Some(failed) if failed.is_stopped => return Next::Never,
            Some(failed) => {
                job.errors += 1;
                let detail = failed.advised();
                job.last = Outcome {
                    status: status::GENERAL,
                    problem: Some(failed.problem),
                    detail: Some(detail),
                    ..Outcome::default()
                };
                let random = self.random();
                let at = due::retry_at(
                    job.errors,
                    self.settings().retry.delay,
                    DAY,
                    false,
                    None,
                    random,
                    clock.now(),
                );
                job.next_run = Some(at);
                Next::At(at)
            }
        };
        if commands.are_any() {
            self.save_told(running);
        }
        next
    }

    /// Where this process ends, a start may have purged a failing job: what was told is on disk already.
    pub(crate) fn save_told(&self, running: &mut Running<'_>) {
        let job = &running.job;
        if !self.clock().is_stopped() || job.finished || job.untold.is_some() {
            self.save(running);
        }
    }

    /// Has both commands hear of a set, one after the other. What is on disk says so before they do: one that
    /// reloads httpd must not be called for it again.
    fn tell_of_set(&self, running: &mut Running<'_>) -> Result<(), notify::Failed> {
        let commands = &self.settings().commands;
        if !*running.job.notified_flags().0 {
            running.notify(commands)?;
        }
        if !*running.job.notified_flags().1 {
            *running.job.notified_flags().1 = true;
            if let Err(failed) = running.tell(commands, &Event::Renewed) {
                let (notified, renewed) = running.job.notified_flags();
                *renewed = false;
                // The next time both hear of the set, in their order.
                *notified &= failed.is_stopped;
                return Err(failed);
            }
        }
        Ok(())
    }

    /// Tells the commands about a set that a start has put into use before they have heard. The answer is
    /// when to go on.
    pub(crate) fn tell_untold(&self, running: &mut Running<'_>) -> Option<Timestamp> {
        let untold = running.job.untold.as_ref()?;
        let now = self.clock().now();
        if let Some(next) = untold.next.filter(|next| *next > now && next.since(now) < DAY * 2) {
            return Some(next);
        }
        let outcome = self.tell_of_set(running);
        let next = match (outcome, &mut running.job.untold) {
            (Err(failed), Some(untold)) if !failed.is_stopped => {
                untold.failures = untold.failures.saturating_add(1);
                let delay = self.settings().retry.delay;
                let now = self.clock().now();
                untold.next =
                    Some(due::retry_at(untold.failures, delay, DAY, false, None, self.random(), now));
                untold.next
            }
            (Err(_), _) => None,
            (Ok(()), untold) => {
                *untold = None;
                None
            }
        };
        self.save_told(running);
        next
    }

    /// Once for each set; what the command makes of it is its own business.
    fn tell_activated(&self, running: &mut Running<'_>) {
        if running.job.notified_activated {
            return;
        }
        running.job.notified_activated = true;
        let heard = running.tell(&self.settings().commands, &Event::Activated);
        // Prevented by the end of this process: the next child tells it.
        if heard.is_err_and(|failed| failed.is_stopped) {
            running.job.notified_activated = false;
        }
    }

    /// Makes room in staging for the renewal that follows a live set. That set stays, in a file of its own;
    /// so do the log, which says which command was called when, and what the CA has asked to wait for.
    pub(crate) fn make_room(&self, target: &Managed, running: &mut Running<'_>) -> Result<(), Error> {
        let Job { log, pace, .. } = std::mem::take(&mut running.job);
        running.job = Job { log, pace, ..Job::new(&target.md.name) };
        // First: where this process dies now, the next one finds a renewal under way, whatever of it is left.
        running.save()?;
        Ok(Staging::new(self.store(), &target.md.name).reset()?)
    }
}

fn is_served<'c>(target: &Managed, certs: impl Iterator<Item = &'c CertInfo>) -> bool {
    target.live.load().as_ref().is_some_and(|set| set.is_of(certs))
}

/// The earlier of two looks.
pub(crate) fn earlier(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
        (Next::Never, next) | (next, Next::Never) => next,
    }
}
