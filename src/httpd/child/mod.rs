// SPDX-License-Identifier: Apache-2.0
//! The background work of children, in threads of their own: renewals in one child, and in every
//! child the check for newly published sets and responses. Imports `state` and `sys`, and neither
//! `start` nor `serve`.

mod fleet;
mod pause;
pub mod renewing;
pub mod tick;
pub mod watching;
