// SPDX-License-Identifier: Apache-2.0
//! Status over HTTP: the handlers md-status, md-dashboard and md-metrics, a section in server-status, and
//! the public facts about the certificate of a host. `status` writes the content of the pages.

use super::asked::{named, responses_of};
use super::dashboard;
use crate::httpd::state::{Request, State, state_of};
use crate::httpd::sys::Answer;
use crate::metrics::Metrics;
use crate::ocsp::cache::Table;
use crate::status::{Snapshots, fleet_section, html, json, metrics, stapling, text};
use crate::time::{Clock, SystemClock, Timestamp};
use std::sync::Arc;

/// The path at which everyone can read about the certificates of a host (`MDCertificateStatus`).
const CERTIFICATE_STATUS: &str = "/.httpd/certificate-status";

/// `SetHandler md-status`, `md-dashboard` and `md-metrics`.
pub fn handler(request: &Request<'_>) -> Answer {
    let page: fn(&Request<'_>) -> Answer = match request.handler().as_str() {
        "md-status" => md_status,
        "md-dashboard" => dashboard::page,
        "md-metrics" => md_metrics,
        _ => return Answer::Declined,
    };
    if request.is_read() { page(request) } else { Answer::NOT_IMPLEMENTED }
}

/// All MDs, or the one whose name or DNS name the path ends with.
fn md_status(request: &Request<'_>) -> Answer {
    let now = now();
    let state = state_of(request.server());
    let (name, found, is_list) = named(request, state.as_deref());
    let found = found.and_then(|index| state.as_ref()?.snapshots.one(index, now));
    let responses = state.as_ref().map(|state| responses(state)).unwrap_or_default();
    let (status, json) = match found {
        Some(domain) => (200, json::one(&domain, &responses, now)),
        None if is_list => (
            200,
            match &state {
                Some(state) => json::list(&state.snapshots, &responses, now),
                None => json::list(&Snapshots::new(Arc::new([]), None), &responses, now),
            },
        ),
        None => (404, json::unknown(&name)),
    };
    json_answer(status, json)
}

fn json_answer(status: u16, json: String) -> Answer {
    Answer::Body { status, content_type: "application/json", body: json.into_bytes() }
}

fn md_metrics(request: &Request<'_>) -> Answer {
    let now = now();
    let body = match state_of(request.server()) {
        Some(state) => {
            let (domains, stapled) = (state.snapshots.all(now), responses_of(&state, now));
            let fleet = state.snapshots.fleet(now);
            metrics::all(&domains, &stapled, &state.metrics.totals(), fleet.as_deref(), now)
        }
        None => metrics::all(&[], &[], &Metrics::default().totals(), None, now),
    };
    Answer::Body { status: 200, content_type: metrics::CONTENT_TYPE, body: body.into_bytes() }
}

/// The public facts about the certificates of the requested host; `None` if the request is for something
/// else.
pub fn certificate_status(request: &Request<'_>, state: &State, path: &str) -> Option<Answer> {
    let is_on = || state.pages.get(&request.server().key()).is_some_and(|pages| pages.certificate_status);
    if path != CERTIFICATE_STATUS || !is_on() {
        return None;
    }
    let index = state.index_of(&request.host())?;
    if !request.is_read() {
        return Some(Answer::NOT_IMPLEMENTED);
    }
    let answer = state.snapshots.one(index, now()).map(|domain| json_answer(200, json::public(&domain)));
    Some(answer.unwrap_or(Answer::NOT_FOUND))
}

/// The section in server-status; `is_short`: for scripts (`?auto`). `None` where `MDServerStatus` is off, or
/// is not configured and the request is neither of this machine nor of a user: server-status is often public.
pub fn server_status(request: &Request<'_>, is_short: bool) -> Option<String> {
    let state = state_of(request.server())?;
    let pages = state.pages.get(&request.server().key())?;
    if !pages.in_server_status.unwrap_or_else(|| request.is_local() || request.is_authenticated()) {
        return None;
    }
    let now = now();
    let certificates = match is_short {
        true => text::certificates(&state.snapshots, &pages.monitor, now),
        false => html::certificates(&state.snapshots, &pages.monitor, now),
    };
    let fleet = state.snapshots.fleet(now).map(|fleet| match is_short {
        true => fleet_section::text(&fleet),
        false => fleet_section::html(&fleet, now),
    });
    let staplings = responses_of(&state, now);
    let staplings = if is_short { stapling::text(&staplings, now) } else { stapling::html(&staplings, now) };
    Some(certificates + &fleet.unwrap_or_default() + &staplings)
}

/// The OCSP responses that handshakes are answered with.
fn responses(state: &State) -> Arc<Table> {
    state.stapling.as_ref().map(|stapling| stapling.cache.table()).unwrap_or_default()
}

fn now() -> Timestamp {
    SystemClock::default().now()
}
