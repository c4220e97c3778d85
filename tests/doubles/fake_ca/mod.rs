// SPDX-License-Identifier: Apache-2.0
//! A CA in memory, behind `http::Transport`: RFC 8555 from the directory to the chain.
//!
//! It is strict where real servers are: it checks signatures, `url` and one-time nonces, and state changes
//! only as §7.1.6 defines. A request that a correct client never sends is a violation; dropping the CA panics
//! if there was one. Tests can script faults for single requests. The clock is passed in.

mod issuer;
mod jws;
mod quirks;
mod state;

pub use quirks::Quirk;
pub use state::{Rules, Sends};

use issuer::Issuer;
use jws::By;
use mod_md::http::{Error, Method, Request, Response, Transport};
use mod_md::time::Clock;
use serde_json::{Value, json};
use state::State;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a URL of this CA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Account,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    /// Another chain of a certificate.
    Alternate,
    Revoke,
    KeyChange,
    RenewalInfo,
    Unknown,
}

/// What goes wrong with the next request to an endpoint, instead of the CA's own answer.
pub enum Fault {
    /// The CA answers with a problem, and does nothing.
    Problem { status: u16, document: Value, retry_after: Option<&'static str> },
    /// The CA answers this, and does nothing.
    Raw(Answer),
    /// The request does not arrive.
    Unreached(Error),
    /// The request is obeyed, but its answer is lost.
    Lost(Error),
    /// The request is obeyed, its answer lost with the connection, and the very same request comes once more.
    Repeated,
    /// The request is obeyed, and its answer changed.
    Alter(fn(&mut Answer)),
}

/// A problem of ACME's own with its short name.
pub fn problem(name: &str, detail: &str) -> Value {
    json!({"type": format!("urn:ietf:params:acme:error:{name}"), "detail": detail})
}

#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("Content-Type".into(), "application/json".into())];
        Answer { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn problem(status: u16, body: &Value) -> Self {
        let headers = vec![("Content-Type".into(), "application/problem+json".into())];
        Answer { headers, ..Answer::json(status, body) }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Replaces a header, or removes it.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|v| (name.to_string(), v)));
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub endpoint: Endpoint,
    pub url: String,
    /// The signed payload; `Null` for a POST-as-GET and for requests without signature.
    pub payload: Value,
    pub accept: Option<String>,
}

pub struct FakeCa {
    base: String,
    clock: Arc<dyn Clock>,
    issuer: Issuer,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    faults: Vec<(Endpoint, VecDeque<Fault>)>,
    seen: Vec<Seen>,
    violations: Vec<String>,
}

impl FakeCa {
    /// The CA at `https://HOST/dir`.
    pub fn new(host: &str, clock: Arc<dyn Clock>) -> Arc<Self> {
        let issuer = Issuer::new(host, clock.now());
        Arc::new(FakeCa { base: format!("https://{host}"), clock, issuer, inner: Mutex::default() })
    }

    pub fn directory_url(&self) -> String {
        format!("{}/dir", self.base)
    }

    /// Changes how the CA behaves from now on.
    pub fn rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.lock().state.rules);
    }

    /// Scripts what happens to the next request to `endpoint` that no earlier script is for.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) {
        let mut inner = self.lock();
        match inner.faults.iter_mut().find(|(e, _)| *e == endpoint) {
            Some((_, queue)) => queue.push_back(fault),
            None => inner.faults.push((endpoint, VecDeque::from([fault]))),
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.lock().seen.iter().filter(|s| s.endpoint == endpoint).count()
    }

    /// How many orders were placed.
    pub fn order_count(&self) -> usize {
        self.lock().state.order_count()
    }

    /// How many accounts are registered.
    pub fn account_count(&self) -> usize {
        self.lock().state.account_count()
    }

    /// What is under way becomes ready with the next look.
    pub fn settle(&self) {
        self.lock().state.settle();
    }

    /// The CA looks by itself for the answer to the started challenge of the authorization with this URL.
    pub fn look_at(&self, authorization: &str) {
        let digits = authorization.rsplit('/').next().unwrap();
        self.lock().state.validate(digits.parse().unwrap());
    }

    /// What was revoked, as DER, and the reason given.
    pub fn revoked(&self) -> Vec<(Vec<u8>, Option<u64>)> {
        self.lock().state.revoked().to_vec()
    }

    /// PEM of the certificate that signs leaves, the second of every chain.
    pub fn issuer_pem(&self) -> Vec<u8> {
        self.issuer.pem()
    }

    /// Takes what was violated so far, so that a test which breaks rules on purpose can look at it.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().violations)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn endpoint(&self, url: &str) -> Endpoint {
        let path = url.strip_prefix(&self.base).unwrap_or_default();
        match path.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "/dir" => Endpoint::Directory,
            "/nonce" => Endpoint::NewNonce,
            "/new-account" => Endpoint::NewAccount,
            "/new-order" => Endpoint::NewOrder,
            "/account/" => Endpoint::Account,
            "/order/" => Endpoint::Order,
            "/authz/" => Endpoint::Authorization,
            "/chall/" => Endpoint::Challenge,
            "/finalize/" => Endpoint::Finalize,
            "/cert/" => Endpoint::Certificate,
            "/alternate/" => Endpoint::Alternate,
            "/revoke" => Endpoint::Revoke,
            "/key-change" => Endpoint::KeyChange,
            path if path.starts_with("/ari/") => Endpoint::RenewalInfo,
            _ => Endpoint::Unknown,
        }
    }

    fn directory(&self, rules: &Rules) -> Answer {
        let mut meta = json!({"externalAccountRequired": rules.eab_required});
        if let Some(terms) = &rules.terms {
            meta["termsOfService"] = json!(terms);
        }
        if !rules.profiles.is_empty() {
            meta["profiles"] = rules.profiles.iter().map(|p| (p.to_string(), json!("a profile"))).collect();
        }
        let url = |path: &str| format!("{}{path}", self.base);
        let mut directory = json!({
            "newNonce": url("/nonce"), "newAccount": url("/new-account"), "newOrder": url("/new-order"),
            "revokeCert": url("/revoke"), "keyChange": url("/key-change"), "meta": meta,
        });
        if rules.renewal_info.is_some() {
            directory["renewalInfo"] = json!(url("/ari"));
        }
        Answer::json(200, &directory)
    }

    fn answer(&self, inner: &mut Inner, endpoint: Endpoint, request: &Request<'_>) -> Answer {
        match (request.method, endpoint) {
            (Method::Get, Endpoint::Directory) => self.directory(&inner.state.rules),
            (Method::Get, Endpoint::RenewalInfo) => match &inner.state.rules.renewal_info {
                Some(info) => {
                    let mut answer = Answer::json(200, info);
                    answer.set("Retry-After", inner.state.rules.retry_after.clone());
                    answer
                }
                None => Answer::problem(404, &problem("malformed", "no such resource")),
            },
            (Method::Head, Endpoint::NewNonce) => {
                Answer { status: 200, ..Answer::default() }.with("Replay-Nonce", inner.state.nonce())
            }
            (Method::Post, _) => {
                let nonce = inner.state.nonce();
                self.signed(inner, endpoint, request).with("Replay-Nonce", nonce)
            }
            (method, _) => {
                inner.violations.push(format!("{method:?} {}", request.url));
                Answer::problem(405, &problem("malformed", "method not allowed"))
            }
        }
    }

    fn signed(&self, inner: &mut Inner, endpoint: Endpoint, request: &Request<'_>) -> Answer {
        let by = match endpoint {
            Endpoint::NewAccount => By::Key,
            Endpoint::Revoke => By::Either,
            _ => By::Account,
        };
        let message = match jws::Message::verify(request, by, |kid| inner.state.account_key(kid)) {
            Ok(message) => message,
            Err(why) => {
                inner.violations.push(format!("{}: {why}", request.url));
                return Answer::problem(400, &problem("malformed", &why));
            }
        };
        if let Some(seen) = inner.seen.last_mut() {
            seen.payload = message.payload.clone();
        }
        if !inner.state.use_nonce(&message.nonce) {
            return Answer::problem(400, &problem("badNonce", "JWS has an invalid anti-replay nonce"));
        }
        inner.state.perform(&self.base, endpoint, &message, &self.issuer, self.clock.now())
    }
}

impl Transport for FakeCa {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let mut inner = self.lock();
        let endpoint = self.endpoint(request.url);
        inner.seen.push(Seen {
            method: request.method,
            endpoint,
            url: request.url.to_string(),
            payload: Value::Null,
            accept: request.accept.map(String::from),
        });
        let script = inner.faults.iter_mut().find(|(e, _)| *e == endpoint);
        let answer = match script.and_then(|(_, queue)| queue.pop_front()) {
            None => {
                let mut answer = self.answer(&mut inner, endpoint, request);
                for quirk in inner.state.rules.quirks.iter().filter(|_| answer.status < 300) {
                    answer.body = quirk.distort(endpoint, &answer.body);
                }
                answer
            }
            Some(Fault::Unreached(error)) => return Err(error),
            Some(Fault::Lost(error)) => {
                self.answer(&mut inner, endpoint, request);
                return Err(error);
            }
            Some(Fault::Repeated) => {
                self.answer(&mut inner, endpoint, request);
                self.answer(&mut inner, endpoint, request)
            }
            Some(Fault::Raw(answer)) => answer,
            Some(Fault::Problem { status, document, retry_after }) => {
                let nonce = inner.state.nonce();
                let mut answer = Answer::problem(status, &document).with("Replay-Nonce", nonce);
                answer.set("Retry-After", retry_after.map(String::from));
                answer
            }
            Some(Fault::Alter(change)) => {
                let mut answer = self.answer(&mut inner, endpoint, request);
                change(&mut answer);
                answer
            }
        };
        Ok(Response::new(answer.status, answer.headers, answer.body))
    }
}

impl Drop for FakeCa {
    fn drop(&mut self) {
        let violations = self.take_violations();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "the client broke the protocol: {violations:#?}");
        }
    }
}
