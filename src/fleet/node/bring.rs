// SPDX-License-Identifier: Apache-2.0
//! Brings a set of the fleet into the store, from where it comes into use.

use super::Node;
use crate::fleet::decide::differing;
use crate::fleet::key::Key;
use crate::fleet::local::Brought;
use crate::fleet::record::Set;
use crate::time::Timestamp;

/// The kind of a warning: the store takes no set.
const STAGING: &str = "staging";

impl Node {
    /// Writes the set that waits for this MD, if there is one, and notes that the store has it.
    pub fn bring_in(&self, name: &str) {
        let set = {
            let state = self.state();
            state.pending.contains_key(name).then(|| state.full_set(name))
        };
        match set {
            None => {}
            Some(None) => drop(self.state().pending.remove(name)),
            Some(Some(set)) => self.bring(name, &set, self.now()),
        }
    }

    fn bring(&self, name: &str, set: &Set, now: Timestamp) {
        let local = &self.setup.local;
        let is_withdrawn = self.state().is_withdrawn(set, name, now);
        let brought = match is_withdrawn {
            true => Ok(Brought::Refused("it was revoked, or replaced by an earlier one".into())),
            false => local.stage(name, set, now),
        };
        match brought {
            Ok(Brought::Staged) => {
                self.warn(STAGING, None);
                self.warn_of_difference(name, set);
                if let Err(error) = local.keep_set(name, set) {
                    crate::log!(Warn, "md[{name}]: which set of the fleet it has cannot be noted: {error}");
                }
                self.state().has_set(name, set, now);
                self.wake();
            }
            Ok(Brought::Busy(who)) => {
                crate::log!(Info, "md[{name}]: a set of the fleet waits for {who}, which is at work on it");
            }
            Ok(Brought::Refused(reason)) => {
                let mut state = self.state();
                state.pending.remove(name);
                state.refuse(&Key::Set(name.into()), reason);
            }
            Err(error) => {
                // Tried each second: a line for each would help to fill the disk.
                let text = format!(
                    "md[{name}]: the set of the fleet cannot be written, and is tried again: {error}"
                );
                self.warn(STAGING, Some(text));
            }
        }
    }

    /// Says where the settings of the node that ordered the set are not those here.
    fn warn_of_difference(&self, name: &str, set: &Set) {
        let Some(md) = self.setup.local.md(name) else { return };
        let by = self.state().writer_of_set(name);
        if let Some(text) = differing::warning(&md, &set.set, set.generation, &by, &self.setup.name) {
            crate::log!(Warn, "AH11000: {text}");
        }
    }
}
