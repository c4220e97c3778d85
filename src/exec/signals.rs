// SPDX-License-Identifier: Apache-2.0
//! Signals that ask a process to end, for programs of our own that go on until then. httpd's processes have
//! its handlers and never come here.

use crate::time::StopFlag;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::thread;

/// Raises `stop` on SIGTERM, SIGINT or SIGHUP, which no longer end this process by themselves. To be called
/// before any other thread is started.
pub fn stop_on_signals(stop: StopFlag) -> io::Result<()> {
    let mut signals = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    let wait = move || {
        // Fails only for signals that cannot be waited for.
        let _ = signals.wait();
        stop.raise();
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}
