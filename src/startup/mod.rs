// SPDX-License-Identifier: Apache-2.0
//! The work of a start in the store, in the parent, as root where httpd is started by root. Before mod_ssl
//! asks for certificates, the store follows the configuration and complete sets of `staging` come into use;
//! after it, md.json is written. The order of all steps is in [`bring_up`]. The only room that writes files
//! of root; it asks no server on the network. It imports `managed`, `challenge` and the layers below, of its
//! own layer `notify` and `renew::decide`, never `renew::worker` or `renew::attempt`; `renew` imports nothing
//! of it.
//!
//! A managed domain has three forms on its way, each made of the one before:
//!
//! 1. `config::MdSection`: the directives as written;
//! 2. `config::PlannedMd`: the settings in force. Its `md` is their only copy until the start ends:
//!    reconciling adds the values that only the store has, activation its CA and account, the hosts its
//!    names;
//! 3. [`managed::Managed`](crate::managed::Managed): the running server's data.
//!
//! [`stored_md::StoredMd`] belongs to the second one and has no settings: it holds the stored data.

pub mod accounts;
pub mod activate;
pub mod bring_up;
pub mod cleanup;
pub mod dns_secrets;
pub mod ended_starts;
pub mod fallback;
pub mod findings;
#[cfg(test)]
mod fixture;
pub mod fleet_files;
pub mod fleet_sets;
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
