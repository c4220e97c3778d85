// SPDX-License-Identifier: Apache-2.0
//! Jobs that become due, each in a thread, with a limit for each kind: renewals and OCSP requests.
//!
//! - [`queue`] chooses the next job; [`pool`] runs jobs and ends them with the process.
//!
//! Implementors of [`pool::Jobs`] decide what a job does, when it is due again and how many may run. Imports
//! nothing but time and locks.

pub mod pool;
pub mod queue;
