// SPDX-License-Identifier: Apache-2.0
//! The store as one thing: what is in it, whoever put it there ([`survey`]), all of it in one archive
//! ([`save`]) and out of one again ([`unpack`]). For the operator's command. Refuses links, and names that the
//! store does not have. [`unpack`] and [`save`] import [`plan`], which knows the files of the store.

mod plan;
mod save;
mod survey;
mod target;
mod unpack;

pub use crate::store::disk::Sort;
pub use plan::{Holders, Place};
pub use save::Saved;
pub use survey::{Entry, Leftover, Rights, Survey};
pub use target::{Target, open_archive, target};
pub use unpack::{Unpacked, settle, unpack};
#[cfg(test)]
mod tests;
