// SPDX-License-Identifier: Apache-2.0
//! Sets that this start has put into use and mod_ssl has not loaded yet. A note in the store says which they
//! are, so that the next start puts those before back where this one ends ([`super::recover`]). It is on the disk
//! before the first of them comes into use: the process may die between any two steps, and a set without a note
//! with which mod_ssl ends every start could not be taken back. So the note may also name sets that never came into
//! use, which does no harm. Without a note the start goes on, with a warning.

use super::recover;
use super::recover::{NewSet, OnTrial};
use crate::store::{Error, StartStore, StoreLock};
use crate::sync::lock;
use std::sync::Mutex;

/// The trial of one start. Its lock is held from the first note until all is loaded, or the process ends.
#[derive(Default)]
pub struct LoadTrial {
    /// Those in use.
    sets: OnTrial,
    /// Those that the note names.
    noted: OnTrial,
    has_begun: bool,
    lock: Mutex<Option<StoreLock>>,
}

impl LoadTrial {
    /// Goes on with the sets of earlier starts.
    pub fn of(sets: OnTrial) -> Self {
        LoadTrial { sets, ..LoadTrial::default() }
    }

    #[cfg(test)]
    pub fn sets(&self) -> &OnTrial {
        &self.sets
    }

    /// Whether a note was written, or could not be.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the set of these certificates may come into use: the note names it, or there can be none.
    pub(super) fn expects(&self, name: &str, leaves: &[String]) -> bool {
        let is_without_note = self.has_begun && lock(&self.lock).is_none();
        is_without_note || self.noted.get(name).is_some_and(|noted| noted.has_all(leaves))
    }

    /// Has it on the disk that these sets are on trial as soon as they come into use, beside those that are.
    pub(super) fn expect(&mut self, store: &StartStore, expected: OnTrial) {
        let is_first = !self.has_begun;
        if let Err(error) = self.try_expect(store, expected) {
            crate::log!(
                Warn,
                "should httpd not start with the new certificates, those before will not come back by themselves: {}",
                error.advised()
            );
            // The note that is there helps those that it names.
            if is_first {
                *lock(&self.lock) = None;
            }
        }
    }

    fn try_expect(&mut self, store: &StartStore, expected: OnTrial) -> Result<(), Error> {
        if !self.has_begun {
            self.has_begun = true;
            let Some(held) = store.lock_trial()? else { return Ok(()) };
            *lock(&self.lock) = Some(held);
            // Another process may have put some into use: a2md, or an httpd that has ended since.
            for (name, set) in recover::begin_trial(store)? {
                self.sets.entry(name).or_insert(set);
            }
            self.noted.clone_from(&self.sets);
        }
        let mut noted = self.noted.clone();
        for (name, set) in expected {
            match noted.get_mut(&name) {
                // What is in use there may stay, and what was before is known to work.
                Some(noted) => noted.leaves.extend(set.leaves),
                None => drop(noted.insert(name, set)),
            }
        }
        recover::write_trial(store, &noted)?;
        self.noted = noted;
        Ok(())
    }

    /// A set that came into use. Where it replaces one on trial, what was before that is known to work.
    pub(super) fn add(&mut self, name: &str, set: NewSet) {
        let before = self.sets.get(name).and_then(|replaced| replaced.archived.clone());
        let archived = before.or(set.archived);
        self.sets.insert(name.to_string(), NewSet { archived, ..set });
    }

    /// Notes which sets are on trial once no more come into use.
    pub fn settle(&mut self, store: &StartStore) {
        if !self.has_begun {
            if !self.sets.is_empty() {
                self.expect(store, OnTrial::new());
            }
            return;
        }
        if self.sets.is_empty() {
            return self.end(store);
        }
        if self.noted == self.sets || lock(&self.lock).is_none() {
            return;
        }
        match recover::write_trial(store, &self.sets) {
            Ok(()) => self.noted.clone_from(&self.sets),
            // The note that is there names them all.
            Err(error) => {
                crate::log!(Warn, "the note of new certificates stays as it is: {}", error.advised())
            }
        }
    }

    /// mod_ssl is about to load the certificates of this MD. Where they are on trial and it ends the start,
    /// the next one puts those before back.
    pub fn note_loading(&self, store: &StartStore, name: &str) {
        if self.sets.contains_key(name)
            && lock(&self.lock).is_some()
            && let Err(error) = recover::note_loading(store, name)
        {
            crate::log!(
                Warn,
                "md[{name}]: cannot note that its new certificates are being loaded: {}",
                error.advised()
            );
        }
    }

    /// It has loaded all of a host.
    pub fn note_loaded(&self, store: &StartStore) {
        if lock(&self.lock).is_some()
            && let Err(error) = recover::note_loaded(store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }

    /// It has loaded all of all hosts.
    pub fn end(&self, store: &StartStore) {
        if lock(&self.lock).take().is_some()
            && let Err(error) = recover::end_trial(store)
        {
            crate::log!(Warn, "cannot note that new certificates were loaded: {}", error.advised());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_the_first_set_on_trial_stays_known() {
        let set = |leaf: &str, archived: Option<&str>| NewSet {
            leaves: vec![leaf.to_string()],
            archived: archived.map(String::from),
        };
        let mut trial = LoadTrial::of(OnTrial::from([("b.test".into(), set("first", None))]));
        for (name, leaf, archived) in [
            ("a.test", "first", "a.test.1"),
            ("a.test", "second", "a.test.2"),
            ("b.test", "second", "b.test.1"),
        ] {
            trial.add(name, set(leaf, Some(archived)));
        }
        assert_eq!(trial.sets()["a.test"], set("second", Some("a.test.1")));
        assert_eq!(trial.sets()["b.test"], set("second", Some("b.test.1")), "there was none");
    }
}
