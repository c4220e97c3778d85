// SPDX-License-Identifier: Apache-2.0
//! Requests of renewals: how long they are repeated. Imports `node`.

use crate::fleet::decide::lease::Phase;
use crate::fleet::engine::Error;
use crate::fleet::node::{Failed, Node};
use crate::managed::peers::Lost;
use std::time::Duration;

/// After a request that failed while the lease is in force.
const PAUSE: Duration = Duration::from_secs(1);

/// Repeats what may be repeated, while the lease is in force.
pub(super) fn persist<T>(
    node: &Node,
    what: &str,
    mut request: impl FnMut() -> Result<T, Failed>,
) -> Result<T, Lost> {
    loop {
        let failed = match request() {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        let is_final = matches!(
            failed,
            Failed::Value(..)
                | Failed::Engine(Error::LeaseGone | Error::Denied(_) | Error::Invalid(_) | Error::Stopped)
        );
        let is_over = node.state().phase(node.boot()) < Phase::Acting;
        if is_final || is_over || node.setup.clock.sleep(PAUSE).is_err() {
            return Err(Lost(format!("{what}: {failed}")));
        }
    }
}

/// Waits until the lease was confirmed in the last five seconds. `Err`: it is over, or may be.
pub(super) fn confirm(node: &Node) -> Result<(), Lost> {
    loop {
        if node.state().phase(node.boot()) == Phase::Fresh {
            return Ok(());
        }
        let Err(error) = node.keep_alive() else { continue };
        let is_over = node.state().phase(node.boot()) < Phase::Acting;
        let is_final = matches!(error, Error::LeaseGone | Error::Stopped);
        if is_over || is_final || node.setup.clock.sleep(PAUSE).is_err() {
            return Err(Lost(format!("the lease of this node could not be confirmed: {error}")));
        }
    }
}
