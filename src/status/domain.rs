// SPDX-License-Identifier: Apache-2.0
//! One managed domain as all pages show it, as plain values: its standing, its certificates and the next step
//! of its renewal. Reads no file and prints nothing.

use super::renewal_need::RenewalNeed;
use super::standing::{Action, Facts, Next, Standing};
use crate::crypto::CertInfo;
use crate::managed::certificates::{self, KeyedCert};
use crate::managed::live_set::LiveSet;
use crate::managed::save_error::Loss;
use crate::managed::serve::Source;
use crate::managed::{Host, Managed};
use crate::model::{Job, Renewing, Requested, State, Trial};
use crate::renew::decide::due::Decision;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;

/// A renewal under way, or waiting for its activation.
pub struct Renewal {
    pub job: Job,
    /// The certificates it has obtained so far, one entry for each key of the MD.
    pub staged: Vec<KeyedCert>,
}

impl Renewal {
    /// The certificates there are, each with the name of its key.
    pub fn labeled(&self) -> impl Iterator<Item = (String, &CertInfo)> {
        self.staged.iter().filter_map(|(spec, cert)| Some((spec.label().to_string(), cert.as_ref()?)))
    }
}

/// One managed domain at one moment.
pub struct Domain<'a> {
    pub managed: &'a Managed,
    /// The set that has come into use since the start.
    pub live: Option<Arc<LiveSet>>,
    /// The number of processes that serve it.
    pub workers: usize,
    pub renewal: Option<Arc<Renewal>>,
    /// What an operator has asked for, also where no renewal came of it.
    pub requested: Option<Arc<Requested>>,
    pub need: Arc<RenewalNeed>,
    /// The state of the renewal could not be saved, so the state shown may be old.
    pub save_error: Option<Loss>,
    /// The node of the fleet that renews it.
    pub renewing: Option<Arc<Renewing>>,
}

/// The way a set of certificates comes, or came, into use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    pub mode: &'static str,
    /// Of the set's first certificate.
    pub serial: String,
    pub since: Option<Timestamp>,
    /// How many processes serve it.
    pub workers: usize,
}

impl Domain<'_> {
    /// The certificates that this process serves, one entry for each key of the MD.
    pub fn certs(&self) -> &[KeyedCert] {
        self.live.as_ref().map_or(&*self.managed.certs, |set| &*set.certs)
    }

    /// These and the ones for keys that are no longer configured, which are served if there are no others.
    pub fn all_certs(&self) -> Cow<'_, [KeyedCert]> {
        let certs = self.live.as_ref().map_or(&self.managed.certs, |set| &set.certs);
        match certs.spare.as_slice() {
            [] => Cow::Borrowed(&certs.keyed),
            spare => Cow::Owned([certs.keyed.as_slice(), spare].concat()),
        }
    }

    /// The TLS hosts of the domain, and whose certificate each serves: `md`, `file`, or `self-signed`.
    pub fn hosts(&self) -> impl Iterator<Item = (&Host, &'static str)> {
        let is_live = self.live.is_some();
        self.managed.hosts.iter().map(move |host| {
            let source = if is_live && host.is_live { Source::Md } else { host.source };
            (host, source.label())
        })
    }

    /// The certificates in use, each with the name its key has on pages: static files go by their place in
    /// the list.
    pub fn labeled(&self) -> impl Iterator<Item = (String, &CertInfo)> {
        let is_static = self.managed.md.has_static_files();
        let certs = self.live.as_ref().map_or(&self.managed.certs, |set| &set.certs);
        certs.keyed.iter().chain(&certs.spare).enumerate().filter_map(move |(index, (spec, cert))| {
            let label = if is_static { index.to_string() } else { spec.label().to_string() };
            cert.as_ref().map(|cert| (label, cert))
        })
    }

    /// The state of the certificates served now.
    pub fn state(&self) -> (State, Option<String>) {
        match &self.live {
            Some(set) => certificates::assess(&self.managed.md, &set.certs),
            None => (self.managed.md.state, self.managed.md.state_descr.clone()),
        }
    }

    /// The facts that its standing follows from.
    pub fn facts(&self) -> Facts {
        let (managed, need) = (self.managed, &self.need);
        Facts {
            is_used: managed.md.is_wanted(managed.in_use && !managed.lacks_tls),
            is_renewed: managed.md.left_alone().is_none(),
            certs: need.certs,
            has_successor: self.ready().is_some(),
            is_due: matches!(need.decision, Decision::Now(_)) || self.next().is_some(),
            is_failing: self.is_failing() || self.save_error.is_some(),
        }
    }

    /// Its standing, in the word that all pages use.
    pub fn standing(&self, now: Timestamp) -> Standing {
        self.facts().standing(now)
    }

    /// The same for people, with the time that is left where that is why.
    pub fn said(&self, now: Timestamp) -> Cow<'static, str> {
        self.standing(now).said(self.need.certs.map(|certs| certs.until), now)
    }

    /// Whether the renewal has failed and was not successful since.
    pub fn is_failing(&self) -> bool {
        self.errors() > 0
    }

    /// How often it has failed in a row, also where only memory knows.
    pub fn errors(&self) -> u32 {
        let stored = || self.renewal.as_ref().map_or(0, |renewal| renewal.job.errors);
        self.save_error.map_or_else(stored, |loss| loss.errors)
    }

    /// The finished renewal whose set is not in use yet.
    pub fn ready(&self) -> Option<&Renewal> {
        let is_waiting = |job: &Job| job.finished && !matches!(job.trial, Some(Trial::Refused(_)));
        let renewal = self.renewal.as_deref().filter(|renewal| is_waiting(&renewal.job))?;
        let serials = |certs: &[KeyedCert]| -> Vec<String> {
            certs.iter().filter_map(|(_, cert)| cert.as_ref().map(|cert| cert.fingerprint.clone())).collect()
        };
        (serials(&renewal.staged) != serials(self.certs())).then_some(renewal)
    }

    /// `None` where the set in use was there at the start and no other is complete.
    pub fn activation(&self) -> Option<Activation> {
        let serial = |certs: &[KeyedCert]| {
            certs
                .iter()
                .find_map(|(_, cert)| cert.as_ref().map(|cert| cert.serial.clone()))
                .unwrap_or_default()
        };
        if let Some(renewal) = self.ready() {
            let mode = if self.managed.live.is_attached() { "pending" } else { "restart" };
            let since = renewal.job.latest("finished");
            return Some(Activation { mode, serial: serial(&renewal.staged), since, workers: 0 });
        }
        let live = self.live.as_ref()?;
        Some(Activation {
            mode: "live",
            serial: serial(&live.certs),
            since: Some(live.since),
            workers: self.workers,
        })
    }

    /// `None` without a renewal, or where nothing is left to do.
    pub fn next(&self) -> Option<Next> {
        let job = &self.renewal.as_ref()?.job;
        let is_refused = matches!(job.trial, Some(Trial::Refused(_)));
        // Also between the looks of one try.
        if let Some(waiting) = job.waiting.as_ref().filter(|_| !job.finished) {
            let action = if waiting.records.is_empty() { Action::WaitForCa } else { Action::WaitForRecord };
            return Some(Next { action, at: job.next_run.or(waiting.next) });
        }
        let action = match (job.finished && !is_refused, job.next_run) {
            (true, Some(_)) => Action::RetryCommand,
            (true, None) if self.ready().is_none() => return None,
            (true, None) if self.managed.live.is_attached() => Action::Activate,
            (true, None) => Action::ActivateOnRestart,
            (false, None) if job.has_failed_to_warn() => return None,
            (false, Some(_)) if job.is_postponed() => Action::RetryCommand,
            (false, Some(_)) if job.held_back.is_some() => Action::Renew,
            (false, Some(_)) => Action::Retry,
            (false, None) => Action::Finish,
        };
        Some(Next { action, at: job.next_run })
    }
}
