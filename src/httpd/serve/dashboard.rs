// SPDX-License-Identifier: Apache-2.0
//! `SetHandler md-dashboard`: pages for people. `status::dashboard` writes them; here is how browsers are to
//! hold them.

use super::asked::{named, responses_of};
use crate::httpd::state::{Request, state_of};
use crate::httpd::sys::Answer;
use crate::status::dashboard::{self, Place};
use crate::status::{Monitor, Snapshots};
use crate::time;
use std::ffi::CStr;
use std::sync::Arc;

const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const HEADERS: [(&CStr, &str); 4] = [
    (c"X-Content-Type-Options", "nosniff"),
    // Names of domains are in addresses, which links to CAs and monitors do not pass on.
    (c"Referrer-Policy", "no-referrer"),
    (c"Cache-Control", "no-store"),
    (c"X-Frame-Options", "DENY"),
];

/// The list, or the page of the domain whose name or DNS name the path ends with.
pub(super) fn page(request: &Request<'_>) -> Answer {
    let now = time::now();
    let state = state_of(request.server());
    let (name, found, is_list) = named(request, state.as_deref());
    let path = request.path();
    let (status, html) = match (&state, found) {
        (Some(state), Some(index)) if let Some(domain) = state.snapshots.one(index, now) => {
            let monitor = state.pages.get(&request.server().key()).map(|pages| &pages.monitor);
            let monitor = monitor.cloned().unwrap_or(Monitor { name: String::new(), url: String::new() });
            let staplings = responses_of(state, now);
            (200, dashboard::one(domain, &staplings, &monitor, &Place::of_domain(&path), now))
        }
        (state, _) if is_list => {
            let none = Snapshots::new(Arc::new([]), None);
            let snapshots = state.as_ref().map_or(&none, |state| &state.snapshots);
            let staplings = state.as_ref().map(|state| responses_of(state, now)).unwrap_or_default();
            let (query, server) = (request.query().unwrap_or_default(), request.server().name());
            (200, dashboard::list(snapshots, &staplings, &query, &server, &Place::of_list(&path), now))
        }
        _ => (404, dashboard::unknown(&name, &Place::of_domain(&path))),
    };
    request.set_header(c"Content-Security-Policy", &dashboard::policy());
    HEADERS.iter().for_each(|(name, value)| request.set_header(name, value));
    Answer::Body { status, content_type: CONTENT_TYPE, body: html.into_bytes() }
}
