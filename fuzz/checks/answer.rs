// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever a responder answers with over HTTP: nothing panics, only what [`Judge`] lets
//! pass is taken, and the next request is neither made at once nor put off for ever.

use super::response::{Judge, NOW};
use mod_md::http::{Error, Request, Response, Transport};
use mod_md::ocsp::{fetch, schedule};
use mod_md::time::{Clock, DAY, Stopped, Timestamp};
use std::time::Duration;

/// Says the same to everyone.
struct Canned(Response);

impl Transport for Canned {
    fn send(&self, _: &Request<'_>) -> Result<Response, Error> {
        Ok(self.0.clone())
    }
}

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

/// Lines as in HTTP/1.1: the status, headers, an empty one; then the body.
fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(200);
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_string(), value.to_string()));
    Response::new(status, lines.filter_map(pair).collect(), body.to_vec())
}

pub fn check(judge: &Judge, bytes: &[u8]) {
    let answer = Canned(parse(bytes));
    for current in [None, Some(&judge.current)] {
        for random in [0.0, 0.999] {
            let next = match fetch::fetch(&judge.subject, current, &answer, &Still) {
                Ok(fetched) => {
                    assert_eq!(answer.0.status, 200);
                    let response = judge.check(&answer.0.body).unwrap();
                    let window = judge.subject.terms.renew_window;
                    let next = schedule::after_success(&response, window, fetched.max_age, random, NOW);
                    assert!(next < response.until, "before it expires");
                    next
                }
                Err(failed) => {
                    let text = failed.to_string();
                    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
                    let base = Duration::from_secs(30);
                    schedule::after_failure(9, base, failed.retry_after, current, random, NOW)
                }
            };
            assert!(NOW.plus(Duration::from_secs(1)) <= next && next <= NOW.plus(DAY * 8), "{next:?}");
        }
    }
}
