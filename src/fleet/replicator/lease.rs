// SPDX-License-Identifier: Apache-2.0
//! Confirms the lease when that is due, and compares what the answers show with the watch and the clock.

use crate::fleet::decide::course::has_lost_track;
use crate::fleet::decide::health::skew;
use crate::fleet::decide::lease::{self, Boot, Phase};
use crate::fleet::engine::{Alive, Error, Revision};
use crate::fleet::node::state::State;
use crate::fleet::node::{Failed, Node};

/// A revision of the engine that the watch has not told of yet, and since when.
#[derive(Default)]
pub struct Track(Option<(Revision, Boot)>);

/// When the lease has to be confirmed.
pub fn next(state: &State) -> Boot {
    lease::next_keep_alive(state.kept, state.tried, state.is_at_work())
}

impl Track {
    pub fn keep_alive(&mut self, node: &Node) -> Result<(), Failed> {
        let due = next(&node.state());
        if node.boot() < due {
            return Ok(());
        }
        match node.keep_alive() {
            Ok(alive) => self.compare(node, &alive),
            // While it may still be in force, this node goes on.
            Err(error @ (Error::LeaseGone | Error::Gap(_) | Error::Stopped)) => Err(error.into()),
            Err(_) if node.state().phase(node.boot()) > Phase::Over => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the watch has lost track of the engine.
    fn compare(&mut self, node: &Node, alive: &Alive) -> Result<(), Failed> {
        let (now, boot, told) = (node.now(), node.boot(), alive.revision);
        node.state().clock_off = alive.time.map(|time| (now.unix_millis() - time.unix_millis()) / 1000);
        node.warn("clock", alive.time.and_then(|time| skew(time, now)));
        let state = node.state();
        let seen = state.view.revision();
        let since = self.0.filter(|(earlier, _)| *earlier > seen).map_or(boot, |(_, since)| since);
        let lost = has_lost_track(&state.view, told, boot.saturating_sub(since));
        self.0 =
            (told > seen).then_some(self.0.filter(|(earlier, _)| *earlier > seen).unwrap_or((told, boot)));
        lost.map_or(Ok(()), |reason| Err(Failed::Engine(Error::Gap(reason))))
    }
}
