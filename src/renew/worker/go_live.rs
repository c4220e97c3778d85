// SPDX-License-Identifier: Apache-2.0
//! Whether a complete set goes live now, later or at a restart, and the way there: its hosts try it, it is
//! published, the workers serve it.

use crate::crypto::{CertInfo, Identity};
use crate::managed::Managed;
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw};
use crate::managed::gate;
use crate::managed::gate::Admitted;
use crate::managed::live_set::{LiveSet, Workers};
use crate::managed::published;
use crate::managed::published::Published;
use crate::managed::serve::Certs;
use crate::managed::withdrawn;
use crate::model::{Job, Md, Outcome, Trial};
use crate::renew::attempt::context::Renewal;
use crate::renew::attempt::progress::Running;
use crate::renew::decide::activation::{self, Due};
use crate::store::{self, WorkGroup};
use crate::time::Timestamp;
use std::time::Duration;

/// The outcome of a complete set.
pub(super) enum Activation {
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

/// How often to look for an OCSP response, and for a disk that works again.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// Has all workers serve the staged set, if its hosts accept it and it is time.
pub(super) fn go_live(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    new: Option<Vec<Bundle>>,
) -> Activation {
    let (name, target, now) = (renewal.name(), renewal.target, renewal.now());
    if new.is_none()
        && published::staged_certs(&renewal.context.store, name)
            .is_some_and(|certs| is_served(target, certs.iter().map(|(_, cert)| cert)))
    {
        return Activation::Live;
    }
    let workers = renewal.context.live().filter(|_| target.live.is_attached());
    if workers.is_none() && new.is_none() && running.job.trial == Some(Trial::Accepted) {
        return Activation::Restart;
    }
    let admitted =
        published::staged(&renewal.context.store, &mut running.job, new).and_then(|(ordered, sets)| {
            let sets = admit(renewal, running, sets)?;
            sign(renewal, &mut running.job, &ordered, &sets);
            Ok((ordered, sets))
        });
    let (ordered, sets) = match admitted {
        Ok(admitted) => admitted,
        Err(Flaw::Store(error @ store::Error::Io { .. })) => {
            crate::log!(Error, "md[{name}]: the staged certificates cannot be read: {}", error.advised());
            return Activation::Waiting(now.plus(PAUSE));
        }
        Err(flaw) if flaw.is_refusal() => return Activation::Refused(flaw.to_string()),
        Err(flaw) => return Activation::Damaged(flaw.to_string()),
    };
    let Some((workers, delay)) = workers else { return Activation::Restart };
    if let Some(waits) = waits(renewal, workers, delay, &sets) {
        return waits;
    }
    publish(renewal, running, workers, &ordered, sets)
}

/// Whether the set has to wait, for its time or for an OCSP response.
fn waits(
    renewal: &Renewal<'_>,
    workers: &dyn Workers,
    delay: Duration,
    sets: &[Bundle],
) -> Option<Activation> {
    let (target, now) = (renewal.target, renewal.now());
    let certs: Vec<CertInfo> = sets.iter().map(|set| set.info.clone()).collect();
    let have_staples = workers.have_staples(renewal.index, &certs);
    match activation::due(&target.md, &target.served(), &certs, delay, have_staples, now) {
        Due::At(at) => Some(Activation::Waiting(at)),
        Due::Stapled => Some(Activation::Waiting(now.plus(PAUSE))),
        Due::Now => None,
    }
}

/// Writes the set where all workers find it, and has them serve it.
fn publish(
    renewal: &Renewal<'_>,
    running: &mut Running<'_>,
    workers: &dyn Workers,
    ordered: &Md,
    sets: Admitted,
) -> Activation {
    let (name, target, now) = (renewal.name(), renewal.target, renewal.now());
    let certs: Vec<CertInfo> = sets.iter().map(|set| set.info.clone()).collect();
    let new_certs =
        Certs::arrange(&target.md.keys(), sets.iter().map(|set| (set.spec.clone(), set.info.clone())));
    if !new_certs.are_for(&target.md, now) {
        return Activation::Damaged("they are for none of the names that the domain has now".into());
    }
    if withdrawn::read_with_fleet(&renewal.context.store, name, now).has_any_of(certs.iter()) {
        return Activation::Damaged("an operator has withdrawn them".into());
    }
    if target.served().outdo(&new_certs, &target.md, now) {
        return Activation::Damaged(
            "the certificates in use serve more names, or are valid for longer".into(),
        );
    }
    let published = Published::new(now, ordered, &running.job, sets);
    let set = match LiveSet::new(&published, &target.md.keys()) {
        Ok(set) => set,
        Err(error) => return Activation::Damaged(error.to_string()),
    };
    if let Err(error) = published.write(&renewal.context.store, name) {
        crate::log!(Error, "md[{name}]: the new certificates cannot go live: {}", error.advised());
        return Activation::Waiting(now.plus(PAUSE));
    }
    workers.publish(renewal.index, set);
    if !is_served(target, certs.iter()) {
        // The log says why.
        return Activation::Restart;
    }
    crate::log!(Notice, "AH10059: The Managed Domain {name} has been setup and is live now.");
    running.job.note(now, "progress", None, Some("The new certificates are live.".into()));
    Activation::Live
}

/// Has the sets pass the gate: by the hosts that will serve them, or where these are not known, by the
/// settings of this machine. A set that ended a start is not tried again by a process that cannot ask the
/// hosts.
fn admit(renewal: &Renewal<'_>, running: &mut Running<'_>, sets: Vec<Bundle>) -> Result<Admitted, Flaw> {
    let identities =
        sets.iter().map(|set| Identity::new(&set.key, &set.chain)).collect::<Result<Vec<_>, _>>();
    let identities = identities.map_err(|error| Flaw::Unusable(error.to_string()))?;
    let trial = match renewal.context.hosts().and_then(|hosts| hosts.try_out(renewal.index, &identities)) {
        Some(Ok(())) => Some(Trial::Accepted),
        Some(Err(reason)) => Some(Trial::Refused(reason)),
        None => running.job.trial.clone(),
    };
    let admitted =
        gate::admit(&renewal.context.store, WorkGroup::Staging, renewal.name(), sets, trial.as_ref())?;
    let job = &mut running.job;
    if let Some(Trial::Refused(_)) = job.trial {
        (job.errors, job.next_run, job.last) = (0, None, Outcome::default());
    }
    job.trial = trial;
    Ok(admitted)
}

/// Lets a start recognize the set that belongs to the job. Without that it is worth no less than one of the C
/// module.
pub(super) fn sign(renewal: &Renewal<'_>, job: &mut Job, ordered: &Md, sets: &[Bundle]) {
    let is_tried = job.trial == Some(Trial::Accepted);
    let code = bundle::vouch(&renewal.context.store, &job.name, ordered, sets, is_tried);
    job.auth = code
        .inspect_err(|error| crate::log!(Warn, "md[{}]: its new set gets no `auth`: {error}", job.name))
        .ok();
}

fn is_served<'c>(target: &Managed, certs: impl Iterator<Item = &'c CertInfo>) -> bool {
    target.live.load().as_ref().is_some_and(|set| set.is_of(certs))
}
