// SPDX-License-Identifier: Apache-2.0
//! The thread that each child has beside httpd's own: it takes up what other processes have published, and
//! one child at a time renews. It sleeps until the bell of its configuration rings, a second at most, because
//! a child that is killed rings for nobody.

use super::pause::{LONGEST, SHORTEST, is_over};
use super::tick::Next;
use super::{renewing, tick};
use crate::config::advice;
use crate::httpd::state::State;
use crate::httpd::sys;
use crate::httpd::sys::guard::guard;
use crate::sync::atomic::Ordering;
use crate::time;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// In a new child, once it is ready to serve.
pub fn begin(state: &Arc<State>) {
    if state.mds.is_empty() && state.stapling.is_none() {
        return;
    }
    if let Err(error) = start(state) {
        state.watch_tried.store(seconds(), Ordering::Relaxed);
        log_no_thread(&error);
    }
}

/// With a connection, where the thread could not be started: a child without it serves what it has, for as long as it
/// lives, and that expires. Tries it at most once a second.
pub fn begin_again(state: &Arc<State>) {
    let (tried, now) = (state.watch_tried.load(Ordering::Relaxed), seconds());
    let is_ours =
        || state.watch_tried.compare_exchange(tried, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if tried != 0 && tried != now && is_ours() && matches!(start(state), Ok(Some(_))) {
        state.watch_tried.store(0, Ordering::Relaxed);
        crate::log!(Notice, "this child looks for new certificates again: its thread could be started");
    }
}

/// `None`: this process is ending.
fn start(state: &Arc<State>) -> io::Result<Option<JoinHandle<()>>> {
    let watching = state.clone();
    spawn(state, "md-watch", move || Watch::new(&watching).run())
}

/// Never 0.
fn seconds() -> u64 {
    time::now().unix().unsigned_abs().max(1)
}

struct Watch<'s> {
    state: &'s Arc<State>,
    /// There are sets or responses to take up.
    takes_up: bool,
    renewing: Option<JoinHandle<()>>,
    has_failed: bool,
}

impl<'s> Watch<'s> {
    fn new(state: &'s Arc<State>) -> Self {
        let is_live = state.live.as_ref().is_some_and(|live| live.is_possible());
        let takes_up = is_live || state.stapling.is_some();
        Watch { state, takes_up, renewing: None, has_failed: false }
    }

    fn run(mut self) {
        let bell = &self.state.bell;
        loop {
            // Before the look: what comes after it keeps the thread from sleeping.
            let seen = bell.seen();
            if is_over(self.state) {
                return;
            }
            let next = match self.takes_up {
                true => guard("signals_beat", Next::Late, || tick::beat(self.state)),
                false => Next::Late,
            };
            self.stand_for_office();
            match next {
                // The end of the child ends this wait, too.
                Next::AfterRest => _ = self.state.stop.wait(SHORTEST),
                Next::Soon => bell.wait(seen, SHORTEST),
                Next::Late => bell.wait(seen, LONGEST),
            }
        }
    }

    /// Renews from now on, if no other child does.
    fn stand_for_office(&mut self) {
        let Some(office) = &self.state.office else { return };
        if self.renewing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let begun = office.take().and_then(|is_ours| match is_ours {
            true => {
                let renewing = self.state.clone();
                spawn(self.state, "md-renewals", move || renewing::run(&renewing))
            }
            false => Ok(None),
        });
        match begun {
            Ok(thread) => self.renewing = thread,
            Err(error) => {
                office.leave();
                if !std::mem::replace(&mut self.has_failed, true) {
                    log_no_thread(&error);
                }
            }
        }
    }
}

fn spawn(
    state: &State,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<Option<JoinHandle<()>>> {
    sys::unsignalled(|| state.stop.spawn(name, work))
}

fn log_no_thread(error: &io::Error) {
    crate::log!(
        Crit,
        status = error.raw_os_error().unwrap_or(0),
        "{}",
        advice::no_thread(&crate::log::plain(error))
    );
}
