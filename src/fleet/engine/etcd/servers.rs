// SPDX-License-Identifier: Apache-2.0
//! Requests to the servers of the list, one after the other until one answers, with the token of a user. Stays
//! with a server that works. Never sends again what must not be carried out twice.

use super::super::{Error, Revision};
use super::wire::{Fault, garbled, parse, text};
use crate::config::fleet::Server;
use crate::fleet::access::Access;
use crate::http::{self, Direct, DirectOptions, Limits, Lines, Request, Response, Transport};
use crate::time::{StopFlag, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of a call, without an answer.
const LIMIT: Duration = Duration::from_secs(10);
/// The least for a server.
const LEAST: Duration = Duration::from_secs(2);
/// Bytes of an answer: a few of the largest values in base64.
const ANSWER_MAX: usize = 8 * 1024 * 1024;
const TOKEN_MAX: usize = 4096;

pub struct Answer {
    pub body: Value,
    /// By the server's clock.
    pub time: Option<Timestamp>,
}

/// Whether a request that a server may have got can be sent again.
#[derive(Clone, Copy, PartialEq)]
pub enum Again {
    Yes,
    No,
}

/// Why there is no answer.
pub struct Failed {
    pub error: Error,
    /// The answer is larger than the limit.
    pub is_large: bool,
    /// A lease of this number is there already.
    pub is_lease_in_force: bool,
    /// Another server may do better.
    is_of_server: bool,
    /// The server may have carried out the request.
    is_sent: bool,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        failed.error
    }
}

impl Failed {
    fn answered(error: Error) -> Self {
        Failed { error, is_large: false, is_lease_in_force: false, is_of_server: false, is_sent: true }
    }

    fn told(fault: Fault) -> Self {
        let (is_of_server, is_lease_in_force) = (fault.is_of_this_server(), fault.is_lease_in_force());
        Failed { is_of_server, is_lease_in_force, ..Failed::answered(fault.into_error()) }
    }

    /// The answer is of something else than etcd, which another server of the list may be.
    fn garbled(error: Error) -> Self {
        Failed { is_of_server: true, ..Failed::answered(error) }
    }

    fn http(error: http::Error, server: &str) -> Self {
        let unreachable = || Error::Unreachable(format!("{server}: {error}"));
        let answered = Failed::answered(Error::Stopped);
        match error {
            http::Error::Stopped => answered,
            http::Error::TooLarge => {
                let error = garbled("it is larger than any good one");
                Failed { error, is_large: true, ..answered }
            }
            http::Error::Timeout => Failed { error: Error::Timeout, is_of_server: true, ..answered },
            http::Error::Refused | http::Error::Dns(_) | http::Error::Tls(..) => {
                Failed { error: unreachable(), is_of_server: true, is_sent: false, ..answered }
            }
            _ => Failed { error: unreachable(), is_of_server: true, ..answered },
        }
    }
}

/// A way to send, with its limits.
struct Way {
    direct: Direct,
    /// For a server, and for all together.
    each: Duration,
    all: Duration,
}

impl Way {
    fn new(options: &DirectOptions, servers: usize, all: Duration, least: Duration) -> Result<Self, Error> {
        let each = (all / u32::try_from(servers.max(1)).unwrap_or(u32::MAX)).max(least);
        let limits = Limits { stall: each, exchange: all, body: ANSWER_MAX };
        let options = DirectOptions { limits, ..options.clone() };
        let direct = Direct::new(options).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Way { direct, each, all })
    }
}

pub struct Servers {
    scheme: &'static str,
    /// Host and port.
    addresses: Vec<String>,
    /// The one in use.
    current: AtomicUsize,
    usual: Way,
    options: DirectOptions,
    user: Option<(String, String)>,
    /// Empty where the server wants none.
    token: Mutex<Option<String>>,
    /// The highest revision that any answer told.
    latest: AtomicU64,
}

impl Servers {
    pub fn new(access: &Access) -> Result<Self, Error> {
        let is_tls = access.is_tls;
        let options = DirectOptions {
            ca_pem: access.ca_pem.clone().filter(|_| is_tls),
            client_pem: access.client_pem.clone().filter(|_| is_tls),
            user_agent: format!("mod_md/{}", crate::VERSION),
            limits: Limits::default(),
            stop: access.stop.clone(),
        };
        let user = match &access.user {
            Some((name, password)) => match String::from_utf8(password.clone()) {
                Ok(password) => Some((name.clone(), password)),
                Err(_) => return Err(Error::Invalid("the password of the engine is no UTF-8".into())),
            },
            None => None,
        };
        let addresses: Vec<String> = access.servers.iter().map(address).collect();
        if addresses.is_empty() {
            return Err(Error::Invalid("no server is named".into()));
        }
        let usual = Way::new(&options, addresses.len(), LIMIT, LEAST)?;
        let scheme = if is_tls { "etcds" } else { "etcd" };
        let (current, latest, token) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Ok(Servers { scheme, addresses, current, usual, options, user, token, latest })
    }

    pub fn name(&self) -> String {
        format!("{}://{}", self.scheme, self.address(self.current()))
    }

    pub fn saw(&self, revision: Revision) {
        self.latest.fetch_max(revision.0, Ordering::Relaxed);
    }

    pub fn latest(&self) -> Revision {
        Revision(self.latest.load(Ordering::Relaxed))
    }

    pub fn call(&self, path: &str, body: &Value, again: Again) -> Result<Answer, Failed> {
        self.each(&self.usual, again, |way, at| self.ask(way, at, path, body, again))
    }

    /// A call that goes on while the process stops, and takes no longer than that.
    pub fn call_within(&self, within: Duration, path: &str, body: &Value) -> Result<Answer, Failed> {
        let options = DirectOptions { stop: StopFlag::default(), ..self.options.clone() };
        // Room for a second server.
        let servers = self.addresses.len().min(2);
        let way = Way::new(&options, servers, within, Duration::ZERO).map_err(Failed::answered)?;
        let limits = Limits { stall: way.each, exchange: way.each, body: ANSWER_MAX };
        let direct = Direct::new(DirectOptions { limits, ..options });
        let direct = direct.map_err(|error| Failed::answered(Error::Invalid(error.to_string())))?;
        self.each(&Way { direct, ..way }, Again::Yes, |way, at| self.ask(way, at, path, body, Again::Yes))
    }

    /// Opens a stream.
    pub fn open(&self, path: &str, body: &Value) -> Result<Lines, Failed> {
        self.each(&self.usual, Again::Yes, |way, at| {
            let mut lines = self.send(way, at, path, body, |request| way.direct.stream(request))?;
            if lines.status() == 200 {
                return Ok(lines);
            }
            let line = lines.next_line(way.each).map_err(|error| Failed::http(error, self.address(at)))?;
            let answer = parse(&line.unwrap_or_default()).map_err(Failed::garbled)?;
            Err(Fault::of(&answer).map_or_else(
                || Failed::garbled(garbled(&format!("it has the status {}", lines.status()))),
                Failed::told,
            ))
        })
    }

    /// The token is none any more.
    pub fn log_out(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    fn address(&self, at: usize) -> &str {
        self.addresses.get(at).map_or("", String::as_str)
    }

    /// Tries the servers in turn, beginning with the one in use.
    fn each<T>(
        &self,
        way: &Way,
        again: Again,
        attempt: impl Fn(&Way, usize) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let (begun, mut left) = (Instant::now(), self.addresses.len());
        loop {
            let at = self.current();
            let failed = match attempt(way, at) {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            if failed.is_of_server {
                let next = (at + 1) % self.addresses.len();
                // Another thread may have gone on already.
                let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            left -= 1;
            let is_harmless = again == Again::Yes || !failed.is_sent;
            let has_time = begun.elapsed() + way.each / 2 < way.all;
            if left == 0 || !failed.is_of_server || !is_harmless || !has_time {
                return Err(failed);
            }
        }
    }

    /// Sends a request to one server; logs in again where the server no longer knows the token.
    fn ask(&self, way: &Way, at: usize, path: &str, body: &Value, again: Again) -> Result<Answer, Failed> {
        let mut has_logged_in = false;
        loop {
            let response = self.send(way, at, path, body, |request| match again {
                Again::Yes => Transport::send(&way.direct, request),
                Again::No => way.direct.send_once(request),
            })?;
            match understood(&response) {
                Ok(answer) => return Ok(answer),
                Err(Refusal::Told(fault))
                    if fault.is_logged_out() && self.user.is_some() && !has_logged_in =>
                {
                    self.log_out();
                    has_logged_in = true;
                }
                Err(Refusal::Told(fault)) => return Err(Failed::told(fault)),
                Err(Refusal::Garbled(error)) => return Err(Failed::garbled(error)),
            }
        }
    }

    fn send<T>(
        &self,
        way: &Way,
        at: usize,
        path: &str,
        body: &Value,
        send: impl FnOnce(&Request<'_>) -> Result<T, http::Error>,
    ) -> Result<T, Failed> {
        let token = self.token(way, at)?;
        let (url, body) = (self.url(at, path), body.to_string());
        let credentials = [("Authorization", token.as_str())];
        let credentials = if token.is_empty() { &[] } else { &credentials[..] };
        let request = Request { credentials, ..Request::post(&url, "application/json", body.as_bytes()) };
        send(&request).map_err(|error| Failed::http(error, self.address(at)))
    }

    fn url(&self, at: usize, path: &str) -> String {
        let scheme = if self.scheme == "etcds" { "https" } else { "http" };
        format!("{scheme}://{}/v3/{path}", self.address(at))
    }

    /// The token of the user, after a log-in where there is none.
    fn token(&self, way: &Way, at: usize) -> Result<String, Failed> {
        let Some((name, password)) = &self.user else { return Ok(String::new()) };
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = kept {
            return Ok(token);
        }
        let (url, body) = (self.url(at, "auth/authenticate"), json!({ "name": name, "password": password }));
        let body = zeroize::Zeroizing::new(body.to_string());
        let request = Request::post(&url, "application/json", body.as_bytes());
        let response = Transport::send(&way.direct, &request);
        // A log-in carries out nothing of the call.
        let unsent = |failed: Failed| Failed { is_sent: false, ..failed };
        let response = response.map_err(|error| unsent(Failed::http(error, self.address(at))))?;
        let token = match understood(&response) {
            Ok(answer) => new_token(&answer.body).map_err(|error| unsent(Failed::garbled(error)))?,
            Err(Refusal::Told(fault)) if fault.is_auth_disabled() => String::new(),
            Err(Refusal::Told(fault)) => return Err(unsent(Failed::told(fault))),
            Err(Refusal::Garbled(error)) => return Err(unsent(Failed::garbled(error))),
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}

fn address(server: &Server) -> String {
    let Server { host, port } = server;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn new_token(answer: &Value) -> Result<String, Error> {
    let token = text(answer, "token")?;
    let is_fit = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if is_fit { Ok(token.to_string()) } else { Err(garbled("it has no token that could be sent")) }
}

enum Refusal {
    Told(Fault),
    Garbled(Error),
}

/// An answer of success, without the `result` around those of streams.
fn understood(response: &Response) -> Result<Answer, Refusal> {
    let status = response.status;
    let mut body = match parse(&response.body) {
        Ok(body) => body,
        // In plain text, before it comes to gRPC.
        Err(_) if response.body.windows(10).any(|part| part == b"CommonName") => {
            let text = "the client certificate has a common name, which etcd's gateway takes from nobody once \
                        there are users: use one without, or none";
            return Err(Refusal::Told(Fault { code: 7, text: text.into() }));
        }
        Err(Error::Garbled(why)) if status != 200 => {
            return Err(Refusal::Garbled(Error::Garbled(format!("status {status}, and {why}"))));
        }
        Err(error) => return Err(Refusal::Garbled(error)),
    };
    if let Some(fault) = Fault::of(&body) {
        return Err(Refusal::Told(fault));
    }
    if status != 200 {
        return Err(Refusal::Garbled(Error::Garbled(format!("status {status} without a reason"))));
    }
    if let Some(result) = body.get_mut("result").map(Value::take) {
        body = result;
    }
    let time = response.header("date").and_then(Timestamp::parse_http_date);
    Ok(Answer { body, time })
}
