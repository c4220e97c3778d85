// SPDX-License-Identifier: Apache-2.0
//! Puts complete sets from `staging` into use when httpd starts.
//!
//! A set is read, assembled in `tmp`, passes the [`gate`](crate::managed::gate) and is swapped in: the folder
//! in `domains` goes to `archive`, the one in `tmp` takes its place. Whether it fits today's configuration
//! does not matter here: a set that is better than the one in use is activated, and the renewal does the
//! rest. The process may die between any two steps: the next start activates sets that are still staged, and
//! where `domains` was left empty, [`recover`](crate::startup::recover) ends the swap. Staging is emptied
//! last. A set is on the disk before it is swapped in. For the swaps of all domains the disk is waited for once, since
//! httpd serves nobody meanwhile, and to wait at each step of each domain takes a site with thousands of them minutes.

use super::accounts::Accounts;
use super::cleanup;
use super::ended_starts::EndedStarts;
use super::recover;
use super::recover::{NewSet, OnTrial};
use super::staged_set;
use super::staged_set::Staged;
use super::stored_md::{Print, StoredMd};
use super::swap;
use super::swap::Archive;
use super::trial::LoadTrial;
use crate::challenge::answers::Folder;
use crate::managed::bundle::{Flaw, JOB_FILE};
use crate::managed::gate;
use crate::managed::published;
use crate::managed::staging;
use crate::managed::withdrawn::Elsewhere;
use crate::model::{Job, Md};
use crate::renew::decide::activation;
use crate::store::{Error, Group, StartStore};
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The outcome of a staged set.
#[derive(Debug, PartialEq)]
pub enum Activated {
    /// There is none.
    Nothing,
    /// Its job is not finished.
    Unfinished,
    /// It is complete, but is used only from then on.
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
    /// An operator has withdrawn it, and what is in use is no worse. It was purged.
    Withdrawn,
    /// It could not be used, for this reason, and was purged.
    Damaged(String),
}

/// The activation of all MDs in one start.
pub struct Activation<'s> {
    store: &'s StartStore,
    /// The same store, for what is flushed later.
    unsynced: StartStore,
    accounts: Accounts,
    /// The accounts that were found in staging, by MD: the directory URL of their CA, and their folder.
    adopted: HashMap<String, Vec<(String, String)>>,
    staged: HashSet<String>,
    archive: Archive,
    ended: EndedStarts,
    /// Read once: it tells of all MDs.
    elsewhere: Elsewhere,
    now: Timestamp,
    /// The sets that came into use, those of earlier starts too.
    trial: LoadTrial,
    /// The MDs with a set in use that staging has, too.
    in_use: HashSet<String>,
    /// What staging and challenges have of these until the disk has their sets.
    left: Vec<Left>,
}

/// When job.json and live.json were last written.
type Seen = [Option<Timestamp>; 2];

/// Files of an MD that nothing needs once its set is in use.
struct Left {
    name: String,
    files: Files,
    /// As they were when its set came into use.
    seen: Seen,
}

enum Files {
    /// All of its staging.
    Staged,
    /// Its live set.
    Live,
    /// Answers to challenges for these names.
    Answers(Vec<String>),
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
    pub fn begin(store: &'s StartStore, mds: &[&Md], now: Timestamp) -> Result<Self, Error> {
        let ended = EndedStarts::read(store, now)?;
        let mut accounts = Accounts::read(store)?;
        let names = || mds.iter().map(|md| md.name.as_str());
        for (name, error) in store.remove_strangers(Group::Staging, names())? {
            let outcome = error.map_or("is removed".to_string(), |error| format!("must be removed: {error}"));
            crate::log!(
                Warn,
                "md[{name}]: a symbolic link or a file has the name of its folder in staging, and {outcome}. No \
                 renewal could write there."
            );
        }
        // An account outlives the domain that registered it. Only the user who starts httpd makes folders in
        // `domains`.
        let former = store.names(Group::Domains)?;
        let mut staged = store.present(Group::Staging, names().chain(former.iter().map(String::as_str)))?;
        let configured: HashSet<&str> = names().collect();
        let former = former.iter().map(String::as_str).filter(|name| !configured.contains(name));
        let waiting = names().chain(former).filter(|name| staged.contains(*name));
        let adopted = accounts.adopt_all(store, waiting, mds);
        staged.retain(|name| configured.contains(name.as_str()));
        let archive = Archive::read(store)?;
        let (elsewhere, unsynced) = (Elsewhere::read(store), store.unsynced());
        let (trial, in_use, left) = Default::default();
        Ok(Activation {
            store,
            unsynced,
            accounts,
            adopted,
            staged,
            archive,
            ended,
            elsewhere,
            now,
            trial,
            in_use,
            left,
        })
    }

    /// Goes on with a trial that began before.
    #[must_use]
    pub fn with_trial(self, trial: LoadTrial) -> Self {
        Activation { trial, ..self }
    }

    /// Has the sets that came into use on the disk, then empties their staging. Returns the trial of these sets.
    pub fn finish(self) -> LoadTrial {
        if self.in_use.is_empty() {
            return self.trial;
        }
        let groups = [Group::Domains, Group::Archive, Group::Tmp];
        if let Err(error) = groups.iter().try_for_each(|group| self.store.flush_names(*group)) {
            crate::log!(
                Error,
                "the disk does not take it that certificates came into use, which stay in staging as well: {}",
                error.advised()
            );
            return self.trial;
        }
        // A child of another httpd on this store may have written there: that is for the next start.
        for left in self.left.iter().filter(|left| left.seen == self.staged_files(&left.name)) {
            if let Err(error) = self.remove(left) {
                crate::log!(
                    Warn,
                    "md[{}]: its certificates are in use, and what staging has of them cannot be removed: {}",
                    left.name,
                    error.advised()
                );
            }
        }
        self.trial
    }

    fn staged_files(&self, name: &str) -> Seen {
        let written = |file| self.store.modified(Group::Staging, name, file).ok().flatten();
        [JOB_FILE, published::FILE].map(written)
    }

    /// Removes files of an MD: where its set came into use, once the disk has it.
    fn leave(&mut self, name: &str, files: Files) -> Result<(), Error> {
        let left = Left { name: name.to_string(), files, seen: self.staged_files(name) };
        if self.in_use.contains(name) {
            self.left.push(left);
            return Ok(());
        }
        self.remove(&left)
    }

    fn remove(&self, left: &Left) -> Result<(), Error> {
        match &left.files {
            Files::Staged => staging::purge(self.store, &left.name),
            Files::Live => self.store.remove(Group::Staging, &left.name, published::FILE),
            Files::Answers(names) => names.iter().try_for_each(|name| {
                Folder { store: self.store, group: Group::Challenges, name }.remove(&left.name)
            }),
        }
    }

    /// Puts the staged set of an MD into use, if there is one. One that takes the place of good certificates
    /// has to be valid for at least `delay`. `md` and `stored` then describe the set in use. An error leaves
    /// staging unchanged, for the next start.
    pub fn activate(
        &mut self,
        md: &mut Md,
        stored: &mut StoredMd,
        delay: Duration,
    ) -> Result<Activated, Error> {
        let name = md.name.clone();
        if !self.staged.contains(&name) {
            return Ok(Activated::Nothing);
        }
        if self.store.modified(Group::Staging, &name, JOB_FILE).is_ok_and(|time| time.is_none()) {
            return self.activate_without_job(md, stored);
        }
        if cleanup::has_no_set(self.store, &name)? {
            return Ok(Activated::Unfinished);
        }
        let staged = staged_set::load(self.store, &name);
        let live = staged_set::load_live(self.store, &name)?;
        let is_same = matches!((&staged, &live), (Ok(Some(staged)), Some(live)) if staged.is_same(live));
        let objection = live.as_ref().and_then(|live| self.objection(&name, live));
        // Children serve sets that one of them has published.
        let is_held = objection.is_some()
            && live.as_ref().is_some_and(|live| live.is_tried() && !self.is_withdrawn(md, stored, live));
        if let Some(reason) = objection.as_ref().filter(|_| !is_same) {
            report_objection(&name, reason);
        }
        let is_live_used = match live.filter(|_| !is_same && objection.is_none()) {
            Some(live) => self.use_live(md, stored, live)?,
            None => false,
        };
        let activated = self.use_read(md, stored, staged, is_same, delay)?;
        if activated == Activated::Done {
            return Ok(Activated::Done);
        }
        // A renewal is in progress; the set that was live meanwhile is in `domains` now, or must never get
        // there.
        if !is_held {
            self.leave(&name, Files::Live)?;
        }
        Ok(after_live(&name, activated, is_live_used))
    }

    /// A purge that was interrupted: by name, the job goes before the files of the set. Or a user has removed
    /// the job, and the set that is live may be in no other place.
    fn activate_without_job(&mut self, md: &mut Md, stored: &mut StoredMd) -> Result<Activated, Error> {
        let name = md.name.clone();
        let live = staged_set::load_live(self.store, &name)?;
        let objected = live.as_ref().and_then(|live| Some((live, self.objection(&name, live)?)));
        if let Some((live, reason)) = objected {
            report_objection(&name, &reason);
            // Children serve sets that a child has tried.
            if !live.is_tried() || self.is_withdrawn(md, stored, live) {
                staging::purge(self.store, &name)?;
            }
            return Ok(Activated::Nothing);
        }
        let is_used = match live {
            Some(live) => self.use_live(md, stored, live)?,
            None => false,
        };
        self.leave(&name, Files::Staged)?;
        Ok(if is_used { Activated::Done } else { Activated::Nothing })
    }

    /// Tells whether the set that was live is in use now. One that cannot be used is as good as none; one
    /// that cannot be put into use now is kept, as the error says.
    fn use_live(&mut self, md: &mut Md, stored: &mut StoredMd, live: Staged) -> Result<bool, Error> {
        if self.is_of_no_use(md, stored, &live).is_some() {
            return Ok(false);
        }
        match self.put_in_use(md, stored, live) {
            Ok(()) => Ok(true),
            Err(Refusal::Flaw(flaw)) => {
                crate::log!(Warn, "md[{}]: the set that was live cannot be used any more: {flaw}", md.name);
                Ok(false)
            }
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    /// Uses the staged set as far as it could be read.
    fn use_read(
        &mut self,
        md: &mut Md,
        stored: &mut StoredMd,
        staged: Result<Option<Staged>, Flaw>,
        is_live: bool,
        delay: Duration,
    ) -> Result<Activated, Error> {
        match staged {
            Ok(Some(staged)) => self.use_staged(md, stored, staged, is_live, delay),
            Ok(None) => Ok(Activated::Unfinished),
            Err(Flaw::Store(error @ Error::Io { .. })) => Err(error),
            Err(flaw) => {
                staging::purge_job(self.store, &md.name)?;
                Ok(Activated::Damaged(flaw.to_string()))
            }
        }
    }

    fn use_staged(
        &mut self,
        md: &mut Md,
        stored: &mut StoredMd,
        staged: Staged,
        is_live: bool,
        delay: Duration,
    ) -> Result<Activated, Error> {
        let name = md.name.clone();
        // A set that has been live does not wait.
        let new = staged.sets.iter().map(|set| &set.info);
        if !is_live && let Some(start) = activation::waits_until(md, &stored.certs, new, delay, self.now) {
            return Ok(Activated::Waiting(start));
        }
        if let Some(reason) = self.objection(&name, &staged) {
            return Ok(Activated::Refused(reason));
        }
        if let Some(reason) = self.is_of_no_use(md, stored, &staged) {
            staging::purge_job(self.store, &name)?;
            return Ok(reason);
        }
        let job = Job::from_json(&name, &staged.job);
        match self.put_in_use(md, stored, staged) {
            Ok(()) => {}
            Err(Refusal::Store(error)) => return Err(error),
            Err(Refusal::Flaw(flaw)) if flaw.is_refusal() => {
                let reason = flaw.to_string();
                if let Some(job) = job {
                    recover::note_refused(self.store, job, &reason, self.now)?;
                }
                return Ok(Activated::Refused(reason));
            }
            Err(Refusal::Flaw(flaw)) => {
                staging::purge_job(self.store, &name)?;
                return Ok(Activated::Damaged(flaw.to_string()));
            }
        }
        // Challenge folders carry the plain name of a wildcard.
        let names = md.domains.iter().map(|domain| domain.strip_prefix("*.").unwrap_or(domain).to_string());
        self.leave(&name, Files::Answers(names.collect()))?;
        self.leave(&name, Files::Staged)?;
        Ok(Activated::Done)
    }

    fn objection(&self, name: &str, staged: &Staged) -> Option<String> {
        self.ended.objection(name, &staged.keys(), staged.is_tried())
    }

    /// Whether clients would have nothing of the set, or have more of the one in use.
    fn is_of_no_use(&self, md: &Md, stored: &StoredMd, staged: &Staged) -> Option<Activated> {
        let certs = staged.certs(md);
        if !certs.are_for(md, self.now) {
            return Some(Activated::OfOtherNames);
        }
        if self.is_withdrawn(md, stored, staged) {
            return Some(Activated::Withdrawn);
        }
        let is_outdone = !md.has_static_files() && stored.certs.outdo(&certs, md, self.now);
        is_outdone.then_some(Activated::Outdone)
    }

    fn is_withdrawn(&self, md: &Md, stored: &StoredMd, staged: &Staged) -> bool {
        let withdrawn = self.elsewhere.with(self.store, &md.name, self.now);
        withdrawn.bars(&staged.certs(md), &stored.certs, md, self.now)
    }

    /// Afterwards `domains` has the set, and `md` and `stored` say so.
    fn put_in_use(&mut self, md: &mut Md, stored: &mut StoredMd, staged: Staged) -> Result<(), Refusal> {
        let name = md.name.clone();
        let mut named = md.clone();
        let adopted = self.adopted.get(&name).map(Vec::as_slice).unwrap_or_default();
        self.accounts.name_ca(adopted, &mut named, &staged.md);
        let certs = staged.certs(&named);
        let is_new = !swap::is_in_use(self.store, &name, &staged.sets);
        let json = named.to_json();
        if is_new {
            self.swap_in(&name, &json, staged)?;
        }
        self.in_use.insert(name.clone());
        *md = named;
        // Hosts of static files are served with these all the same.
        if !md.has_static_files() {
            stored.certs = certs;
        }
        stored.assess(md);
        if is_new {
            stored.json = Some(Print::of(&json));
            stored.folder = name;
            stored.is_home = true;
        }
        Ok(())
    }

    fn swap_in(&mut self, name: &str, json: &Value, staged: Staged) -> Result<(), Refusal> {
        let mut leaves: Vec<String> =
            staged.sets.iter().map(|set| set.chain.leaf().sha256_fingerprint()).collect();
        leaves.sort_unstable();
        let assembled = swap::assemble(&self.unsynced, name, json, &staged);
        let flushed = assembled.and_then(|()| self.store.flush(Group::Tmp, name)).map_err(Refusal::Store);
        let admit = || gate::admit(self.store, Group::Tmp, name, staged.sets, staged.trial.as_ref());
        if let Err(refusal) = flushed.and_then(|()| admit().map(drop).map_err(Refusal::Flaw)) {
            // The assembled set must not be mistaken for an interrupted swap.
            return match (self.store.purge(Group::Tmp, name), refusal) {
                (Err(error), Refusal::Flaw(_)) => Err(error.into()),
                (_, refusal) => Err(refusal),
            };
        }
        self.note_before_swap(name, &leaves)?;
        let archived = self.archive.swap_in(&self.unsynced, name)?;
        self.trial.add(name, NewSet { leaves, archived });
        Ok(())
    }

    /// Has the trial of these certificates on the disk, with that of all sets that may follow: one note for all,
    /// written by the first.
    fn note_before_swap(&mut self, name: &str, leaves: &[String]) -> Result<(), Error> {
        if self.trial.expects(name, leaves) {
            return Ok(());
        }
        let mut expected = if self.trial.has_begun() { OnTrial::new() } else { self.staged_sets() };
        let archived = self.archive.next(self.store, name)?;
        let set = expected.entry(name.to_string()).or_insert(NewSet { leaves: Vec::new(), archived });
        if !set.has_all(leaves) {
            set.leaves.extend_from_slice(leaves);
        }
        self.trial.expect(self.store, expected);
        Ok(())
    }

    /// All sets that staging has and that are not in use, as they would be on trial. Each is looked at again when it
    /// is to come into use: where it is another one then, it is noted by itself.
    fn staged_sets(&self) -> OnTrial {
        let set = |name: &String| {
            let mut leaves = recover::leaves(self.store, Group::Staging, name);
            let live = published::chains(&self.store.worker(), name);
            leaves.extend(live.iter().map(|chain| chain.leaf().sha256_fingerprint()));
            leaves.sort_unstable();
            leaves.dedup();
            let archived = self.archive.next(self.store, name).ok()?;
            let set = NewSet { leaves, archived };
            let is_in_use = set.leaves == recover::leaves(self.store, Group::Domains, name);
            (!set.leaves.is_empty() && !is_in_use).then(|| (name.clone(), set))
        };
        self.staged.iter().filter_map(set).collect()
    }
}

fn report_objection(name: &str, reason: &str) {
    crate::log!(
        Error,
        "AH10069: md[{name}]: the set that was live is not put into use, what is installed stays: {reason}"
    );
}

/// The outcome of both the staged set and the one that was live.
fn after_live(name: &str, activated: Activated, is_live_used: bool) -> Activated {
    match activated {
        Activated::Damaged(reason) if is_live_used => {
            crate::log!(Error, "AH10069: md[{name}]: error loading staged set, purging it: {reason}");
            Activated::Done
        }
        Activated::Refused(_) | Activated::Damaged(_) => activated,
        _ if is_live_used => Activated::Done,
        activated => activated,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod withdrawn_tests;
