// SPDX-License-Identifier: Apache-2.0
//! What a start does in the store, in the parent, as root where httpd is started by root. Before mod_ssl asks
//! for certificates, the store follows the configuration and complete sets of `staging` come into use; after
//! it, md.json is written. The order of all steps is in [`bring_up`]. The only room that writes files of
//! root; it asks no server on the network. It imports `managed`, `challenge` and the layers below, of its own
//! layer `notify` and `renew::decide`, never `renew::worker` or `renew::attempt`; `renew` imports nothing of
//! it.
//!
//! A managed domain has three forms on its way, each made of the one before:
//!
//! 1. `config::MdSection`: what the admin wrote;
//! 2. `config::PlannedMd`: what is in force. Its `md` is the only copy of the settings until the start ends:
//!    reconciling gives it what only the store knows, activation its CA and account, the hosts its names;
//! 3. [`managed::Managed`](crate::managed::Managed): what the running server knows.
//!
//! [`stored_md::StoredMd`] stands beside the second one and has no settings: what the store holds for it.

pub mod accounts;
pub mod activate;
pub mod bring_up;
pub mod cleanup;
pub mod ended_starts;
pub mod fallback;
pub mod findings;
#[cfg(test)]
mod fixture;
mod lineage;
#[cfg(test)]
mod order_tests;
pub mod reconcile;
pub mod recover;
mod staged_set;
#[cfg(test)]
mod start_tests;
pub mod stored_md;
mod swap;
pub mod trial;
#[cfg(test)]
mod trust_tests;
