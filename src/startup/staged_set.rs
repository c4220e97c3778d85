// SPDX-License-Identifier: Apache-2.0
//! A set of keys and chains that waits in `staging`, or was served from there without a restart: read whole,
//! with the settings it was ordered for. Changes nothing; whether it comes into use is decided in
//! [`super::activate`], which imports this file.

use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw, JOB_FILE, MD_FILE};
use crate::managed::published;
use crate::managed::serve::Certs;
use crate::model::{Job, Md, Trial};
use crate::store::{Error, Group, StartStore};
use serde_json::Value;

/// A set that was read whole.
pub(super) struct Staged {
    pub job: Value,
    pub md: Md,
    pub sets: Vec<Bundle>,
    /// The verdict of its hosts.
    pub trial: Option<Trial>,
}

impl Staged {
    pub fn is_same(&self, other: &Staged) -> bool {
        let own = self.sets.iter().map(|set| &set.info.fingerprint);
        own.eq(other.sets.iter().map(|set| &set.info.fingerprint))
    }

    /// Fingerprints of its keys.
    pub fn keys(&self) -> Vec<String> {
        self.sets.iter().map(|set| set.chain.leaf().key_fingerprint()).collect()
    }

    /// Whether a child says that all hosts take it.
    pub fn is_tried(&self) -> bool {
        self.trial == Some(Trial::Accepted)
    }

    pub fn certs(&self, md: &Md) -> Certs {
        Certs::arrange(&md.keys(), self.sets.iter().map(|set| (set.spec.clone(), set.info.clone())))
    }
}

/// The set that was served without a restart. One that cannot be read is reported and is as good as none.
pub(super) fn load_live(store: &StartStore, name: &str) -> Result<Option<Staged>, Error> {
    match published::read_at_start(store, name) {
        Ok(published) => Ok(published.map(|(live, is_ours)| Staged {
            job: live.job,
            md: live.md,
            sets: live.sets,
            trial: is_ours.then_some(Trial::Accepted),
        })),
        Err(Flaw::Store(error @ Error::Io { .. })) => Err(error),
        Err(flaw) => {
            crate::log!(Warn, "md[{name}]: the set that was live cannot be used any more: {flaw}");
            Ok(None)
        }
    }
}

/// Reads the staged set, with the keys that it was ordered for.
pub(super) fn load(store: &StartStore, name: &str) -> Result<Option<Staged>, Flaw> {
    let Some(json) = store.read_json(Group::Staging, name, JOB_FILE)? else { return Ok(None) };
    let Some(job) = Job::from_json(name, &json).filter(|job| job.finished) else { return Ok(None) };
    let md = store.read_json(Group::Staging, name, MD_FILE)?;
    let md = md.as_ref().and_then(Md::from_json).ok_or(Flaw::NoMd)?;
    let load = |spec| bundle::load(store, Group::Staging, name, &spec);
    let sets: Vec<Bundle> = md.keys().into_iter().map(load).collect::<Result<_, _>>()?;
    let trial = bundle::trial(store, &job, &md, &sets)?;
    Ok(Some(Staged { job: json, md, sets, trial }))
}
