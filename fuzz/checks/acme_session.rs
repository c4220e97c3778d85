// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever a CA answers over HTTP in a whole session, headers included: nothing panics,
//! every request goes to a server that the directory names, and what comes of it is bounded.

use super::acme;
use super::plain::{assert_line, assert_url};
use mod_md::acme::{Error, OrderOptions, Server, Session};
use mod_md::crypto::PrivateKey;
use mod_md::http::{self, Method, Request, Response, Transport};
use mod_md::model::KeySpec;
use mod_md::time::{Clock, DAY, Stopped, Timestamp};
use mod_md::url::Url;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const DIRECTORY: &str = "https://ca.test/dir";
/// Requests that one call may take: those after `badNonce`, each with a HEAD.
const REQUESTS_MAX: usize = 40;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::generate(&KeySpec::Ec("P-256".into())).unwrap());

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn sleep(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

/// Says what was written down, one answer after the other; then nothing any more.
struct Scripted {
    answers: Mutex<VecDeque<Response>>,
    asked: Mutex<Vec<String>>,
}

impl Transport for Scripted {
    fn send(&self, request: &Request<'_>) -> Result<Response, http::Error> {
        self.asked.lock().unwrap().push(request.url.to_string());
        if request.method == Method::Head {
            return Ok(Response::new(204, vec![("Replay-Nonce".into(), "bm9uY2U".into())], Vec::new()));
        }
        self.answers.lock().unwrap().pop_front().ok_or(http::Error::Timeout)
    }
}

/// Answers, with NUL between them: the status, lines of headers, an empty line, the body.
pub fn responses(bytes: &[u8]) -> VecDeque<Response> {
    bytes.split(|byte| *byte == 0).take(16).map(response).collect()
}

fn response(bytes: &[u8]) -> Response {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(200);
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.trim().to_string()));
    Response::new(status, lines.filter_map(pair).collect(), body.to_vec())
}

pub fn check(bytes: &[u8]) {
    let answers = Mutex::new(responses(bytes));
    let transport = Arc::new(Scripted { answers, asked: Mutex::default() });
    let server = match Server::connect(DIRECTORY, transport.clone(), Arc::new(Still)) {
        Ok(server) => Arc::new(server),
        Err(error) => return failed(&error),
    };
    acme::directory(server.directory());
    let directory = server.directory();
    let named = [&directory.new_nonce, &directory.new_account, &directory.new_order];
    let offered = [&directory.revoke_cert, &directory.key_change, &directory.renewal_info];
    let named = named.into_iter().chain(offered.into_iter().flatten()).map(String::as_str);
    let origins: Vec<_> = named.chain([DIRECTORY]).map(|url| Url::parse(url).unwrap().origin).collect();
    session(&server);
    let asked = transport.asked.lock().unwrap();
    assert!(asked.len() <= 16 * REQUESTS_MAX);
    for url in asked.iter() {
        assert_url(url);
        let origin = Url::parse(url).unwrap().origin;
        assert!(origin.is_https && origins.contains(&origin), "{url} is nowhere in the directory");
    }
}

/// As far as the CA goes along.
fn session(server: &Arc<Server>) {
    if let Some(Some(polled)) = told(server.renewal_info("YWtp.c2VyaWFs")) {
        let info = polled.value;
        assert!(info.start <= info.end);
        info.explanation.iter().for_each(assert_url);
        in_time(polled.retry_after);
    }
    let contacts = ["mailto:admin@a.test".to_string()];
    let Some(account) = told(server.register(&KEY, &contacts, Some("accepted"), None)) else { return };
    assert_url(&account.url);
    assert_line(&account.status);
    let session = Session::new(server.clone(), KEY.clone(), account.url);
    let names = ["a.test".to_string()];
    let Some(placed) = told(session.new_order(&names, &OrderOptions::default())) else { return };
    in_time(placed.retry_after);
    acme::order(&placed.value);
    assert_url(&placed.value.url);
    for url in placed.value.authorizations.iter().take(2) {
        let Some(found) = told(session.authorization(url)) else { break };
        in_time(found.retry_after);
        for challenge in found.value.challenges.iter().filter(|found| !found.url.is_empty()).take(1) {
            told(session.start_challenge(&challenge.url))
                .into_iter()
                .for_each(|polled| in_time(polled.retry_after));
        }
        acme::authorization(found.value);
    }
    let Some(ready) = told(session.order(&placed.value.url)) else { return };
    acme::order(&ready.value);
    if ready.value.finalize.is_some() {
        let _ = told(session.finalize(&ready.value, b"0\x00"));
    }
    if let Some(url) = &ready.value.certificate
        && let Some(download) = told(session.certificate_with_alternates(url))
    {
        assert!(download.alternates.len() <= 20);
        download.alternates.iter().for_each(assert_url);
        for (at, url) in download.alternates.iter().enumerate() {
            assert!(!download.alternates[..at].contains(url), "twice: {url}");
        }
        // Text around the blocks may be in any encoding.
        let chain = String::from_utf8_lossy(&download.chain);
        let blocks = mod_md::crypto::pem::blocks(chain.as_bytes());
        assert!(blocks.is_some_and(|blocks| blocks.iter().all(|(label, _)| *label == "CERTIFICATE")));
        let chain = mod_md::crypto::Chain::from_pem(&download.chain);
        assert!(chain.map_or(0, |chain| chain.certificates().len()) <= 20);
        if let Some(other) = download.alternates.first() {
            let _ = told(session.certificate(other));
        }
    }
    let _ = told(session.revoke(b"0\x00", None));
    let _ = told(session.change_key(&KEY));
    let _ = told(session.agree(&contacts));
}

fn told<T>(outcome: Result<T, Error>) -> Option<T> {
    outcome.map_err(|error| failed(&error)).ok()
}

fn failed(error: &Error) {
    assert_line(&error.to_string());
    error.problem().into_iter().for_each(acme::problem);
    if let Error::Problem { retry_after, .. } = error {
        in_time(*retry_after);
    }
}

/// One absurd header must not let certificates expire.
fn in_time(retry_after: Option<Timestamp>) {
    assert!(retry_after.is_none_or(|at| at <= NOW.plus(DAY * 10)), "{retry_after:?}");
}
