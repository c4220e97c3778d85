// SPDX-License-Identifier: Apache-2.0
//! What a start hands down to the child that joins the fleet.

use super::access::Access;
use super::sealed::Secrets;
use crate::managed::peers::SharedSet;
use std::sync::Mutex;

/// Not `Debug`: it has secrets.
pub struct Inherited {
    pub access: Access,
    pub secrets: Secrets,
    /// For people.
    pub node: String,
    /// Sets in use that `fleet/` has no copy of, by the names of their MDs: a child cannot read their keys.
    pub unshared: Mutex<Vec<(String, SharedSet)>>,
}
