// SPDX-License-Identifier: Apache-2.0
//! HTTP for the protocols above: one request, one complete and bounded response. Knows nothing of ACME.
//! Refuses bodies above [`MAX_BODY`] and servers whose certificate cannot be verified; returns redirects
//! without following them. Imports `time`, `url`, `log`, `crypto`, from `model` the codes of errors, and from
//! `store` what reads files of the admin.

pub mod client;
pub mod connection;
pub mod probe;
mod tls;
mod wait;

pub use client::{Client, Direct, DirectOptions, LINE_MAX, Limits, Lines, Options};

use crate::time::{Stopped, Timestamp};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The largest response body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// The latest a `Retry-After` is believed to lie: above the longest rate limit of a public CA (a week),
/// below anything that would let certificates expire because of one absurd header.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10 * 86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
}

#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: Method,
    /// Absolute, `http` or `https`.
    pub url: &'a str,
    /// The media type the answer is wanted in.
    pub accept: Option<&'a str>,
    pub content_type: Option<&'a str>,
    /// Names and values that identify us to the server. No log has the values.
    pub credentials: &'a [(&'a str, &'a str)],
    pub body: Option<&'a [u8]>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.credentials.iter().map(|(name, _)| *name).collect();
        let mut text = f.debug_struct("Request");
        text.field("method", &self.method).field("url", &self.url).field("accept", &self.accept);
        text.field("content_type", &self.content_type).field("credentials", &names);
        text.field("body", &self.body).finish()
    }
}

impl<'a> Request<'a> {
    pub fn get(url: &'a str) -> Self {
        Request { method: Method::Get, url, accept: None, content_type: None, credentials: &[], body: None }
    }

    pub fn head(url: &'a str) -> Self {
        Request { method: Method::Head, ..Request::get(url) }
    }

    pub fn post(url: &'a str, content_type: &'a str, body: &'a [u8]) -> Self {
        let (content_type, body) = (Some(content_type), Some(body));
        Request { method: Method::Post, content_type, body, ..Request::get(url) }
    }
}

/// A response of any status.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Response {
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        Response { status, body, headers }
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_all(name).next()
    }

    /// Every header of this name, in any case and in order.
    pub fn headers_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
    }

    /// When to come back (RFC 9110 §10.2.3: seconds or a date), at most ten days from `now`.
    pub fn retry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let text = self.header("retry-after")?.trim();
        let latest = now.plus(MAX_RETRY_AFTER);
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than a number holds are a time beyond any limit.
            let seconds = text.parse().map(Duration::from_secs).unwrap_or(Duration::MAX);
            return Some(now.plus(seconds).min(latest));
        }
        Timestamp::parse_http_date(text).map(|t| t.min(latest))
    }
}

/// There is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("connection refused")]
    Refused,
    #[error("no answer in time")]
    Timeout,
    /// TLS failed, with OpenSSL's reason.
    #[error("{1}")]
    Tls(TlsFault, String),
    #[error("the host name cannot be resolved: {0}")]
    Dns(String),
    #[error("the response is larger than the limit")]
    TooLarge,
    #[error("{}", Stopped)]
    Stopped,
    #[error("the URL of the HTTP proxy is not valid")]
    Proxy,
    /// The request or the configuration cannot be used as it is; nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// The operating system gives this process no thread to connect with, by its error number and its words. Nothing
    /// was sent.
    #[error("httpd cannot start a thread: {1}")]
    Thread(i32, String),
    /// `status` is the operating system's error number where there is one, else 20014.
    #[error("{reason}")]
    Other { status: i32, reason: String },
}

/// The reason why there is no TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// By the clock of this machine, the time of the server's certificate is past or has not begun.
    Time,
    /// The server's certificate has another name.
    Name,
    /// The server's certificate cannot be verified for another reason.
    Trust,
    /// The handshake failed before that.
    Handshake,
}

impl Error {
    /// The `apr_status_t` that stands for this failure.
    pub fn status(&self) -> i32 {
        use crate::model::job::status;
        match self {
            Error::Refused => status::REFUSED,
            Error::Timeout => 70007,
            Error::Invalid(_) | Error::Proxy => status::INVALID,
            Error::Other { status, .. } | Error::Thread(status, _) => *status,
            Error::Tls(..) | Error::Dns(_) | Error::TooLarge | Error::Stopped => status::GENERAL,
        }
    }

    /// A failure that has no number of its own.
    fn other(reason: impl Into<String>) -> Self {
        Error::Other { status: crate::model::job::status::GENERAL, reason: reason.into() }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::ConnectionRefused, _) => Error::Refused,
            (ErrorKind::TimedOut, _) => Error::Timeout,
            (ErrorKind::UnexpectedEof, _) => {
                Error::other("the server closed the connection without an answer")
            }
            (_, Some(status)) => Error::Other { status, reason: crate::log::plain(&error) },
            (_, None) => Error::other(error.to_string()),
        }
    }
}

/// Sends a request and waits for its whole response. Threads share one.
pub trait Transport: Send + Sync {
    fn send(&self, request: &Request<'_>) -> Result<Response, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Response {
        Response::new(200, vec![(name.into(), value.into())], Vec::new())
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let response = with("Replay-Nonce", "n");
        assert_eq!(response.header("replay-nonce"), Some("n"));
        assert_eq!(response.header("nonce"), None);
        assert_eq!(
            with("Content-Type", "Application/JSON; x=y").media_type().as_deref(),
            Some("application/json")
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_absurdly_late() {
        let now = Timestamp::from_unix(1_567_094_795);
        let cases = [
            ("0", Some(now)),
            (" 120 ", Some(now.plus(Duration::from_secs(120)))),
            ("Thu, 29 Aug 2019 16:07:35 GMT", Some(now.plus(Duration::from_secs(60)))),
            ("Thu, 29 Aug 2219 16:07:35 GMT", Some(now.plus(MAX_RETRY_AFTER))),
            ("99999999999999999999999", Some(now.plus(MAX_RETRY_AFTER))),
            ("18446744073709551615", Some(now.plus(MAX_RETRY_AFTER))),
            ("-5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(with("Retry-After", value).retry_after(now), expected, "{value:?}");
        }
        assert_eq!(Response::default().retry_after(now), None);
    }

    #[test]
    fn failures_carry_the_number_status_pages_show() {
        assert_eq!(Error::Refused.status(), 111);
        assert_eq!(Error::Timeout.status(), 70007);
        assert_eq!(Error::Tls(TlsFault::Trust, "x".into()).status(), 20014);
    }
}
