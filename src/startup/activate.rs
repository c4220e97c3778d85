// SPDX-License-Identifier: Apache-2.0
//! Puts complete sets from `staging` into use when httpd starts.
//!
//! A set is read, assembled in `tmp`, passes the [`gate`](crate::managed::gate) and is swapped in: the folder
//! in `domains` goes to `archive`, the one in `tmp` takes its place. Whether it fits today's configuration
//! does not matter here: what is better than the set in use is used, and the renewal does the rest. The
//! process may die between any two steps: what is still staged is activated by the next start, and where
//! `domains` was left empty, [`recover`](crate::startup::recover) ends the swap. Staging is emptied last.

use super::accounts::Accounts;
use super::cleanup;
use super::reconcile::SyncedMd;
use super::recover;
use super::recover::{NewSet, OnTrial, archive_number};
use crate::challenge::answers::Folder;
use crate::managed::bundle;
use crate::managed::bundle::{Bundle, Flaw, JOB_FILE, MD_FILE};
use crate::managed::gate;
use crate::managed::published;
use crate::managed::serve::Certs;
use crate::model::{Job, Md, Trial};
use crate::renew::decide::activation;
use crate::startup::ended_starts::EndedStarts;
use crate::store::auth;
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What became of a staged set.
#[derive(Debug, PartialEq)]
pub enum Activated {
    /// There is none.
    Nothing,
    /// Its job is not finished.
    Unfinished,
    /// It is complete, but to be used only from then on.
    Waiting(Timestamp),
    /// It is in use.
    Done,
    /// It is whole, but TLS servers refuse it, for this reason. It stays in staging, and the one before in
    /// use.
    Refused(String),
    /// It was made under an earlier configuration and is worth less than the one in use. It was purged.
    Outdone,
    /// It has none of the names that the MD has now. It was purged.
    OfOtherNames,
    /// It could not be used, for this reason, and was purged.
    Damaged(String),
}

/// The activation of all MDs in one start.
pub struct Activation<'s> {
    store: &'s StartStore,
    accounts: Accounts,
    /// The accounts that were found in staging, by MD: the directory URL of their CA, and their folder.
    adopted: HashMap<String, Vec<(String, String)>>,
    staged: HashSet<String>,
    /// The highest number in the archive, by MD.
    archived: HashMap<String, u32>,
    ended: EndedStarts,
    /// What was put into use.
    replaced: OnTrial,
}

/// A set that was read whole.
struct Staged {
    job: Value,
    md: Md,
    sets: Vec<Bundle>,
    /// What its hosts said of it.
    trial: Option<Trial>,
}

impl Staged {
    fn is_same(&self, other: &Staged) -> bool {
        let own = self.sets.iter().map(|set| &set.info.fingerprint);
        own.eq(other.sets.iter().map(|set| &set.info.fingerprint))
    }

    /// Fingerprints of its keys.
    fn keys(&self) -> Vec<String> {
        self.sets.iter().map(|set| set.chain.leaf().key_fingerprint()).collect()
    }

    /// Whether a child says that all hosts take it.
    fn is_tried(&self) -> bool {
        self.trial == Some(Trial::Accepted)
    }

    fn certs(&self, md: &Md) -> Certs {
        Certs::arrange(&md.keys(), self.sets.iter().map(|set| (set.spec.clone(), set.info.clone())))
    }
}

/// Why a set was not put into use.
enum Refusal {
    Flaw(Flaw),
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Store(error)
    }
}

impl<'s> Activation<'s> {
    /// Looks at staging, accounts and archive, and moves the accounts that wait in staging. Folders of other
    /// names than the configured ones cost nothing: anybody may have made them.
    pub fn begin(store: &'s StartStore, mds: &[SyncedMd], now: Timestamp) -> Result<Self, Error> {
        let ended = EndedStarts::read(store, now)?;
        let mut accounts = Accounts::read(store)?;
        let mut adopted = HashMap::new();
        let names = || mds.iter().map(|synced| synced.md.name.as_str());
        for (name, error) in store.remove_strangers(Group::Staging, names())? {
            let outcome =
                error.map_or("is removed".to_string(), |error| format!("has to be removed: {error}"));
            crate::log!(
                Warn,
                "md[{name}]: what has the name of its folder in staging, a symbolic link or a file, {outcome}. No renewal \
                 could write there."
            );
        }
        // An account outlives the domain that registered it. Folders in `domains` nobody but who starts httpd
        // has made.
        let former = store.names(Group::Domains)?;
        let mut staged = store.present(Group::Staging, names().chain(former.iter().map(String::as_str)))?;
        let asks = |md: &Md, ca: &str| md.ca.urls.iter().any(|url| url == ca);
        let is_bound = |md: &Md, kid: Option<&str>| md.eab.as_ref().map(|eab| eab.kid.as_str()) == kid;
        let is_wanted = |ca: &str, kid: Option<&str>| {
            mds.iter().any(|synced| asks(&synced.md, ca) && is_bound(&synced.md, kid))
        };
        let configured: HashSet<&str> = names().collect();
        let former = former.iter().map(String::as_str).filter(|name| !configured.contains(name));
        for name in names().chain(former).filter(|name| staged.contains(*name)) {
            match accounts.adopt(store, name, &is_wanted) {
                Ok(accounts) => drop(adopted.insert(name.to_string(), accounts)),
                Err(e) => {
                    crate::log!(Warn, "md[{name}]: the new ACME account cannot be saved: {}", e.advised())
                }
            }
        }
        staged.retain(|name| configured.contains(name.as_str()));
        let mut archived = HashMap::new();
        for (name, number) in store.names(Group::Archive)?.iter().filter_map(|folder| archive_number(folder))
        {
            let highest = archived.entry(name.to_string()).or_default();
            *highest = number.max(*highest);
        }
        Ok(Activation { store, accounts, adopted, staged, archived, ended, replaced: OnTrial::new() })
    }

    /// The sets that were put into use.
    pub fn replaced(self) -> OnTrial {
        self.replaced
    }

    /// Puts the staged set of an MD into use, if there is one. One that takes the place of good certificates
    /// has to be valid for at least `delay`. `synced` then says what is in use. An error leaves staging as it
    /// is, for the next start.
    pub fn activate(
        &mut self,
        synced: &mut SyncedMd,
        now: Timestamp,
        delay: Duration,
    ) -> Result<Activated, Error> {
        let name = synced.md.name.clone();
        if !self.staged.contains(&name) {
            return Ok(Activated::Nothing);
        }
        if self.store.modified(Group::Staging, &name, JOB_FILE).is_ok_and(|time| time.is_none()) {
            return self.activate_without_job(synced, now);
        }
        if cleanup::has_no_set(self.store, &name)? {
            return Ok(Activated::Unfinished);
        }
        let staged = self.load(&name);
        let live = self.load_live(&name)?;
        let is_same = matches!((&staged, &live), (Ok(Some(staged)), Some(live)) if staged.is_same(live));
        let objection = live.as_ref().and_then(|live| self.objection(&name, live));
        // Children serve what one of them has published.
        let is_held = objection.is_some() && live.as_ref().is_some_and(Staged::is_tried);
        if let Some(reason) = objection.as_ref().filter(|_| !is_same) {
            crate::log!(
                Error,
                "AH10069: md[{name}]: the set that was live is not put into use, what is installed stays: {reason}"
            );
        }
        let live = live.filter(|_| !is_same && objection.is_none());
        let is_live_used = match live {
            Some(live) => self.use_live(synced, live, now)?,
            None => false,
        };
        let activated = match staged {
            Ok(Some(staged)) => self.use_staged(synced, staged, is_same, now, delay)?,
            Ok(None) => Activated::Unfinished,
            Err(Flaw::Store(error @ Error::Io { .. })) => return Err(error),
            Err(flaw) => {
                cleanup::purge_job(self.store, &name)?;
                Activated::Damaged(flaw.to_string())
            }
        };
        if activated == Activated::Done {
            return Ok(Activated::Done);
        }
        // A renewal is under way; what was live meanwhile has its place in `domains` now, or must never have
        // one.
        if !is_held {
            self.store.remove(Group::Staging, &name, published::FILE)?;
        }
        Ok(match activated {
            Activated::Damaged(reason) if is_live_used => {
                crate::log!(Error, "AH10069: md[{name}]: error loading staged set, purging it: {reason}");
                Activated::Done
            }
            Activated::Refused(_) | Activated::Damaged(_) => activated,
            _ if is_live_used => Activated::Done,
            activated => activated,
        })
    }

    /// A purge that was interrupted: by name, the job goes before the files of the set. Or somebody has
    /// removed the job, and the set that is live may be in no other place.
    fn activate_without_job(&mut self, synced: &mut SyncedMd, now: Timestamp) -> Result<Activated, Error> {
        let name = synced.md.name.clone();
        let live = self.load_live(&name)?;
        if let Some((live, reason)) =
            live.as_ref().and_then(|live| Some((live, self.objection(&name, live)?)))
        {
            crate::log!(
                Error,
                "AH10069: md[{name}]: the set that was live is not put into use, what is installed stays: {reason}"
            );
            // What a child has tried is served by children.
            if !live.is_tried() {
                cleanup::purge(self.store, &name)?;
            }
            return Ok(Activated::Nothing);
        }
        let is_used = match live {
            Some(live) => self.use_live(synced, live, now)?,
            None => false,
        };
        cleanup::purge(self.store, &name)?;
        Ok(if is_used { Activated::Done } else { Activated::Nothing })
    }

    /// Tells whether the set that was live is in use now. One that cannot be used is as good as none; one
    /// that cannot be put into use now is kept, as the error says.
    fn use_live(&mut self, synced: &mut SyncedMd, live: Staged, now: Timestamp) -> Result<bool, Error> {
        if self.is_of_no_use(synced, &live, now).is_some() {
            return Ok(false);
        }
        match self.put_in_use(synced, live) {
            Ok(()) => Ok(true),
            Err(Refusal::Flaw(flaw)) => {
                let name = &synced.md.name;
                crate::log!(Warn, "md[{name}]: the set that was live cannot be used any more: {flaw}");
                Ok(false)
            }
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    fn use_staged(
        &mut self,
        synced: &mut SyncedMd,
        staged: Staged,
        is_live: bool,
        now: Timestamp,
        delay: Duration,
    ) -> Result<Activated, Error> {
        let name = synced.md.name.clone();
        // What has been live does not wait.
        let new = staged.sets.iter().map(|set| &set.info);
        if !is_live && let Some(start) = activation::waits_until(&synced.md, &synced.certs, new, delay, now) {
            return Ok(Activated::Waiting(start));
        }
        if let Some(reason) = self.objection(&name, &staged) {
            return Ok(Activated::Refused(reason));
        }
        if let Some(reason) = self.is_of_no_use(synced, &staged, now) {
            cleanup::purge_job(self.store, &name)?;
            return Ok(reason);
        }
        let job = Job::from_json(&name, &staged.job);
        let refused = match self.put_in_use(synced, staged) {
            Ok(()) => None,
            Err(Refusal::Store(error)) => return Err(error),
            Err(Refusal::Flaw(flaw)) if flaw.is_refusal() => Some(flaw.to_string()),
            Err(Refusal::Flaw(flaw)) => {
                cleanup::purge_job(self.store, &name)?;
                return Ok(Activated::Damaged(flaw.to_string()));
            }
        };
        if let Some(reason) = refused {
            if let Some(job) = job {
                recover::note_refused(self.store, job, &reason, now)?;
            }
            return Ok(Activated::Refused(reason));
        }
        for domain in &synced.md.domains {
            // Challenge folders carry the plain name of a wildcard.
            let name = domain.strip_prefix("*.").unwrap_or(domain);
            Folder { store: self.store, group: Group::Challenges, name }.remove(&synced.md.name)?;
        }
        cleanup::purge(self.store, &name)?;
        Ok(Activated::Done)
    }

    fn objection(&self, name: &str, staged: &Staged) -> Option<String> {
        self.ended.objection(name, &staged.keys(), staged.is_tried())
    }

    /// Whether clients would have nothing of the set, or have more of the one in use.
    fn is_of_no_use(&self, synced: &SyncedMd, staged: &Staged, now: Timestamp) -> Option<Activated> {
        let (md, certs) = (&synced.md, staged.certs(&synced.md));
        if !certs.are_for(md, now) {
            return Some(Activated::OfOtherNames);
        }
        (!md.has_static_files() && synced.certs.outdo(&certs, md, now)).then_some(Activated::Outdone)
    }

    /// Afterwards `domains` has the set, and `synced` says so.
    fn put_in_use(&mut self, synced: &mut SyncedMd, staged: Staged) -> Result<(), Refusal> {
        let name = synced.md.name.clone();
        let mut md = synced.md.clone();
        let adopted = self.adopted.get(&name).map(Vec::as_slice).unwrap_or_default();
        self.accounts.name_ca(adopted, &mut md, &staged.md);
        let certs = staged.certs(&md);
        let is_in_use = self.is_in_use(&name, &staged.sets);
        let mut stored = None;
        if !is_in_use {
            let json = md.to_json();
            self.assemble(&name, &json, &staged)?;
            let keys = staged.keys();
            gate::admit(self.store, Group::Tmp, &name, staged.sets, staged.trial.as_ref()).map_err(
                |flaw| {
                    // What was assembled must not be taken for a swap that was interrupted.
                    match self.store.purge(Group::Tmp, &name) {
                        Ok(()) => Refusal::Flaw(flaw),
                        Err(error) => Refusal::Store(error),
                    }
                },
            )?;
            let archived = self.swap(&name)?;
            let leaves = recover::leaves(self.store, Group::Domains, &name);
            self.replaced.insert(name.clone(), NewSet { leaves, keys, archived });
            stored = Some(json);
        }
        synced.md = md;
        // Hosts of static files are served with these all the same.
        if !synced.md.has_static_files() {
            synced.certs = certs;
        }
        synced.assess();
        if stored.is_some() {
            synced.stored = stored;
            synced.folder.clone_from(&name);
            synced.is_home = true;
        }
        Ok(())
    }

    /// The set that was served without a restart. One that cannot be read is reported and is as good as none.
    fn load_live(&self, name: &str) -> Result<Option<Staged>, Error> {
        match published::read_at_start(self.store, name) {
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
    fn load(&self, name: &str) -> Result<Option<Staged>, Flaw> {
        let Some(json) = self.store.read_json(Group::Staging, name, JOB_FILE)? else { return Ok(None) };
        let Some(job) = Job::from_json(name, &json).filter(|job| job.finished) else { return Ok(None) };
        let md = self.store.read_json(Group::Staging, name, MD_FILE)?;
        let md = md.as_ref().and_then(Md::from_json).ok_or(Flaw::NoMd)?;
        let load = |spec| bundle::load(self.store, Group::Staging, name, &spec);
        let sets: Vec<Bundle> = md.keys().into_iter().map(load).collect::<Result<_, _>>()?;
        let trial = bundle::trial(self.store, &job, &md, &sets)?;
        Ok(Some(Staged { job: json, md, sets, trial }))
    }

    /// Whether the process died after the swap, before staging was emptied.
    fn is_in_use(&self, name: &str, sets: &[Bundle]) -> bool {
        sets.iter().all(|staged| {
            bundle::load(self.store, Group::Domains, name, &staged.spec)
                .is_ok_and(|live| live.info.fingerprint == staged.info.fingerprint)
        })
    }

    /// md.json is written last: a folder in `tmp` that has one is complete.
    fn assemble(&self, name: &str, json: &Value, staged: &Staged) -> Result<(), Error> {
        self.store.purge(Group::Tmp, name)?;
        for set in &staged.sets {
            bundle::write(self.store, Group::Tmp, name, set)?;
        }
        // The code was for staging.
        self.store.write_json(Group::Tmp, name, JOB_FILE, &auth::bare(&staged.job))?;
        self.store.write_json(Group::Tmp, name, MD_FILE, json)
    }

    /// Gives the folder in the archive where the set before is now.
    fn swap(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut archived = None;
        if self.store.exists(Group::Domains, name)? {
            let number = self.archived.entry(name.to_string()).or_default();
            *number += 1;
            let folder = format!("{name}.{number}");
            self.store.rename(Group::Domains, name, Group::Archive, &folder)?;
            archived = Some(folder);
        }
        let swapped = self.store.rename(Group::Tmp, name, Group::Domains, name);
        if let (Err(_), Some(folder)) = (&swapped, &archived) {
            // Better the old set than none, for this start.
            self.store.rename(Group::Archive, folder, Group::Domains, name)?;
        }
        swapped.map(|()| archived)
    }
}

#[cfg(test)]
mod tests;
