//! What every child does beside serving: it takes up what another process has news of, off the path of requests
//! and handshakes.

use super::State;
use super::sys::Server;
use crate::time::{Clock, SystemClock};

/// A new child, before it serves anyone.
pub fn begin(main: Server<'_>) {
    if let Some(state) = main.conf().and_then(|conf| conf.state.get()) {
        // To read all sets would keep those waiting who come first.
        state.live.iter().for_each(|live| live.hear());
        state.stapling.iter().for_each(|stapling| stapling.take_up());
    }
}

/// Ten times a second.
pub fn beat(state: &State) {
    if let Some(live) = &state.live {
        live.take_up();
    }
    if let Some(stapling) = &state.stapling {
        stapling.take_up();
    }
    state.snapshots.keep_up(SystemClock::default().now());
}
