// SPDX-License-Identifier: Apache-2.0
//! Ctrl-C and SIGTERM, which end a run early, with its table.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub struct Signals {
    /// `None`: they do what they do.
    watched: Option<(SigSet, SignalFd)>,
}

impl Signals {
    pub fn unwatched() -> Signals {
        Signals { watched: None }
    }

    /// To be called before any thread is started.
    pub fn watch() -> Signals {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        set.thread_block().unwrap();
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).unwrap();
        Signals { watched: Some((set, descriptor)) }
    }

    /// For processes that are started meanwhile: they inherit what is blocked.
    pub fn at_their_defaults<R>(&self, start: impl FnOnce() -> R) -> R {
        if let Some((set, _)) = &self.watched {
            set.thread_unblock().unwrap();
        }
        let started = start();
        if let Some((set, _)) = &self.watched {
            set.thread_block().unwrap();
        }
        started
    }

    /// Whether one has come.
    pub fn has_come(&self) -> bool {
        self.watched.as_ref().is_some_and(|(_, descriptor)| matches!(descriptor.read_signal(), Ok(Some(_))))
    }
}
