// SPDX-License-Identifier: Apache-2.0
//! `SetHandler md-dashboard`: pages for people, one of all managed domains and one for each. They need no
//! script: search, sort, filter and paging are parameters of the address ([`query`]), applied to plain
//! values before any markup is made.
//!
//! Nothing of outside is markup: `maud` escapes every value, and a policy (CSP) allows the style and the
//! script of this module alone. `list` and `one` make the pages of the parts below them; no page changes
//! anything, reads a file or asks a server.

mod ahead;
mod assets;
mod card;
mod entry;
mod list;
mod one;
mod parts;
mod query;
mod shell;
mod tables;
#[cfg(test)]
mod tests;
mod timeline;
mod tone;

pub use list::list;
pub use one::one;
pub use shell::{Place, policy, unknown};
