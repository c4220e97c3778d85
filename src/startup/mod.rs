// SPDX-License-Identifier: Apache-2.0
//! What a start does in the parent, as root where httpd is started by root, before mod_ssl asks for
//! certificates: the store follows the configuration, and complete sets of `staging` come into use. The only
//! room that writes files of root. It never imports `renew::worker` or `renew::attempt`, and asks no server
//! on the network.

pub mod accounts;
pub mod activate;
pub mod bring_up;
pub mod cleanup;
pub mod ended_starts;
pub mod fallback;
pub mod findings;
#[cfg(test)]
pub mod fixture;
mod lineage;
pub mod reconcile;
pub mod recover;
#[cfg(test)]
mod start_tests;
#[cfg(test)]
mod trust_tests;
