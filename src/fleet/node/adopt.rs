// SPDX-License-Identifier: Apache-2.0
//! Sets that came into use without the fleet: before there was one, by a restore, or by `a2md`. They get the
//! generation after the one that they replaced; a set of the fleet that was merely refused here they do not
//! replace.

use super::Node;
use crate::crypto::CertInfo;
use crate::fleet::decide::reconcile::{Stored, generation_here};
use crate::fleet::record::Set;
use crate::managed::peers::SharedSet;
use crate::time::Timestamp;

impl Node {
    /// Sets in use that the store has no copy of, as the start has found them.
    pub fn offer(&self, unshared: Vec<(String, SharedSet)>) {
        self.state().unshared = unshared;
    }

    /// Notes them as sets of the fleet; they are published after the next listing, where they win.
    pub fn adopt(&self) {
        let (unshared, now) = (std::mem::take(&mut self.state().unshared), self.now());
        for (name, set) in unshared {
            let Some(generation) = self.generation_here(&name, &set, now) else { continue };
            let set = Set { set, generation, published: now };
            match self.setup.local.keep_set(&name, &set) {
                Ok(()) => self.state().has_set(&name, &set, now),
                Err(error) => crate::log!(Warn, "md[{name}]: its set cannot be given to the fleet: {error}"),
            }
        }
    }

    fn generation_here(&self, name: &str, set: &SharedSet, now: Timestamp) -> Option<u64> {
        let known = self.setup.local.set(name);
        let is_withdrawn = known.as_ref().is_some_and(|known| self.state().is_withdrawn(known, name, now));
        let in_use: Vec<CertInfo> = set.certs.iter().map(|cert| CertInfo::from_chain(&cert.chain)).collect();
        generation_here(known.as_ref().and_then(Stored::of).as_ref(), is_withdrawn, &in_use)
    }
}
