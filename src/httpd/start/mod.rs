// SPDX-License-Identifier: Apache-2.0
//! The start, in the parent and usually as root. post_config runs twice for each reading of the configuration:
//! before mod_ssl, so that certificates are in place when it asks, and after it, when TLS hosts are known. No server
//! on the network is contacted here.

pub mod advice;
pub mod before_tls;
pub mod certificates;
pub mod guest;
pub mod stapled;
