// SPDX-License-Identifier: Apache-2.0
//! What runs in children beside serving, called by mod_watchdog through `hooks`: renewals in one child, and
//! in every child a look for what others have published. Imports `state` and `sys`, and neither `start` nor
//! `serve`.

pub mod renewing;
pub mod tick;
