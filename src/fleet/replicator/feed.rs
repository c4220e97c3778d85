// SPDX-License-Identifier: Apache-2.0
//! Follows the engine's history: a watch and what it has told. In a child a thread of its own waits for it, in a
//! simulation each step looks. What was told and not taken is bounded: the watch waits then.

use crate::fleet::engine::{Change, Engine, Error, Revision, Watch};
use crate::fleet::key::NODES;
use crate::fleet::node::Node;
use crate::sync::lock;
use crate::time::StopFlag;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes that were told and not taken, above which the watch waits.
const ROOM: usize = 8 * 1024 * 1024;
/// Between two looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(20);

/// Changes, and the revision up to which they are complete.
pub type Told = (Vec<Change>, Revision);

pub trait Feed: Send {
    /// Follows the history from the revision after `after`, in the place of what it followed before.
    fn follow(&mut self, after: Revision) -> Result<(), Error>;

    /// What was told since the last call. Never waits.
    fn take(&mut self) -> Result<Vec<Told>, Error>;

    fn stop(&mut self);
}

/// Looks at each call.
pub struct Inline {
    engine: Arc<dyn Engine>,
    watch: Option<Box<dyn Watch>>,
}

impl Inline {
    /// For engines whose watch does not wait.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Inline { engine, watch: None }
    }
}

impl Feed for Inline {
    fn follow(&mut self, after: Revision) -> Result<(), Error> {
        self.watch = Some(self.engine.watch(after)?);
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Told>, Error> {
        match &mut self.watch {
            Some(watch) => watch.next().map(|told| vec![told]),
            None => Ok(Vec::new()),
        }
    }

    fn stop(&mut self) {
        self.watch = None;
    }
}

/// What a thread that follows has told.
#[derive(Default)]
struct Inbox {
    /// Of the watch in force: what an earlier one tells is dropped.
    number: u64,
    told: Vec<Told>,
    /// Bytes of it.
    size: usize,
    error: Option<Error>,
}

/// Followed by a thread of its own.
pub struct Threaded {
    node: Arc<Node>,
    stop: StopFlag,
    inbox: Arc<Mutex<Inbox>>,
}

impl Threaded {
    pub fn new(node: Arc<Node>, stop: StopFlag) -> Self {
        Threaded { node, stop, inbox: Arc::default() }
    }
}

impl Feed for Threaded {
    fn follow(&mut self, after: Revision) -> Result<(), Error> {
        let number = {
            let mut inbox = lock(&self.inbox);
            *inbox = Inbox { number: inbox.number + 1, ..Inbox::default() };
            inbox.number
        };
        let watch = self.node.setup.engine.watch(after)?;
        let (node, inbox, stop) = (self.node.clone(), self.inbox.clone(), self.stop.clone());
        let run = move || listen(watch, &node, &inbox, number, &stop);
        match self.stop.spawn("md-fleet-watch", run) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::Stopped),
            Err(error) => Err(Error::Unreachable(format!("no thread can be started: {error}"))),
        }
    }

    fn take(&mut self) -> Result<Vec<Told>, Error> {
        let mut inbox = lock(&self.inbox);
        let told = std::mem::take(&mut inbox.told);
        inbox.size = 0;
        match inbox.error.take() {
            // What came before it counts.
            Some(error) if told.is_empty() => Err(error),
            error => {
                inbox.error = error;
                Ok(told)
            }
        }
    }

    fn stop(&mut self) {
        let mut inbox = lock(&self.inbox);
        *inbox = Inbox { number: inbox.number + 1, ..Inbox::default() };
    }
}

/// Hands over what the watch tells, until another one is in force.
fn listen(mut watch: Box<dyn Watch>, node: &Node, slot: &Mutex<Inbox>, number: u64, stop: &StopFlag) {
    while !stop.is_raised() {
        let next = watch.next();
        let is_awaiting = !node.state().presented.is_empty();
        let mut inbox = lock(slot);
        if inbox.number != number {
            return;
        }
        match next {
            Ok((changes, revision)) => {
                let is_urgent = is_urgent(&changes, is_awaiting);
                inbox.size += changes.iter().map(size).sum::<usize>();
                inbox.told.push((changes, revision));
                drop(inbox);
                if is_urgent {
                    node.wake();
                }
                await_room(slot, number, stop);
            }
            Err(error) => {
                inbox.error = Some(error);
                drop(inbox);
                node.wake();
                return;
            }
        }
    }
}

/// The replicating thread may be waiting for the engine, which goes on telling.
fn await_room(inbox: &Mutex<Inbox>, number: u64, stop: &StopFlag) {
    let is_full = || {
        let inbox = lock(inbox);
        inbox.number == number && inbox.size > ROOM
    };
    while !stop.is_raised() && is_full() {
        if stop.wait(PAUSE).is_err() {
            return;
        }
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Put(entry) => entry.key.len() + entry.value.len(),
        Change::Gone { key, .. } => key.len(),
    }
}

/// Whether the thread that replicates has to take these at once. What nodes say of themselves waits for its next
/// step, which comes within a second, but where this node awaits acknowledgements: each node would wake all others.
fn is_urgent(changes: &[Change], is_awaiting: bool) -> bool {
    changes.iter().any(|change| is_awaiting || !change.key().starts_with(NODES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_of_themselves_wakes_those_alone_that_wait_for_it() {
        let gone = |key: &str| Change::Gone { key: key.into(), at: Revision(1) };
        let of_nodes = [gone("v1/node/07"), gone("v1/node/07/applied")];
        assert!(!is_urgent(&of_nodes, false) && is_urgent(&of_nodes, true));
        let with_a_set = [of_nodes[0].clone(), gone("v1/set/x")];
        assert!(is_urgent(&with_a_set, false) && is_urgent(&with_a_set, true));
        assert!(!is_urgent(&[], false) && !is_urgent(&[], true));
    }
}
