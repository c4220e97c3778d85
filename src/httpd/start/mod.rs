// SPDX-License-Identifier: Apache-2.0
//! The start, in the parent and usually as root. post_config runs twice for each reading of the
//! configuration: before mod_ssl, so that certificates are in place when it asks, and after it, when TLS
//! hosts are known. Imports `startup`, which orders the steps in the store, and `state`; no server on the
//! network is contacted here.

mod advice;
pub mod after_tls;
pub mod before_tls;
pub mod certificates;
pub mod check;
mod common;
mod dns;
pub mod dump;
mod fleet;
mod guest;
pub mod refusal;
mod servers;
pub mod stapled;
