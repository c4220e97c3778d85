// SPDX-License-Identifier: Apache-2.0
//! A clock that moves only when someone sleeps: 400 days pass in milliseconds.

use mod_md::time::{Clock, StopFlag, Stopped, Timestamp};
use std::sync::Mutex;
use std::time::Duration;

pub struct VirtualClock {
    now: Mutex<Timestamp>,
    pub stop: StopFlag,
}

impl VirtualClock {
    pub fn at(now: Timestamp) -> Self {
        VirtualClock { now: Mutex::new(now), stop: StopFlag::default() }
    }

    pub fn advance(&self, d: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.plus(d);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, d: Duration) -> Result<(), Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        self.advance(d);
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }

    fn boot(&self) -> Duration {
        self.now().since(Timestamp::default())
    }
}
