// SPDX-License-Identifier: Apache-2.0
//! Live activation between the processes of one configuration: a set that the renewing child publishes is
//! served by all, without a restart.
//!
//! - [`signals`] tell processes that something has changed, through counters that all share.
//! - [`distribution`] reads the sets that were published, checks them against the hosts of this process, and
//!   puts them where handshakes look; [`first_read`] does that in a new child, before it serves anyone.
//! - [`roster`] counts the processes that serve the newest set.
//!
//! Nothing here writes to the store, decides when a set goes live, or knows httpd: counters, hosts and clocks
//! are handed in. Imports run down to `managed`, `ocsp` and `store`, never to `renew` or `startup`.

pub mod distribution;
mod first_read;
pub mod roster;
pub mod signals;
