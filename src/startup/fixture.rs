// SPDX-License-Identifier: Apache-2.0
//! Starts for tests. The store they work on is [`Lab`](crate::managed::fixture::Lab).

use super::activate::{Activated, Activation};
use super::bring_up::{BroughtUp, Start, bring_up, finish};
use super::reconcile;
use super::reconcile::Matched;
use super::stored_md::StoredMd;
use crate::config::{self, Host, Plan, PlannedMd, Server, ServerConfig};
use crate::crypto::fixture::NOW;
use crate::managed::fixture::Lab;
use crate::model::Md;
use crate::store::{Error, Fuse, StartStore};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// An MD of a start, with its stored data.
pub struct Started {
    pub md: Md,
    pub stored: StoredMd,
}

impl Deref for Started {
    type Target = StoredMd;

    fn deref(&self) -> &StoredMd {
        &self.stored
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut StoredMd {
        &mut self.stored
    }
}

impl Started {
    pub fn save(&mut self, store: &StartStore) -> Result<bool, Error> {
        self.stored.save(store, &mut self.md)
    }
}

/// The plan of a configuration that has these MDs, and no hosts for them.
pub fn plan_of(configured: &[Md]) -> Plan {
    let config = ServerConfig::default();
    let host = Host { is_main: true, ..Host::default() };
    let mut plan = config::plan(&[Server { config: &config, host }], &[80, 443], &|_| true).unwrap();
    plan.mds = configured.iter().map(|md| PlannedMd { md: md.clone(), ..PlannedMd::default() }).collect();
    plan
}

/// A whole start, in which mod_ssl loads all certificates. An error of activation is returned at its end.
pub fn start(store: &StartStore, configured: &[Md]) -> Result<Vec<(Started, Activated)>, Error> {
    start_with(store, configured, |_, _| ())
}

/// The same where mod_ssl asks for this.
pub fn start_with(
    store: &StartStore,
    configured: &[Md],
    ask: impl FnOnce(&[PlannedMd], &BroughtUp),
) -> Result<Vec<(Started, Activated)>, Error> {
    let mut plan = plan_of(configured);
    let mut brought_up = bring_up(&start_of(store), &mut plan)?;
    ask(&plan.mds, &brought_up);
    brought_up.trial.end(store);
    let managed = finish(store, &mut plan.mds, &mut brought_up.mds);
    brought_up.mds.iter_mut().zip(managed).for_each(|(stored, managed)| stored.certs = managed.certs);
    let activated: Vec<Activated> = brought_up.activated.into_iter().collect::<Result<_, _>>()?;
    let mds = plan.mds.into_iter().zip(brought_up.mds);
    let started = mds.map(|(planned, stored)| Started { md: planned.md, stored });
    Ok(started.zip(activated).collect())
}

pub fn start_of(store: &StartStore) -> Start<'_> {
    Start { store, now: NOW, is_check: false, servers: &[] }
}

/// A start that ends while mod_ssl loads the certificates of the first MD.
pub fn start_until_loading(store: &StartStore, configured: &[Md]) -> Result<Activated, Error> {
    let mut brought_up = bring_up(&start_of(store), &mut plan_of(configured))?;
    brought_up.trial.note_loading(store, &configured[0].name);
    brought_up.activated.swap_remove(0)
}

/// Whether httpd gets through a start that dies after `steps` changes of the store; it goes on as httpd does.
pub fn survives(lab: &Lab, steps: usize, configured: &[Md]) -> bool {
    let fuse = Fuse::after(steps);
    let _ = start(&lab.dying_by(&fuse), configured);
    !fuse.is_blown()
}

/// [`reconcile::sync`] where hosts have no names but those of their MDs.
pub fn sync(store: &StartStore, configured: &[Md]) -> Result<Vec<Started>, Error> {
    let mds: Vec<&Md> = configured.iter().collect();
    Ok(started(configured, reconcile::sync(store, &mds, &|_| Vec::new())?.0))
}

/// [`reconcile::look`] likewise.
pub fn look(store: &StartStore, configured: &[Md]) -> Result<Vec<Started>, Error> {
    let mds: Vec<&Md> = configured.iter().collect();
    Ok(started(configured, reconcile::look(store, &mds, &|_| Vec::new())?))
}

pub fn started(configured: &[Md], matched: Vec<Matched>) -> Vec<Started> {
    let complete = |(md, matched): (&Md, Matched)| {
        let mut md = md.clone();
        let stored = matched.complete(&mut md);
        Started { md, stored }
    };
    configured.iter().zip(matched).map(complete).collect()
}

impl Activation<'_> {
    pub fn activate_started(&mut self, started: &mut Started, delay: Duration) -> Result<Activated, Error> {
        self.activate(&mut started.md, &mut started.stored, delay)
    }
}
