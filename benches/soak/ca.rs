// SPDX-License-Identifier: Apache-2.0
//! Whether the CA still works: [`support::pebble::answers`].

use super::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::pebble;

const EVERY: Duration = Duration::from_millis(500);

pub struct Pulse(Mutex<Instant>);

impl Pulse {
    pub fn new() -> Pulse {
        Pulse(Mutex::new(Instant::now()))
    }

    /// Asks the CA whose management listens on this port, until `done`.
    pub fn feel(&self, port: u16, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            if pebble::answers(port) {
                self.is_felt();
            }
            thread::sleep(EVERY);
        }
    }

    /// It has answered, or is not expected to.
    pub fn is_felt(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// How long it has not answered.
    pub fn silence(&self) -> Duration {
        lock(&self.0).elapsed()
    }
}
