// SPDX-License-Identifier: Apache-2.0
//! Decides from the stamps of folders which of them to read again, so that a monitor that asks every few
//! seconds costs little and sees nothing older than a second.

use super::{Group, Stamp, StartStore, WorkGroup, WorkStore};
use crate::time::Timestamp;
use std::time::Duration;

/// The time for which a look is recent enough, for each folder, and the maximum.
const FRESH_PER_FOLDER: Duration = Duration::from_micros(250);
const FRESH_MAX: Duration = Duration::from_millis(250);

/// A folder that changed so shortly before it was read may change again under the same time of modification:
/// file systems count it in ticks of the kernel's clock.
const TICK: Duration = Duration::from_millis(50);

/// When a group was looked at last.
#[derive(Default)]
pub struct Looked(Option<Timestamp>);

impl Looked {
    /// How long a look at about this many folders stays good enough, so that looking takes a small part of
    /// the time.
    pub fn fresh(folders: usize) -> Duration {
        FRESH_PER_FOLDER.saturating_mul(u32::try_from(folders).unwrap_or(u32::MAX)).min(FRESH_MAX)
    }

    /// Whether the last look was at this moment.
    pub fn is_of(&self, now: Timestamp) -> bool {
        self.0 == Some(now)
    }

    /// All folders, read again if the last look is older than `fresh`. A group that cannot be read looks
    /// empty: the process that writes to it reports that.
    pub fn again(
        &mut self,
        store: &WorkStore,
        group: WorkGroup,
        fresh: Duration,
        now: Timestamp,
    ) -> Option<Vec<(String, Stamp)>> {
        if self.0.is_some_and(|at| at <= now && now.since(at) < fresh) {
            return None;
        }
        self.0 = Some(now);
        Some(store.stamps(group).unwrap_or_default())
    }
}

/// The last look at one folder.
#[derive(Default)]
pub struct Watched {
    stamp: Option<Stamp>,
    /// It may have changed since without the stamp telling.
    is_hot: bool,
}

impl Watched {
    /// Whether to read the folder, now that it has this stamp. `None`: it is not there.
    pub fn has_changed(&mut self, stamp: Option<Stamp>, now: Timestamp) -> bool {
        if stamp == self.stamp && !self.is_hot {
            return false;
        }
        self.stamp = stamp;
        self.is_hot = stamp.is_some_and(|stamp| stamp.modified().plus(TICK) >= now);
        true
    }
}

impl StartStore {
    /// Changes with the folder of a name; `None` where it is not there or cannot be read.
    pub fn stamp(&self, group: Group, name: &str) -> Option<Stamp> {
        self.layout.folder(group, name).ok().flatten()?.stamp().ok()
    }
}

impl WorkStore {
    /// Changes when a folder comes to the group or goes; `None` where it cannot be read.
    pub fn group_stamp(&self, group: WorkGroup) -> Option<Stamp> {
        self.layout.group(group.into()).ok()?.stamp().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_before_it_was_read_is_read_again_under_the_same_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let store = StartStore::open(&dir.path().join("md"), None).unwrap().worker();
        store.write(WorkGroup::Staging, "a.test", "job.json", b"{}").unwrap();
        let stamp = store.stamps(WorkGroup::Staging).unwrap().pop().map(|(_, stamp)| stamp);
        let modified = stamp.unwrap().modified();
        let mut watched = Watched::default();
        for (later, is_read) in [(0, true), (TICK.as_millis(), true), (1000, true), (2000, false)] {
            let now = modified.plus(Duration::from_millis(later.try_into().unwrap()));
            assert_eq!(watched.has_changed(stamp, now), is_read, "{later} ms later");
        }
        assert!(watched.has_changed(None, modified.plus(TICK * 60)), "it is not there any more");
        assert!(!watched.has_changed(None, modified.plus(TICK * 60)));
    }
}
