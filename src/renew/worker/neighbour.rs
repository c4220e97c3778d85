// SPDX-License-Identifier: Apache-2.0
//! Detects another httpd that renews in the same store, by a lock that the renewing process of each holds,
//! and logs it, because each overwrites the other's files in staging. Keeps no process from renewing.
//!
//! Any process of httpd's user can hold the lock; its only effect is the line in the log.

use crate::metrics::Metrics;
use crate::store::{Holder, RenewingLock, WorkStore};
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

pub struct Neighbour {
    lock: RenewingLock,
    instance: u64,
    is_expected: bool,
    metrics: Metrics,
    looked: Option<Timestamp>,
    /// The holder of the lock at the last look.
    seen: Option<Holder>,
    has_failed: bool,
}

impl Neighbour {
    /// `instance`: of this httpd. `is_expected`: the admin has several httpd share the store, and keeps their
    /// work separate.
    pub fn new(store: &WorkStore, instance: u64, is_expected: bool, metrics: &Metrics) -> Self {
        Neighbour {
            lock: RenewingLock::new(store.clone()),
            instance,
            is_expected,
            metrics: metrics.clone(),
            looked: None,
            seen: None,
            has_failed: false,
        }
    }

    /// Takes the lock, if it is time to look, or logs its holder.
    pub fn look(&mut self, now: Timestamp) {
        if self.looked.is_some_and(|looked| looked <= now && now.since(looked) < PAUSE) {
            return;
        }
        self.looked = Some(now);
        let own = Holder::own(self.instance, now);
        if let Some(found) = self.find(&own)
            && self.metrics.may_log_neighbour(now, DAY)
        {
            self.log(&found, &own);
        }
    }

    /// Another httpd that has the lock, and had it at the last look.
    fn find(&mut self, own: &Holder) -> Option<Holder> {
        let holder = match self.lock.take(own) {
            Ok(holder) => holder,
            Err(error) => {
                // Not every network file system has locks.
                if !std::mem::replace(&mut self.has_failed, true) {
                    crate::log!(Debug, "cannot check whether another httpd renews in this store: {error}");
                }
                None
            }
        };
        let found = holder.filter(|holder| holder.instance != own.instance);
        let before = std::mem::replace(&mut self.seen, found.clone());
        found.filter(|found| before.as_ref() == Some(found))
    }

    fn log(&self, found: &Holder, own: &Holder) {
        let path = self.lock.path();
        let text = format!("{found}, and this is {own} (lock {})", path.display());
        if self.is_expected {
            crate::log!(Info, "another httpd renews in this store, too: {text}");
            return;
        }
        crate::log!(
            Error,
            "another httpd renews in this store, too: {text}. Both order certificates and write over what the other has in \
             staging, so that orders are wasted and certificates lost. Give each a store of its own (MDStoreDir). Where servers \
             are to share one, set MDStoreLocks on, and let an MDMessageCmd fail for 'renewing' on all but one"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StartStore;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn stores() -> (tempfile::TempDir, WorkStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(dir.path(), None).unwrap().worker();
        (dir, store)
    }

    #[test]
    fn another_httpd_is_found_but_not_an_older_process_of_the_same() {
        let (_dir, store) = stores();
        let new = |instance| Neighbour::new(&store, instance, false, &Metrics::default());
        let (one, two) = (Holder::own(1, NOW), Holder::own(2, NOW));
        let mut first = new(1);
        assert_eq!(first.find(&one), None);
        let (mut same, mut other) = (new(1), new(2));
        assert_eq!((same.find(&one), same.find(&one)), (None, None));
        assert_eq!((other.find(&two), other.find(&two)), (None, Some(one)), "not at once");
        drop(first);
        assert_eq!((other.find(&two), other.find(&two)), (None, None), "the lock was free");
    }

    #[test]
    fn it_is_logged_once_a_day_and_looked_for_every_few_seconds() {
        let metrics = Metrics::default();
        let is_logged = |seconds| metrics.may_log_neighbour(NOW.plus(Duration::from_secs(seconds)), DAY);
        assert!(
            is_logged(0) && !is_logged(1) && !is_logged(86_399) && is_logged(86_400) && !is_logged(86_401)
        );
        let (_dir, store) = stores();
        let mut neighbour = Neighbour::new(&store, 1, false, &metrics);
        neighbour.look(NOW);
        for (at, looked) in [(NOW.plus(PAUSE / 2), NOW), (NOW.plus(PAUSE), NOW.plus(PAUSE)), (NOW, NOW)] {
            neighbour.look(at);
            assert_eq!(neighbour.looked, Some(looked), "also after the clock was set back");
        }
    }

    #[test]
    fn the_lock_is_taken_again_where_its_file_was_removed() {
        let (dir, store) = stores();
        let file = dir.path().join("staging/renewing.lock");
        let (mut first, mut second) = (RenewingLock::new(store.clone()), RenewingLock::new(store));
        let (one, two) = (Holder::own(1, NOW), Holder::own(2, NOW));
        assert_eq!(first.take(&one).unwrap(), None);
        assert_eq!(second.take(&two).unwrap(), Some(one.clone()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(first.take(&one).unwrap(), None);
        assert_eq!(second.take(&two).unwrap(), Some(one));
        drop(first);
        assert_eq!(second.take(&two).unwrap(), None);
    }

    #[test]
    fn what_stands_in_the_place_of_the_lock_or_in_it_does_no_harm() {
        let (dir, store) = stores();
        let (file, aim) = (dir.path().join("staging/renewing.lock"), dir.path().join("aim"));
        std::fs::write(&aim, "aim").unwrap();
        std::os::unix::fs::symlink(&aim, &file).unwrap();
        let mut lock = RenewingLock::new(store.clone());
        assert_eq!(lock.take(&Holder::own(1, NOW)).unwrap(), None);
        assert_eq!(std::fs::read_to_string(&aim).unwrap(), "aim");
        for content in
            [vec![b'x'; 1 << 20], b"{\"pid\": -1, \"host\": \"a\\nb\", \"since\": 7}".to_vec(), Vec::new()]
        {
            std::fs::write(&file, content).unwrap();
            let holder = RenewingLock::new(store.clone()).take(&Holder::own(2, NOW)).unwrap().unwrap();
            assert!(holder.since.is_none() && holder.pid == 0, "{holder:?}");
            assert!(["", "ab"].contains(&holder.host.as_str()), "{holder:?}");
        }
        drop(lock);
        std::fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        assert_eq!(RenewingLock::new(store).take(&Holder::own(1, NOW)).unwrap(), None);
    }
}
