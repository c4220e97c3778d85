// SPDX-License-Identifier: Apache-2.0
//! The renewing child: [`decide`] says when to renew and what an error means, [`attempt`] does one attempt at one
//! CA, [`worker`] says which domain is looked at when, and what follows. Imports run in that order only, from
//! `worker` down to `decide`. Files of root are not written here: what is renewed waits in `staging`.

pub mod attempt;
pub mod decide;
pub mod worker;
