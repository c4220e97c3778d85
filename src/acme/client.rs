// SPDX-License-Identifier: Apache-2.0
//! Requests to one ACME server: directory, nonces and signed POSTs (RFC 8555 §6, §7.1.1, §7.2).
//!
//! Threads share a [`Server`], and with it the directory and a pool of nonces, so that each request
//! usually finds the nonce of an earlier answer. Redirects are never followed.

use super::error::no_directory;
use super::objects::Directory;
use super::problem::{Kind, Problem, line};
use super::{Error, address};
use crate::crypto::{CpuLimit, PrivateKey, jws};
use crate::http::{Request, Response, Transport};
use crate::time::{Clock, Timestamp};
use crate::url::Origin;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nonces kept for later. Old ones may have expired at the server, so the newest is used first.
const MAX_NONCES: usize = 64;
const MAX_NONCE: usize = 1024;
/// Of a redirect's target, in a text.
const MAX_URL: usize = 256;
/// How often a request is signed again after `badNonce`. Requests still succeed at a server that refuses
/// every second nonce at random; one that refuses all nonces is not asked forever.
const MAX_TRIES: usize = 16;

const JOSE: &str = "application/jose+json";

/// An ACME server, with its directory and nonces, which all requests of a run share.
pub struct Server {
    directory: Directory,
    link: Link,
    nonces: Mutex<Vec<String>>,
    /// Of the directory and the URLs in it. Resources of the CA have no other origin.
    origins: Vec<Origin>,
    /// The directory was read over https, and all resources must be.
    is_encrypted: bool,
    /// How many signatures are made at once.
    limit: CpuLimit,
}

/// The key that signs a request (RFC 8555 §6.2).
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    /// By the key alone: to make or find an account.
    Key(&'a PrivateKey),
    /// By the key of the account with this URL.
    Account(&'a PrivateKey, &'a str),
}

impl Server {
    /// Fetches the directory.
    pub fn connect(url: &str, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let link = Link { transport, clock };
        let directory = link.directory(url)?.read_from(url)?;
        let needed = [url, &directory.new_nonce, &directory.new_account, &directory.new_order];
        let offered =
            [&directory.revoke_cert, &directory.key_change].into_iter().flatten().map(String::as_str);
        let origins = needed.into_iter().chain(offered).filter_map(address::origin).collect();
        Ok(Server {
            directory,
            link,
            nonces: Mutex::default(),
            origins,
            is_encrypted: address::is_encrypted(url),
            limit: CpuLimit::default(),
        })
    }

    /// Has signatures made within a limit that others share.
    #[must_use]
    pub fn signing_within(self, limit: CpuLimit) -> Self {
        Server { limit, ..self }
    }

    /// The limit for signatures, and for keys of accounts.
    pub fn limit(&self) -> &CpuLimit {
        &self.limit
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub fn now(&self) -> Timestamp {
        self.link.clock.now()
    }

    /// Refuses other origins: a compromised CA must not make us send requests into our own network.
    pub(super) fn check_origin(&self, url: &str) -> Result<(), Error> {
        if self.is_encrypted && !address::is_encrypted(url) {
            return Err(Error::Protocol(format!(
                "the server sent the URL {url}, which is not encrypted, although its directory is"
            )));
        }
        match address::origin(url) {
            Some(origin) if self.origins.contains(&origin) => Ok(()),
            _ => Err(Error::Protocol(format!(
                "the server sent the URL {url}, which is not on any server that its directory names"
            ))),
        }
    }

    /// Fetches a public resource. `Ok` has a 2xx status.
    pub(super) fn get(&self, url: &str) -> Result<Response, Error> {
        self.link.accepted(url, self.link.send(&Request::get(url))?)
    }

    /// Sends a signed request; an empty payload is a POST-as-GET (RFC 8555 §6.3). `Ok` has a 2xx status.
    pub(super) fn post(
        &self,
        url: &str,
        signer: Signer<'_>,
        payload: &[u8],
        accept: Option<&str>,
    ) -> Result<Response, Error> {
        match signer {
            // The account's own URL may be older than the CA's present address.
            Signer::Account(_, kid) if kid == url => {}
            _ => self.check_origin(url)?,
        }
        let mut fresh = None;
        let mut tries = 0;
        loop {
            let nonce = match fresh.take() {
                Some(nonce) => nonce,
                None => self.nonce()?,
            };
            let body = signed(url, signer, nonce, payload, &self.limit)?.to_string();
            let response =
                self.link.send(&Request { accept, ..Request::post(url, JOSE, body.as_bytes()) })?;
            tries += 1;
            let nonce = replay_nonce(&response);
            match self.link.accepted(url, response) {
                // RFC 8555 §6.5: "the client SHOULD retry with the new nonce".
                Err(e) if e.kind() == Some(Kind::BadNonce) && tries < MAX_TRIES => fresh = nonce,
                result => {
                    self.pool().extend(nonce);
                    return result;
                }
            }
        }
    }

    /// A nonce not used before: from the pool, else a new one (RFC 8555 §7.2).
    fn nonce(&self) -> Result<String, Error> {
        if let Some(nonce) = self.pool().pop() {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        let response = self.link.send(&Request::head(url))?;
        let nonce = replay_nonce(&response);
        self.link.accepted(url, response)?;
        nonce.ok_or_else(|| Error::Protocol(format!("{url} gave no usable Replay-Nonce")))
    }

    fn pool(&self) -> MutexGuard<'_, Vec<String>> {
        let mut pool = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = pool.len().saturating_sub(MAX_NONCES - 1);
        pool.drain(..excess);
        pool
    }
}

/// Requests and answers without signatures.
struct Link {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl Link {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        if self.clock.is_stopped() {
            return Err(Error::Stopped);
        }
        let result = self.transport.send(request);
        match &result {
            Ok(response) => crate::log!(Trace1, "{:?} {}: {}", request.method, request.url, response.status),
            Err(e) => crate::log!(Trace1, "{:?} {}: {e}", request.method, request.url),
        }
        result.map_err(|source| match source {
            crate::http::Error::Stopped => Error::Stopped,
            source => Error::Transport { url: request.url.to_string(), source },
        })
    }

    /// Reads the directory. The error assumes a wrong URL if the response is no directory.
    fn directory(&self, url: &str) -> Result<Directory, Error> {
        let response = self.send(&Request::get(url))?;
        let is_missing = matches!(response.status, 404 | 405 | 410);
        let found =
            self.accepted(url, response).and_then(|response| Directory::parse(&json_of(url, &response)?));
        found.map_err(|error| match error {
            Error::Problem { mut problem, retry_after } if is_missing => {
                problem.detail = no_directory(url, &format!("the server says: {}", problem.text()));
                problem.is_quote = false;
                problem.is_of_wrong_url = true;
                problem.subproblems.clear();
                Error::Problem { problem, retry_after }
            }
            Error::Protocol(why) => Error::NoDirectory { url: url.into(), why },
            other => other,
        })
    }

    fn accepted(&self, url: &str, response: Response) -> Result<Response, Error> {
        match response.status {
            200..=299 => Ok(response),
            status @ 300..=399 => Err(Error::Protocol(format!(
                "{url} answered with a redirect ({status}){}, which is not followed",
                response
                    .header("location")
                    .map_or_else(String::new, |to| format!(" to {}", line(to, MAX_URL)))
            ))),
            _ => Err(Error::Problem {
                problem: Box::new(Problem::from_response(url, &response)),
                retry_after: response.retry_after(self.clock.now()),
            }),
        }
    }
}

fn signed(
    url: &str,
    signer: Signer<'_>,
    nonce: String,
    payload: &[u8],
    limit: &CpuLimit,
) -> Result<Value, Error> {
    let mut header = jws::Header::new();
    header.insert("nonce".into(), nonce.into());
    header.insert("url".into(), url.into());
    let key = match signer {
        Signer::Key(key) => {
            header.insert("jwk".into(), jws::jwk(key)?);
            key
        }
        Signer::Account(key, kid) => {
            header.insert("kid".into(), json!(kid));
            key
        }
    };
    Ok(jws::sign(key, header, payload, limit)?)
}

/// RFC 8555 §6.5.1: "Clients MUST ignore invalid Replay-Nonce values", which are not base64url.
fn replay_nonce(response: &Response) -> Option<String> {
    let nonce = response.header("replay-nonce")?;
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let valid = !nonce.is_empty() && nonce.len() <= MAX_NONCE && nonce.bytes().all(base64url);
    valid.then(|| nonce.to_string())
}

/// The JSON body of a successful response.
pub(super) fn json_of(url: &str, response: &Response) -> Result<Value, Error> {
    serde_json::from_slice(&response.body).map_err(|_| {
        let kind = response.media_type().filter(|kind| !kind.ends_with("json"));
        let what = kind.map_or_else(String::new, |kind| format!(", but {}", line(&kind, MAX_URL)));
        Error::Protocol(format!("the answer of {url} is not the JSON it should be{what}"))
    })
}

/// The `Location` of a new resource (RFC 8555 §7.3, §7.4).
pub(super) fn location(url: &str, response: &Response) -> Result<String, Error> {
    match response.header("location") {
        Some(location) if address::is_url(location) => Ok(location.to_string()),
        _ => Err(Error::Protocol(format!("the answer of {url} has no Location that is an http(s) URL"))),
    }
}
