// SPDX-License-Identifier: Apache-2.0
//! The suite on the engine in memory, whose time is virtual.

use crate::fixture::{Fixture, Node};
use doubles::{Memory, VirtualClock};
use mod_md::time::{Clock, StopFlag, Timestamp};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const BEGIN: Timestamp = Timestamp::from_unix(1_700_000_000);

struct InMemory {
    clock: Arc<VirtualClock>,
    server: Arc<Memory>,
}

impl Fixture for InMemory {
    fn new(_test: &str, _is_alone: bool) -> Option<Self> {
        let clock = Arc::new(VirtualClock::at(BEGIN));
        Some(InMemory { server: Memory::new(clock.clone()), clock })
    }

    fn node_until(&self, stop: &StopFlag) -> Node {
        self.server.handle_until("md", stop.clone())
    }

    fn stranger(&self) -> Node {
        self.server.handle("md2")
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn now(&self) -> Duration {
        self.clock.now().since(BEGIN)
    }

    fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        // Threads that wait for each other have virtual time pass no faster than this.
        thread::sleep(Duration::from_millis(1));
    }

    fn compact(&self) {
        self.server.compact();
    }

    fn wipe(&self) {
        self.server.wipe();
    }
}

held_to_the_promises!(InMemory);

/// With ends of leases that no watch tells, as Redis has them.
mod untold {
    use super::*;

    struct Untold(InMemory);

    impl Fixture for Untold {
        fn new(test: &str, is_alone: bool) -> Option<Self> {
            let memory = InMemory::new(test, is_alone)?;
            memory.server.leave_ends_untold();
            Some(Untold(memory))
        }

        fn node_until(&self, stop: &StopFlag) -> Node {
            self.0.node_until(stop)
        }

        fn stranger(&self) -> Node {
            self.0.stranger()
        }

        fn ttl(&self) -> Duration {
            self.0.ttl()
        }

        fn now(&self) -> Duration {
            self.0.now()
        }

        fn wall(&self) -> Timestamp {
            self.0.wall()
        }

        fn pass(&self, time: Duration) {
            self.0.pass(time);
        }

        fn compact(&self) {
            self.0.compact();
        }

        fn wipe(&self) {
            self.0.wipe();
        }
    }

    held_to_the_promises!(Untold);
}
