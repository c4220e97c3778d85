// SPDX-License-Identifier: Apache-2.0
//! Requests that are ours before anything else looks at them: http-01 challenges, and what MDRequireHttps
//! says.

use super::pages;
use crate::challenge::answers::Folder;
use crate::challenge::http01;
use crate::httpd::live::Live;
use crate::httpd::state::{DirConf, Request, State};
use crate::httpd::sys::Answer;
use crate::model::RequireHttps;
use crate::require_https::{self, Asked, Ruling};
use crate::store::{self, WorkGroup};
use std::sync::Arc;

const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const NOT_IMPLEMENTED: u16 = 501;
const UNAVAILABLE: u16 = 503;
/// What is said of certificates, also where there is none.
const PUBLIC: &str = "/.httpd/";

/// Before authentication, redirects and 503: answers the CA's validation requests (RFC 8555 §8.3).
///
pub fn before_all(request: &Request<'_>) -> Answer {
    let path = request.path();
    let Some(state) = state_of(request) else { return Answer::Declined };
    if let Some(answer) = pages::certificate_status(request, &state, &path) {
        return answer;
    }
    let Some(token) = path.strip_prefix(ACME_CHALLENGE) else {
        let without = |live: &Arc<Live>| live.is_without_certificate(request.server()) && request.is_https();
        if state.live.as_ref().is_some_and(without) && !path.starts_with(PUBLIC) {
            return Answer::Status(UNAVAILABLE);
        }
        let mode = state.require_https.get(&request.server().key()).copied();
        return mode.map_or(Answer::Declined, |mode| require_https(request, &state, mode));
    };
    challenge(request, &state, token)
}

/// The answer to a challenge, or that there is none.
fn challenge(request: &Request<'_>, state: &State, token: &str) -> Answer {
    let host = request.host();
    let without = || match state.find(&host).map(|managed| &managed.md) {
        Some(md) if http01::is_ours(md) => Answer::Status(NOT_FOUND),
        _ => Answer::Declined,
    };
    match state.store.read(WorkGroup::Challenges, &host, http01::FILE_NAME) {
        Ok(Some(_)) if !request.is_read() => Answer::Status(NOT_IMPLEMENTED),
        Ok(Some(content)) => {
            let content = String::from_utf8_lossy(&content);
            let folder = Folder { store: &state.store, group: WorkGroup::Challenges, name: &host };
            let beside = || folder.read(http01::NOTE).to_token(token);
            match http01::answer(&content, token).map(String::from).or_else(beside) {
                Some(body) => {
                    Answer::Body { status: 200, content_type: "text/plain", body: body.into_bytes() }
                }
                None => without(),
            }
        }
        Ok(None) => without(),
        // Without a store there are no challenges.
        Err(error) if error.is_not_found() => without(),
        // A Host header that can be no name is nobody's challenge.
        Err(store::Error::Name(_)) => Answer::Declined,
        Err(error) => {
            crate::log!(
                Error,
                "AH10081: the http-01 challenge of {host} cannot be read: {}",
                error.advised()
            );
            without()
        }
    }
}

/// `MDRequireHttps` inside `<If>`: for the hosts that have an MD, like the one outside.
pub fn in_section(request: &Request<'_>) -> Answer {
    let Some(mode) = request.dir_conf().and_then(DirConf::require_https) else { return Answer::Declined };
    state_of(request).map_or(Answer::Declined, |state| require_https(request, &state, mode))
}

/// A host may be asked for names that are not those of an MD, which have no certificate to go to.
fn require_https(request: &Request<'_>, state: &State, mode: RequireHttps) -> Answer {
    let is_managed = |name: &String| state.find(name).is_some();
    let canonical = || Some(request.canonical_host()).filter(|_| !request.is_https()).filter(is_managed);
    let Some(host) = Some(request.host()).filter(is_managed).or_else(canonical) else {
        return Answer::Declined;
    };
    let (path, query) = (request.path(), request.query());
    let asked = Asked {
        is_https: request.is_https(),
        is_read: request.is_read(),
        host: &host,
        path: &path,
        query: query.as_deref(),
    };
    match require_https::rule(mode, &asked) {
        Ruling::Pass => Answer::Declined,
        Ruling::Secure => {
            request.set_header(c"Strict-Transport-Security", require_https::HSTS);
            Answer::Declined
        }
        Ruling::Redirect { status, location } => Answer::Redirect { status, location },
    }
}

pub(crate) fn state_of(request: &Request<'_>) -> Option<Arc<State>> {
    request.server().conf()?.state.get().cloned()
}
