// SPDX-License-Identifier: Apache-2.0
//! The begin and the end of a child's work, and its work off the path of requests and handshakes: it
//! activates the certificates and OCSP responses that another process has published.

use crate::fleet::replicator::thread::Ending;
use crate::httpd::state::{Server, State};
use crate::live::bell::Bell;
use crate::responder::Responder;
use crate::time::{Clock, StopFlag, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a child waits for our threads. They notice within a tenth of a second; httpd checks
/// whether its children have ended after a third of a second, after 1.4 seconds, and then each second.
const BOUND: Duration = Duration::from_millis(600);

/// The state of a child that works beside serving. `None`: it does nothing of ours, and has no threads.
pub fn at_work(main: Server<'_>) -> Option<&Arc<State>> {
    let state = main.conf()?.state.get()?;
    let has_work = !state.mds.is_empty() || state.stapling.is_some() || state.responder.is_some();
    has_work.then_some(state)
}

/// A new child, before it serves anyone. From here on it may have threads.
pub fn begin(state: &State) {
    state.live.iter().for_each(|live| live.begin(&state.stop));
    state.stapling.iter().for_each(|stapling| _ = stapling.take_up());
    state.responder.iter().for_each(|responder| responder.begin());
}

/// The child is to end, and does so once its connections are closed.
pub fn announce_end(responder: Option<&Responder>, fleet: &Ending, bell: &Bell, is_graceful: bool) {
    if let Some(responder) = responder {
        responder.ending.announce(is_graceful);
    }
    if !is_graceful {
        fleet.announce_last();
    }
    // The MPM says from now on that the child is ending.
    bell.ring();
}

/// When to look again at the latest.
pub enum Next {
    /// More is left. It is taken up after a rest, so that handshakes have the processor, too.
    AfterRest,
    /// Pages are asked for, and the state of renewals is read ahead for them.
    Soon,
    Late,
}

/// Takes up what others have published.
pub fn beat(state: &State) -> Next {
    let are_sets_left = state.live.as_ref().is_some_and(|live| live.take_up());
    let are_responses_left = state.stapling.as_ref().is_some_and(|stapling| stapling.take_up());
    let is_asked = state.snapshots.keep_up(SystemClock::default().now());
    match are_sets_left || are_responses_left {
        true => Next::AfterRest,
        false if is_asked => Next::Soon,
        false => Next::Late,
    }
}

/// Stops the work of a child that ends: no new work begins, and work in progress gets a while to finish. May
/// run in a signal handler. After a graceful restart the child first answers DNS questions for a while.
pub fn end(stop: &StopFlag, bell: &Bell, responder: Option<&Responder>) {
    stop.raise();
    bell.ring();
    if let Some(responder) = responder {
        responder.ending.end(BOUND);
    }
    stop.wait_for_all(BOUND);
}

/// Whether nothing of ours is at work any more.
pub fn is_quiet(stop: &StopFlag, responder: Option<&Responder>) -> bool {
    stop.is_quiet() && responder.is_none_or(|responder| responder.ending.stop.is_quiet())
}
