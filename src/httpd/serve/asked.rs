// SPDX-License-Identifier: Apache-2.0
//! What several pages ask of a request and of the process's state.

use crate::httpd::state::{Request, State};
use crate::stapling::service::Service;
use crate::stapling::snapshot::{self, Stapled};
use crate::time::Timestamp;
use std::sync::Arc;

/// The name that the path ends with, the MD that has it, and whether the path is that of all MDs.
pub(super) fn named(request: &Request<'_>, state: Option<&State>) -> (String, Option<usize>, bool) {
    let (path, path_info) = (request.path(), request.path_info());
    let name = path_info.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().to_ascii_lowercase();
    let found = state
        .and_then(|state| state.mds.iter().position(|m| m.md.name == name).or_else(|| state.index_of(&name)));
    // If DocumentRoot does not exist, path info is the whole path, the handler's location included.
    let is_list = found.is_none() && (name.is_empty() || path_info.ends_with(&path));
    (name, found, is_list)
}

/// The certificates that are stapled, each with its response and what came of the requests for it.
pub(super) fn responses_of(state: &State, now: Timestamp) -> Vec<Stapled> {
    let all =
        |stapling: &Arc<Service>| snapshot::all(&stapling.cache, &state.stapling_states, &state.store, now);
    state.stapling.as_ref().map(all).unwrap_or_default()
}
