// SPDX-License-Identifier: Apache-2.0
//! The signals that end a program from outside, for one that tidies up first. Never for a process of httpd,
//! which handles signals itself.

use nix::sys::signal::{SigSet, Signal};

/// Calls `act` once, in a thread of its own, when a signal asks this process to end; the process then ends by
/// itself. Call it before any other thread is started: threads inherit that these signals are blocked, and
/// commands do not.
pub fn on_end(act: impl FnOnce() + Send + 'static) {
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    if signals.thread_block().is_ok() {
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                act();
            }
        });
    }
}
