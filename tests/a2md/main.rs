// SPDX-License-Identifier: Apache-2.0
//! The command `a2md` as its users call it: beside real httpds and a real CA, and without any.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod alone;
mod at_renewal;
mod call;
mod check;
mod command;
mod compat;
mod dns;
mod docs;
mod doctor;
mod doctor_reach;
mod drive;
mod dump;
mod escaped;
mod export;
mod fleet;
mod forget;
mod gc;
mod hostile;
mod import;
mod install;
mod rehearse;
mod renew;
mod revoke;
mod rollback;
mod site;
mod status;
mod store;
mod together;
