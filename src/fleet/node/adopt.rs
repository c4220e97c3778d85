// SPDX-License-Identifier: Apache-2.0
//! Sets that came into use without the fleet: before there was one, by a restore, or by `a2md`. They get the
//! generation after the one that they replaced; a set of the fleet that was merely refused here they do not
//! replace.

use super::Node;
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
            let known = self.setup.local.set(&name);
            if known.as_ref().is_some_and(|known| !self.replaces(&name, &set, known, now)) {
                continue;
            }
            let seen = self.state().highest(&name);
            let generation = known.map_or(0, |known| known.generation).max(seen).saturating_add(1);
            let set = Set { set, generation, published: now };
            match self.setup.local.keep_set(&name, &set) {
                Ok(()) => self.state().has_set(&name, &set, now),
                Err(error) => crate::log!(Warn, "md[{name}]: its set cannot be given to the fleet: {error}"),
            }
        }
    }

    /// Whether a set in use came after that of the fleet.
    fn replaces(&self, name: &str, set: &SharedSet, known: &Set, now: Timestamp) -> bool {
        let begin = |set: &SharedSet| set.certs.iter().map(|cert| cert.chain.leaf().not_before()).max();
        begin(set) > begin(&known.set) || self.state().is_withdrawn(known, name, now)
    }
}
