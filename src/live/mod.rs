// SPDX-License-Identifier: Apache-2.0
//! Live activation between the processes of one configuration: all processes serve a set that the renewing
//! child publishes, without a restart.
//!
//! - [`signals`] notify processes of a change through shared counters.
//! - [`distribution`] reads published sets, checks them against the hosts of this process, and stores them
//!   where handshakes look; [`first_read`] does so in a new child, before its first client.
//! - [`roster`] counts the processes that serve the newest set.
//!
//! Nothing here writes to the store, decides when a set goes live, or knows httpd: callers pass in counters,
//! hosts and clocks. Imports run down to `managed`, `ocsp` and `store`, never to `renew` or `startup`.

pub mod bell;
pub mod distribution;
mod first_read;
pub mod roster;
pub mod signals;
