// SPDX-License-Identifier: Apache-2.0
//! One exchange with a responder: sends a request, reads the answer and verifies it. The result is a response
//! that may be stapled, or the reason why there is none. It keeps nothing and does not try again.

use super::flaw::Flaw;
use super::request::{Form, form};
use super::response::{self, Response};
use super::schedule::max_age;
use super::subject::Subject;
use crate::http::{self, Request, Transport};
use crate::time::{Clock, Timestamp};
use std::time::Duration;

const REQUEST_TYPE: &str = "application/ocsp-request";
const RESPONSE_TYPE: &str = "application/ocsp-response";

/// A response that was taken.
pub struct Fetched {
    pub response: Response,
    /// The maximum age that the answer has for itself (Cache-Control).
    pub max_age: Option<Duration>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    pub reason: Reason,
    /// The responder asks us not to come back earlier.
    pub retry_after: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("{0}")]
    Http(#[from] http::Error),
    #[error("the responder answers with HTTP status {0}")]
    Status(u16),
    #[error("{0}")]
    Flaw(#[from] Flaw),
    #[error("an internal error, see the error log; please report it")]
    Bug,
}

impl Reason {
    /// The responder as a whole does not work, for any request.
    pub fn is_outage(&self) -> bool {
        match self {
            Reason::Http(error) => !matches!(error, http::Error::Stopped),
            Reason::Status(status) => *status >= 500,
            Reason::Flaw(_) | Reason::Bug => false,
        }
    }
}

/// Asks for `subject`; `current` is the response in use.
pub fn fetch(
    subject: &Subject,
    current: Option<&Response>,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Result<Fetched, Failed> {
    let request = subject.cert_id.request();
    let answer = match form(&subject.responder, &request) {
        Form::Get(url) => transport.send(&Request { accept: Some(RESPONSE_TYPE), ..Request::get(&url) }),
        Form::Post => {
            let post = Request::post(&subject.responder, REQUEST_TYPE, &request);
            transport.send(&Request { accept: Some(RESPONSE_TYPE), ..post })
        }
    };
    let answer = answer.map_err(|error| Failed { reason: error.into(), retry_after: None })?;
    let now = clock.now();
    let failed = |reason: Reason| Failed { reason, retry_after: answer.retry_after(now) };
    if answer.status != 200 {
        return Err(failed(Reason::Status(answer.status)));
    }
    let response = response::verify(&answer.body, subject, now).map_err(|flaw| failed(flaw.into()))?;
    response::accept(&response, current, now).map_err(|flaw| failed(flaw.into()))?;
    Ok(Fetched { response, max_age: answer.header("cache-control").and_then(max_age) })
}
