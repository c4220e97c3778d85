// SPDX-License-Identifier: Apache-2.0
//! How long the threads of a child sleep, and what ends them.

use crate::httpd::state::State;
use crate::httpd::sys;
use std::time::Duration;

/// How long a thread sleeps where nothing is to be done.
pub const LONGEST: Duration = Duration::from_secs(1);
/// The same where something is under way.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// Whether this child ends, maybe once its connections are closed.
pub fn is_over(state: &State) -> bool {
    state.stop.is_raised() || sys::is_ending()
}
