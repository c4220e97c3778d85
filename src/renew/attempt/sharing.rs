// SPDX-License-Identifier: Apache-2.0
//! A renewal as the other nodes of a fleet know it: what this one may still do, and what the next one goes on
//! from. Without a fleet every call does nothing. Decides nothing. Imports [`crate::managed::peers`].

use crate::managed::bundle::Bundle;
use crate::managed::peers::{Lost, Peers, SharedAnswer, SharedCert, SharedJob, SharedSet, Turn};
use crate::model::{Job, Md};
use crate::renew::decide::error::Error;
use crate::time::Timestamp;

/// The part of one renewal that concerns other nodes.
pub(crate) struct Sharing<'p>(Option<Shared<'p>>);

struct Shared<'p> {
    peers: &'p dyn Peers,
    turn: Box<dyn Turn>,
    job: SharedJob,
    /// The fleet has it like this.
    is_saved: bool,
}

impl<'p> Sharing<'p> {
    /// There is no fleet.
    pub(crate) fn none() -> Self {
        Sharing(None)
    }

    pub(crate) fn new(peers: &'p dyn Peers, turn: Box<dyn Turn>) -> Self {
        let job = turn.job().cloned().unwrap_or_default();
        Sharing(Some(Shared { peers, turn, job, is_saved: true }))
    }

    /// Whether there is a fleet, reached or not.
    pub(crate) fn is_any(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there is a fleet that is not reached.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_any() && self.peers().is_none()
    }

    /// The other nodes, as long as they are reached.
    pub(super) fn peers(&self) -> Option<&'p dyn Peers> {
        self.0.as_ref().filter(|shared| !shared.turn.is_solo()).map(|shared| shared.peers)
    }

    /// How far the fleet had come when this renewal began.
    pub(crate) fn found(&self) -> Option<&SharedJob> {
        self.0.as_ref().filter(|shared| !shared.turn.is_solo())?.turn.job()
    }

    /// Directly before each request that a CA counts.
    pub(super) fn may_ask(&self) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |shared| Ok(shared.turn.may_ask()?))
    }

    /// Whether another node may have the renewal by now, as far as this one knows.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        self.0.as_ref().map_or(Ok(()), |shared| shared.turn.check())
    }

    /// Notes what the next node is to go on from.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut SharedJob)) {
        if let Some(shared) = &mut self.0 {
            change(&mut shared.job);
            shared.is_saved = false;
        }
    }

    /// A certificate of several is complete.
    pub(super) fn note_cert(&mut self, set: &Bundle) {
        self.note(|job| {
            job.certs.retain(|cert| cert.spec != set.spec);
            job.certs.push(shared_cert(set));
        });
    }

    /// Has the fleet know what was noted.
    pub(super) fn save(&mut self) -> Result<(), Error> {
        if let Some(shared) = self.0.as_mut().filter(|shared| !shared.is_saved) {
            shared.turn.save(&shared.job)?;
            shared.is_saved = true;
        }
        Ok(())
    }

    /// Has all nodes go by the outcome of an attempt without a certificate: another one does not try sooner.
    pub(crate) fn save_outcome(&mut self, job: &Job, next_try: Timestamp) -> Result<(), Lost> {
        let Some(shared) = &mut self.0 else { return Ok(()) };
        shared.job.errors = job.errors;
        shared.job.next_try = Some(next_try);
        shared.job.problem = job.last.detail.clone().filter(|_| job.errors > 0);
        shared.job.step = job.last.activity.clone().unwrap_or_default();
        shared.job.retry_state = job.retry_state.clone();
        shared.is_saved = false;
        shared.turn.save(&shared.job)
    }

    /// Has all nodes serve the set that was ordered for `ordered`.
    pub(crate) fn publish(&self, ca: &str, ordered: &Md, sets: &[Bundle]) -> Result<(), Lost> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.turn.publish(&SharedSet {
            ca: ca.into(),
            names: ordered.domains.clone(),
            must_staple: ordered.must_staple,
            profile: ordered.profile.clone(),
            certs: sets.iter().map(shared_cert).collect(),
            renew_at: None,
        })
    }

    /// Has all nodes give these answers for the MD `name`, and waits until they do. The answer: nodes that had
    /// them not in time.
    pub(super) fn present(&self, name: &str, answers: &[SharedAnswer]) -> Result<Vec<String>, Error> {
        let Some(peers) = self.peers().filter(|_| !answers.is_empty()) else { return Ok(Vec::new()) };
        for answer in answers {
            peers.present(answer)?;
        }
        Ok(peers.await_presented(name))
    }

    /// The next look is this node's as well.
    pub(crate) fn keep(self) {
        if let Some(shared) = self.0 {
            shared.turn.keep();
        }
    }
}

fn shared_cert(set: &Bundle) -> SharedCert {
    SharedCert { spec: set.spec.clone(), key: set.key.clone(), chain: set.chain.clone() }
}
