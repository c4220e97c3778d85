// SPDX-License-Identifier: Apache-2.0
//! Stapling in the renewing child: requests responses that are due, and looks for certificates waiting in
//! staging, so that these have a response before their first handshake.

use super::driver::{Connect, Context, Driver, Settings};
use super::others::Others;
use super::service::Service;
use super::upcoming;
use crate::managed::Managed;
use crate::managed::peers::Peers;
use crate::store::{Watched, WorkGroup};
use crate::time::{Clock, StopFlag, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often to look for certificates that wait in staging.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often to list the folders there although its time of change is that of before: some file systems count whole
/// seconds.
const LIST_EVERY: Duration = Duration::from_secs(30);

/// How often to look for certificates that are stapled no more.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(60);

/// The stapling work of the child that renews.
pub struct Runner {
    driver: Driver,
    service: Arc<Service>,
    clock: Arc<dyn Clock>,
    /// When staging was looked at, the stapled MDs that had a folder there, and the state of these then, by MD.
    looked: Timestamp,
    listed: Watched,
    listed_at: Timestamp,
    staged: Vec<usize>,
    stamps: HashMap<usize, Vec<Option<Timestamp>>>,
    cleaned_up: Timestamp,
}

impl Runner {
    /// `random`: a number in 0..1 for jitter. `stop` is the flag that clock and connections end with. `peers`:
    /// the other nodes of a fleet.
    pub fn new(
        settings: Settings,
        service: Arc<Service>,
        connect: Connect,
        clock: Arc<dyn Clock>,
        random: fn() -> f64,
        stop: StopFlag,
        peers: Option<Arc<dyn Peers>>,
    ) -> Self {
        let publishing = service.clone();
        let context = Context {
            store: service.store.clone(),
            cache: service.cache.clone(),
            clock: clock.clone(),
            connect,
            publish: Box::new(move |subject, response| publishing.publish(subject, response)),
            random,
            others: peers.map(|peers| Others::new(peers, service.mds.clone())),
        };
        let driver = Driver::new(settings, context, stop);
        Runner {
            driver,
            service,
            clock,
            looked: Timestamp::default(),
            listed: Watched::default(),
            listed_at: Timestamp::default(),
            staged: Vec::new(),
            stamps: HashMap::new(),
            cleaned_up: Timestamp::default(),
        }
    }

    pub fn beat(&mut self) {
        let now = self.clock.now();
        if now < self.looked {
            // A clock that was ahead may have had certificates in staging forgotten as expired.
            self.stamps.clear();
        }
        if now.since(self.looked) >= LOOK_EVERY || now < self.looked {
            self.looked = now;
            self.look_at_staging(now);
        }
        if now.since(self.cleaned_up) >= CLEAN_UP_EVERY || now < self.cleaned_up {
            self.cleaned_up = now;
            self.driver.clean_up();
        }
        self.driver.beat();
    }

    /// For how long the next beat can wait.
    pub fn pause(&self, shortest: Duration, longest: Duration) -> Duration {
        self.driver.pause(shortest, longest)
    }

    fn look_at_staging(&mut self, now: Timestamp) {
        let has_changed = self.listed.has_changed(self.service.store.group_stamp(WorkGroup::Staging), now);
        if has_changed || now.since(self.listed_at) >= LIST_EVERY || now < self.listed_at {
            self.listed_at = now;
            self.list_staging();
        }
        let (mds, store) = (&self.service.mds, &self.service.store);
        for (index, managed) in self.staged.iter().filter_map(|index| Some((*index, mds.get(*index)?))) {
            let stamp = upcoming::stamp(store, &managed.md);
            if self.stamps.insert(index, stamp.clone()) != Some(stamp) {
                self.service.add_upcoming(index, now).into_iter().for_each(|entry| self.driver.add(entry));
            }
        }
    }

    /// Looks which MDs have a folder in staging: with ten thousand the longest part of a look, and in vain
    /// where no folder has come or gone.
    fn list_staging(&mut self) {
        let (mds, store) = (&self.service.mds, &self.service.store);
        let names = mds.iter().map(|managed| managed.md.name.as_str());
        let Ok(names) = store.present(WorkGroup::Staging, names) else {
            self.listed = Watched::default();
            return;
        };
        let is_staged = |(index, managed): &(usize, &Managed)| {
            names.contains(&managed.md.name) && self.service.is_stapled(*index)
        };
        self.staged = mds.iter().enumerate().filter(is_staged).map(|(index, _)| index).collect();
    }

    pub fn stop(self) {
        self.driver.stop();
    }
}

#[cfg(test)]
mod tests;
