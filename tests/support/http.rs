// SPDX-License-Identifier: Apache-2.0
//! One HTTP/1.1 request over one connection, plain or TLS without verification, sent byte for byte as the
//! test gives it.

use std::io::{self, Read, Write};

use openssl::ssl::{Ssl, SslContext, SslMethod};

use super::stream::Stream;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

pub fn get(port: u16, host: &str, path: &str) -> io::Result<Response> {
    request(port, "GET", host, path, &[])
}

pub fn request(
    port: u16,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    exchange(Stream::connect(port)?, method, host, path, headers)
}

pub fn https_get(port: u16, host: &str, path: &str) -> io::Result<Response> {
    https_request(port, "GET", host, path, &[])
}

pub fn https_request(
    port: u16,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let context = SslContext::builder(SslMethod::tls_client())?.build();
    let mut tls = Ssl::new(&context)?;
    tls.set_hostname(host)?;
    let stream = tls.connect(Stream::connect(port)?).map_err(|e| io::Error::other(e.to_string()))?;
    exchange(stream, method, host, path, headers)
}

/// A POST in plain HTTP, of this body.
#[allow(dead_code, reason = "tests with CAs of others alone do this")]
pub fn post(port: u16, host: &str, path: &str, body: &str) -> io::Result<Response> {
    let length = body.len().to_string();
    exchange_with(Stream::connect(port)?, "POST", host, path, &[("Content-Length", length.as_str())], body)
}

/// A POST over TLS, of this body.
pub fn https_post(port: u16, host: &str, path: &str, body: &str) -> io::Result<Response> {
    let context = SslContext::builder(SslMethod::tls_client())?.build();
    let mut tls = Ssl::new(&context)?;
    tls.set_hostname(host)?;
    let stream = tls.connect(Stream::connect(port)?).map_err(|e| io::Error::other(e.to_string()))?;
    let length = body.len().to_string();
    let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
    exchange_with(stream, "POST", host, path, &headers, body)
}

fn exchange(
    stream: impl Read + Write,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    exchange_with(stream, method, host, path, headers, "")
}

fn exchange_with(
    mut stream: impl Read + Write,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lab\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Some peers end a TLS connection without close_notify.
        Err(e) if answer.is_empty() => return Err(e),
        _ => {}
    }
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::other(format!("not an HTTP answer: {} bytes", answer.len())))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body)? } else { body.to_string() };
    Some(Response { status, headers, body })
}

/// RFC 9112 §7.1, without trailers.
fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body += after.get(..size)?;
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}
