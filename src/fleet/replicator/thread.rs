// SPDX-License-Identifier: Apache-2.0
//! The thread of a child that replicates. It ends within a tenth of a second once the child stops, but for a
//! request that is under way.

use super::Replicator;
use super::feed::Threaded;
use crate::fleet::node::Node;
use crate::time::StopFlag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A child that replicates.
pub struct Running {
    thread: Option<JoinHandle<()>>,
}

/// How the process ends, as far as it is known.
#[derive(Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// httpd ends, and no other child follows: the lease is to end.
    pub fn announce_last(&self) {
        // The stop flag, which is raised after this, releases it.
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_last(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The engine is not reached from then on, which nobody else may notice.
struct End<'n>(&'n Node);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.note_failure();
    }
}

/// Begins to replicate.
pub fn start(node: Arc<Node>, stop: StopFlag, ending: Ending) -> io::Result<Running> {
    let flag = stop.clone();
    let thread = stop.spawn("md-fleet", move || {
        let feed = Box::new(Threaded::new(node.clone(), flag.clone()));
        let mut replicator = Replicator::new(node.clone(), feed);
        let _end = End(&node);
        while !flag.is_raised() {
            let until = replicator.step();
            while !flag.is_raised() && !node.take_wake() && node.boot() < until {
                node.rest(until);
            }
        }
        replicator.stop(ending.is_last());
    })?;
    Ok(Running { thread })
}

impl Running {
    /// The stop flag is raised: waits until the thread has seen it.
    pub fn stop(self) {
        if let Some(thread) = self.thread {
            // A panic at this point changes nothing for the next child.
            let _ = thread.join();
        }
    }
}
