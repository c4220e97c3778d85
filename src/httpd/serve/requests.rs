// SPDX-License-Identifier: Apache-2.0
//! Answers requests before other modules see them: http-01 challenges (RFC 8555 §8.3), and the redirects of
//! MDRequireHttps, which `require_https` decides.

use super::pages;
use crate::challenge::answers::Folder;
use crate::challenge::http01;
use crate::challenge::presented::Presented;
use crate::httpd::state::{DirConf, Request, State, state_of};
use crate::httpd::sys::Answer;
use crate::model::RequireHttps;
use crate::require_https::{self, Asked, Ruling};
use crate::store::{self, WorkGroup};
use crate::time;

const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";
/// Public pages, which hosts without a certificate answer as well.
const PUBLIC: &str = "/.httpd/";

/// Before authentication, redirects and 503: answers the CA's validation requests.
pub fn before_all(request: &Request<'_>) -> Answer {
    let path = request.path();
    let Some(state) = state_of(request.server()) else { return Answer::Declined };
    if let Some(answer) = pages::certificate_status(request, &state, &path) {
        return answer;
    }
    let Some(token) = path.strip_prefix(ACME_CHALLENGE) else {
        if state.is_without_certificate(request.server()) && request.is_https() && !path.starts_with(PUBLIC) {
            return Answer::UNAVAILABLE;
        }
        let mode = state.require_https.get(&request.server().key()).copied();
        return mode.map_or(Answer::Declined, |mode| require_https(request, &state, mode));
    };
    challenge(request, &state, token)
}

/// The answer to a challenge. Without one: what an operator has put up, 404 if the MD uses http-01, else other
/// modules may answer.
fn challenge(request: &Request<'_>, state: &State, token: &str) -> Answer {
    let host = request.host();
    let without = || {
        let presented = Presented::read(&state.store, WorkGroup::Challenges, &host);
        match (presented.answer_to(token, time::now()), state.find(&host).map(|managed| &managed.md)) {
            (Some(text), _) if request.is_read() => plain(text),
            (_, Some(md)) if http01::is_ours(md) => Answer::NOT_FOUND,
            _ => Answer::Declined,
        }
    };
    match state.store.read(WorkGroup::Challenges, &host, http01::FILE_NAME) {
        Ok(Some(_)) if !request.is_read() => Answer::NOT_IMPLEMENTED,
        Ok(Some(content)) => {
            let content = String::from_utf8_lossy(&content);
            let folder = Folder { store: &state.store, group: WorkGroup::Challenges, name: &host };
            let beside = || folder.read(http01::NOTE).to_token(token);
            match http01::answer(&content, token).map(String::from).or_else(beside) {
                Some(body) => plain(&body),
                None => without(),
            }
        }
        Ok(None) => without(),
        // No store, no challenges.
        Err(error) if error.is_not_found() => without(),
        // A Host header that is not a valid name belongs to no challenge.
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

fn plain(body: &str) -> Answer {
    Answer::Body { status: 200, content_type: "text/plain", body: body.as_bytes().to_vec() }
}

/// `MDRequireHttps` inside `<If>`. As outside of it, it applies to hosts that have an MD.
pub fn in_section(request: &Request<'_>) -> Answer {
    let Some(mode) = request.dir_conf().and_then(DirConf::require_https) else { return Answer::Declined };
    state_of(request.server()).map_or(Answer::Declined, |state| require_https(request, &state, mode))
}

/// A request may name a host of no MD, for which there is no certificate to redirect to.
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
