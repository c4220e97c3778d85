// SPDX-License-Identifier: Apache-2.0
//! How to reach a CA: the effective values of a managed domain that md.json does not show. Values only;
//! nothing here connects.

/// The way to a CA. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Route {
    pub ca_file: Option<String>,
    pub proxy_url: Option<String>,
    pub proxy_ca_file: Option<String>,
}
