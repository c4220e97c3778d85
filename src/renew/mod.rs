// SPDX-License-Identifier: Apache-2.0
//! The renewing child: [`decide`] says what to do and what an error means, [`attempt`] makes one attempt at
//! one CA, [`worker`] looks at the domains and performs what was decided. Imports run from `worker` to
//! `attempt` to `decide` to `managed`, and never to `startup`. Writes no files of root: what is renewed waits
//! in `staging`.

pub mod attempt;
pub mod decide;
pub mod worker;
