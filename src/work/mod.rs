// SPDX-License-Identifier: Apache-2.0
//! Jobs that come due, each in a thread, as many at once as their kind admits: renewals and OCSP requests.
//!
//! - [`queue`] says which is next; [`pool`] runs them and ends them with the process.
//!
//! What a job does, when it is due again and how many may run is the business of who implements
//! [`pool::Jobs`]. Imports nothing but time and locks.

pub mod pool;
pub mod queue;
