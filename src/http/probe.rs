// SPDX-License-Identifier: Apache-2.0
//! One request to one address, as a CA's validation server sends it: no proxy, no credentials, no check of
//! certificates, and little patience. Reads the head of the response and the beginning of its body. Refuses
//! heads without end and what is not HTTP. Follows no redirect. Imports `url` and `log`.

use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of a response's head.
const HEAD_MAX: usize = 16 * 1024;

/// What is asked for, and where.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    pub address: SocketAddr,
    pub is_https: bool,
    /// Of the URL, without a port: the header `Host`, and the name in the handshake.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
}

/// How patient a probe is, and how much it reads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect: Duration,
    /// From the connection to the end of the response.
    pub exchange: Duration,
    pub body: usize,
}

impl Default for Limits {
    /// Those of large CAs, about.
    fn default() -> Self {
        Limits { connect: Duration::from_secs(10), exchange: Duration::from_secs(10), body: 1024 }
    }
}

/// The response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The beginning.
    pub body: Vec<u8>,
    /// The server's certificate, in DER.
    pub certificate: Option<Vec<u8>>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something answers at the address, and refuses the port.
    #[error("the connection is refused")]
    Refused,
    /// Nothing answers at the address.
    #[error("no answer to the connection within {} seconds", .0.as_secs())]
    NoAnswer(Duration),
    /// This machine knows no way to such addresses.
    #[error("this machine has no route to it: {0}")]
    NoRoute(String),
    /// A router on the way knows no way.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("the connection stands, but no response came within {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("the server closed the connection without a response")]
    Closed,
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    #[error("the answer is not HTTP")]
    Garbage,
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// There was no connection.
    pub fn is_unconnected(&self) -> bool {
        matches!(
            self,
            Failure::Refused | Failure::NoAnswer(_) | Failure::NoRoute(_) | Failure::Unreachable(_)
        )
    }
}

impl Seen {
    /// A response without a head, for tests and as a start.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Seen { status, headers, body: body.to_vec(), certificate: None }
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `None`: the head has no end yet. Inner `None`: it is none.
    fn parse(bytes: &[u8], limit: usize) -> Option<Option<Seen>> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else { return (bytes.len() > HEAD_MAX).then_some(None) };
        let (head, body) = (bytes.get(..end)?, bytes.get(end + 4..)?);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(status);
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let texts = [name, value].map(|text| text.trim().to_string());
            // RFC 9110 §5.5. Other control characters are shown as such.
            let is_line = texts.iter().all(|text| !text.contains(['\r', '\n']));
            is_line.then(|| texts.into())
        };
        let headers = lines.filter_map(header).collect();
        let body = body.get(..limit).unwrap_or(body).to_vec();
        Some(status.map(|status| Seen { status, headers, body, certificate: None }))
    }

    /// All of the body that is wanted is there.
    fn is_whole(&self, limit: usize) -> bool {
        let length = self.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let has_none = matches!(self.status, 204 | 304);
        has_none || self.body.len() >= length.map_or(limit, |length| length.min(limit))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// The status of a status line.
fn status(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    (version.starts_with("HTTP/1.") && status >= 100).then_some(status)
}

/// The beginning of a body in chunks (RFC 9112 §7.1), as far as it is there.
fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
        let size = size.split(';').next().unwrap_or_default().trim();
        let (Ok(size), Some(rest)) = (usize::from_str_radix(size, 16), bytes.get(end + 2..)) else { break };
        if size == 0 {
            break;
        }
        out.extend_from_slice(rest.get(..size).unwrap_or(rest));
        let Some(next) = size.checked_add(2).and_then(|skipped| rest.get(skipped..)) else { break };
        bytes = next;
    }
    out
}

/// Sends one GET.
pub fn get(probe: &Probe<'_>, limits: &Limits) -> Result<Seen, Failure> {
    let tcp = TcpStream::connect_timeout(&probe.address, limits.connect)
        .map_err(|error| unconnected(&error, limits.connect))?;
    let deadline = Instant::now() + limits.exchange;
    if !probe.is_https {
        return exchange(
            tcp.try_clone().map_err(|error| broken(&error, limits))?,
            &tcp,
            probe,
            limits,
            deadline,
        );
    }
    patient(&tcp, deadline, limits)?;
    let stream = handshake(probe, tcp.try_clone().map_err(|error| broken(&error, limits))?, limits)?;
    let certificate = stream.ssl().peer_certificate().and_then(|certificate| certificate.to_der().ok());
    let seen = exchange(stream, &tcp, probe, limits, deadline)?;
    Ok(Seen { certificate, ..seen })
}

fn unconnected(error: &io::Error, limit: Duration) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::TimedOut => Failure::NoAnswer(limit),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Failure::NoRoute(crate::log::plain(error))
        }
        ErrorKind::HostUnreachable | ErrorKind::PermissionDenied | ErrorKind::InvalidInput => {
            Failure::Unreachable(crate::log::plain(error))
        }
        _ => Failure::Other(crate::log::plain(error)),
    }
}

fn broken(error: &io::Error, limits: &Limits) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent(limits.exchange),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Failure::Closed,
        _ => Failure::Other(crate::log::plain(error)),
    }
}

/// Has the next wait end with the time that is left.
fn patient(tcp: &TcpStream, deadline: Instant, limits: &Limits) -> Result<(), Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::Silent(limits.exchange));
    }
    let set = tcp.set_read_timeout(Some(left)).and_then(|()| tcp.set_write_timeout(Some(left)));
    set.map_err(|error| broken(&error, limits))
}

/// As CAs do on redirects, takes any certificate.
fn handshake(probe: &Probe<'_>, tcp: TcpStream, limits: &Limits) -> Result<SslStream<TcpStream>, Failure> {
    let failed = |stack: openssl::error::ErrorStack| {
        let reason = stack.errors().first().and_then(|error| error.reason().map(String::from));
        Failure::Tls(reason.unwrap_or_else(|| "the server gave no reason".into()))
    };
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    builder.set_verify(SslVerifyMode::NONE);
    let mut settings = builder.build().configure().map_err(failed)?;
    settings.set_verify_hostname(false);
    match settings.connect(probe.host, tcp) {
        Ok(stream) => Ok(stream),
        Err(HandshakeError::SetupFailure(stack)) => Err(failed(stack)),
        Err(HandshakeError::Failure(mid) | HandshakeError::WouldBlock(mid)) => {
            match mid.into_error().into_io_error() {
                Ok(error) => Err(broken(&error, limits)),
                Err(error) => Err(error.ssl_error().map_or(Failure::Closed, |stack| failed(stack.clone()))),
            }
        }
    }
}

fn exchange<S: Read + Write>(
    mut stream: S,
    tcp: &TcpStream,
    probe: &Probe<'_>,
    limits: &Limits,
    deadline: Instant,
) -> Result<Seen, Failure> {
    let host = if probe.host.contains(':') { format!("[{}]", probe.host) } else { probe.host.to_string() };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: a2md/{} (doctor)\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.target,
        crate::VERSION
    );
    patient(tcp, deadline, limits)?;
    stream.write_all(request.as_bytes()).map_err(|error| broken(&error, limits))?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    // Chunks have lines of their own.
    let room = limits.body * 2;
    loop {
        patient(tcp, deadline, limits)?;
        let amount = match stream.read(&mut buffer) {
            Ok(amount) => amount,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // What came before the end is a response.
            Err(error) => match Seen::parse(&bytes, room).flatten() {
                Some(seen) => return Ok(finished(seen, limits)),
                None => return Err(broken(&error, limits)),
            },
        };
        bytes.extend_from_slice(buffer.get(..amount).unwrap_or_default());
        match Seen::parse(&bytes, room) {
            Some(None) => return Err(Failure::Garbage),
            Some(Some(seen)) if amount == 0 || seen.is_whole(room) => return Ok(finished(seen, limits)),
            None if amount == 0 && bytes.is_empty() => return Err(Failure::Closed),
            None if amount == 0 => return Err(Failure::Garbage),
            _ => {}
        }
    }
}

fn finished(seen: Seen, limits: &Limits) -> Seen {
    let mut body = if seen.is_chunked() { dechunked(&seen.body) } else { seen.body.clone() };
    body.truncate(limits.body);
    Seen { body, ..seen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const SHORT: Limits =
        Limits { connect: Duration::from_secs(5), exchange: Duration::from_millis(300), body: 16 };

    /// Sends this answer to one request, and closes or keeps the connection. What came of the probe, and the
    /// request.
    fn answered(answer: &'static [u8], closes: bool) -> (Result<Seen, Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            (String::from_utf8_lossy(&request[..length]).into_owned(), (!closes).then_some(stream))
        });
        let probe = Probe { address, is_https: false, host: "a.test", target: "/x?y" };
        let seen = get(&probe, &SHORT);
        (seen, server.join().unwrap().0)
    }

    #[test]
    fn a_request_has_the_name_and_no_credentials_and_its_answer_is_read_as_far_as_wanted() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: x\x1b[2J\r\nContent-Length: 40\r\n\r\n0123456789012345678901234567890123456789";
        let (seen, request) = answered(answer, false);
        let seen = seen.unwrap();
        assert_eq!((seen.status, seen.body.as_slice()), (200, &b"0123456789012345"[..]));
        assert_eq!(seen.header("SERVER"), Some("x\u{1b}[2J"));
        assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: a.test\r\n"), "{request}");
        assert!(!request.to_lowercase().contains("authorization"), "{request}");
    }

    #[test]
    fn bodies_end_by_length_by_chunks_or_with_the_connection() {
        for (answer, closes, body) in [
            (&b"HTTP/1.0 404 Not Found\r\n\r\nabc"[..], true, &b"abc"[..]),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
                true,
                b"abcde",
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", true, b"abc"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", false, b""),
            (b"HTTP/1.1 301\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", false, b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false, b"abc"),
        ] {
            let seen = answered(answer, closes).0;
            assert_eq!(seen.unwrap().body, body, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        assert_eq!(answered(b"", true).0, Err(Failure::Closed));
        assert_eq!(answered(b"", false).0, Err(Failure::Silent(SHORT.exchange)));
        assert_eq!(answered(b"SSH-2.0-x\r\n\r\n", true).0, Err(Failure::Garbage));
        assert_eq!(answered(b"HTTP/1.1 20", true).0, Err(Failure::Garbage));
        static LONG: [u8; HEAD_MAX + 5000] = [b'a'; HEAD_MAX + 5000];
        assert_eq!(answered(&LONG, false).0, Err(Failure::Garbage));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let probe = Probe { address, is_https: true, host: "a.test", target: "/" };
        assert_eq!(get(&probe, &SHORT), Err(Failure::Refused));
    }
}
