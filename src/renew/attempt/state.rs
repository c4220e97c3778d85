// SPDX-License-Identifier: Apache-2.0
//! The state that the steps of one attempt share: the job, the CA, and the order in progress with its file in
//! staging.

use super::ca_pool::Authority;
use super::challenges;
use super::context::Renewal;
use super::progress::Running;
use super::sharing::Sharing;
use crate::crypto::PrivateKey;
use crate::managed::saved_order::{SavedOrder, Wait};
use crate::managed::staging::Staging;
use crate::model::{KeySpec, Md};
use crate::renew::decide::error::Error;
use crate::time::{Clock, Stopped, Timestamp};
use std::time::Duration;

/// The progress of an attempt, or of a step of it.
pub enum Progress<T> {
    Complete(T),
    /// The CA is at work, and takes its time.
    Waiting(Wait),
}

pub(super) struct Attempt<'a, 'r, 'p> {
    pub(super) renewal: &'a Renewal<'a>,
    pub(super) md: &'a Md,
    pub(super) authority: &'a Authority,
    pub(super) running: &'a mut Running<'r>,
    /// What other nodes of a fleet know of it.
    pub(super) sharing: &'a mut Sharing<'p>,
    /// The order under way.
    pub(super) saved: Option<SavedOrder>,
    /// Another node has placed it.
    pub(super) is_of_another: bool,
    /// The key of this order, once it was made, for other nodes.
    pub(super) key: Option<(KeySpec, PrivateKey)>,
    /// It is on disk like this.
    pub(super) is_kept: bool,
    /// How often its account had got another key, and was opened again.
    pub(super) reopened: u32,
    /// The fleet was waited for, which may have heard of another key.
    pub(super) is_key_awaited: bool,
    /// The time that the attempt has waited for the CA.
    pub(super) stayed: Duration,
}

impl Attempt<'_, '_, '_> {
    pub(super) fn staging(&self) -> Staging<'_> {
        self.renewal.staging()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.renewal.clock()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.renewal.now()
    }

    pub(super) fn keep_order(&mut self) -> Result<(), Error> {
        if let Some(order) = self.saved.as_ref().filter(|_| !self.is_kept) {
            self.staging().save_order(order)?;
            self.is_kept = true;
        }
        Ok(())
    }

    /// Notes for other nodes how far the attempt has come.
    pub(super) fn note(&mut self) {
        let (ca, names) = (self.authority.url(), &self.md.domains);
        let (order, running) = (self.saved.clone(), &*self.running);
        let key = self.key.clone().filter(|(spec, _)| order.as_ref().is_some_and(|o| o.key == spec.label()));
        self.sharing.note(|job| {
            (job.ca, job.names) = (ca.into(), names.clone());
            (job.order, job.keys) = (order, key.into_iter().collect());
            job.step = running.job.last.activity.clone().unwrap_or_default();
            (job.errors, job.retry_state) = (running.job.errors, running.job.retry_state.clone());
            job.next_try = None;
        });
    }

    /// Has the next node go on from here.
    pub(super) fn share(&mut self) -> Result<(), Error> {
        self.note();
        self.sharing.save()
    }

    /// Removes an order that has ended.
    pub(super) fn remove_order(&mut self) -> Result<(), Error> {
        self.running.end_wait();
        (self.saved, self.is_kept) = (None, true);
        Ok(self.staging().remove_order()?)
    }

    /// The same, while the attempt goes on: the answers to its challenges go at once.
    pub(super) fn drop_order(&mut self) -> Result<(), Error> {
        if self.saved.is_some() {
            self.remove_order()?;
            self.clean_up()?;
        }
        Ok(())
    }

    /// Takes its answers away. Where another node may go on with the order, they are that one's as well.
    pub(super) fn clean_up(&self) -> Result<(), Stopped> {
        match self.sharing.check() {
            Ok(()) => challenges::clean_up(self.renewal, self.sharing.peers()),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn change_order(&mut self, change: impl FnOnce(&mut SavedOrder, Timestamp)) {
        let now = self.now();
        if let Some(order) = &mut self.saved {
            let before = order.clone();
            change(order, now);
            self.is_kept &= *order == before;
        }
    }

    pub(super) fn note_validated(&mut self) {
        if self.saved.as_ref().is_some_and(|order| !order.is_validated()) {
            self.running.end_wait();
            self.change_order(|order, now| order.issue(now));
        }
    }
}
