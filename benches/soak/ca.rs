// SPDX-License-Identifier: Apache-2.0
//! Whether the CA still works. Pebble 2.10 can stand still for ever: its look for an authorization to use again waits
//! for one that is being polled, which waits for the list of all, which is kept for a third that wants to add one. It
//! answers the directory and nonces then, and no signed request. A page of its management waits for the same list.

use super::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::http;

/// Of a certificate that nobody has.
const PAGE: &str = "/cert-status-by-serial/1";
const EVERY: Duration = Duration::from_millis(500);

pub struct Pulse(Mutex<Instant>);

impl Pulse {
    pub fn new() -> Pulse {
        Pulse(Mutex::new(Instant::now()))
    }

    /// Asks the CA whose management listens on this port, until `done`.
    pub fn feel(&self, port: u16, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            if http::https_get(port, "localhost", PAGE).is_ok() {
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
