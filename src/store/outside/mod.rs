// SPDX-License-Identifier: Apache-2.0
//! Folders outside of the store: trees of other ACME clients, which are read ([`Tree`]), and folders of other
//! programs, which get files ([`Target`]). Both may be in the hands of other users than the caller: no
//! symbolic link in them is followed, only plain files are opened, and all that is read is bounded.

mod target;
mod tree;

pub use target::{NewFile, Rights, Target};
pub use tree::{Found, Tree};
