// SPDX-License-Identifier: Apache-2.0
//! What runs in children beside serving, called by mod_watchdog.

pub mod renewing;
pub mod tick;
