// SPDX-License-Identifier: Apache-2.0
//! The renewing child: [`decide`] chooses actions and explains errors, [`attempt`] makes one attempt at one
//! CA, [`worker`] looks at the domains and performs the actions. Imports run from `worker` to `attempt` to
//! `decide` to `managed`, and never to `startup`. Writes no files of root: renewed certificates wait in
//! `staging`.

pub mod attempt;
pub mod decide;
pub mod worker;
