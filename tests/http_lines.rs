// SPDX-License-Identifier: Apache-2.0
//! Answers without an end, read line by line from real sockets, in the clear and over TLS: what has arrived is
//! kept while the reader waits in slices, and nothing that the server does holds it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mod_md::http::{Direct, DirectOptions, Error, LINE_MAX, Limits, Lines, MAX_BODY, Request, TlsFault};
use mod_md::time::StopFlag;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};
use support::RaisedAtEnd;
use support::issuer::Issuer;

const STALL: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(40);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

/// Sends what the test hands it, to the first connection; closes when the test has no more.
struct Server {
    url: String,
    pieces: Sender<Vec<u8>>,
}

fn server(tls: Option<Arc<SslAcceptor>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/v3/watch", listener.local_addr().unwrap());
    let (pieces, taken): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        let (tcp, _) = listener.accept()?;
        let mut stream: Box<dyn Both> = match tls {
            Some(acceptor) => match acceptor.accept(tcp) {
                Ok(stream) => Box::new(stream),
                Err(_) => return Ok(()),
            },
            None => Box::new(tcp),
        };
        let mut request = BufReader::new(&mut stream);
        let mut line = String::new();
        while request.read_line(&mut line)? > 2 {
            line.clear();
        }
        let mut body = [0; 4];
        request.read_exact(&mut body)?;
        assert_eq!(&body, b"{\"a\"");
        while let Ok(piece) = taken.recv() {
            stream.write_all(&piece)?;
        }
        Ok(())
    });
    Server { url, pieces }
}

impl Server {
    fn send(&self, bytes: &[u8]) {
        self.pieces.send(bytes.to_vec()).unwrap();
    }

    fn chunk(&self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len());
        self.send(&[head.as_bytes(), bytes, b"\r\n"].concat());
    }
}

fn options() -> DirectOptions {
    let limits = Limits { stall: STALL, exchange: STALL, body: MAX_BODY };
    let (ca_pem, client_pem, user_agent) = (None, None, "mod_md/test".into());
    DirectOptions { ca_pem, client_pem, user_agent, limits, stop: StopFlag::default() }
}

fn open(options: DirectOptions, url: &str) -> Result<Lines, Error> {
    let request = Request::post(url, "application/json", b"{\"a\"");
    Direct::new(options).unwrap().stream(&request)
}

fn follow(server: &Server, options: DirectOptions) {
    server.send(HEAD);
    let mut lines = open(options, &server.url).unwrap();
    assert_eq!(lines.status(), 200);
    let slice = Duration::from_millis(150);
    assert_eq!(lines.next_line(slice), Ok(None));
    // Halves of a line, of a chunk and of a chunk's head.
    for piece in [&b"6\r\nab"[..], b"cd\nx", b"\r\n", b"1", b"\r\nz\r\n"] {
        server.send(piece);
        thread::sleep(Duration::from_millis(250));
        match lines.next_line(slice) {
            Ok(None) => {}
            Ok(Some(line)) => assert_eq!(line, b"abcd"),
            Err(error) => panic!("{error}"),
        }
    }
    // Longer than the stall limit and that of an exchange without a byte.
    thread::sleep(STALL);
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        assert_eq!(lines.next_line(slice), Ok(None));
    }
    server.chunk(b"\nsecond\n\nlast");
    assert_eq!(lines.next_line(LONG), Ok(Some(b"xz".to_vec())));
    assert_eq!(lines.next_line(LONG), Ok(Some(b"second".to_vec())));
    assert_eq!(lines.next_line(LONG), Ok(Some(Vec::new())));
    assert_eq!(lines.next_line(slice), Ok(None));
    server.send(b"0\r\n\r\n");
    assert_eq!(lines.next_line(LONG), Ok(Some(b"last".to_vec())));
    assert!(lines.next_line(LONG).is_err());
    assert!(lines.next_line(LONG).is_err());
}

#[test]
fn what_has_arrived_of_a_line_is_kept_over_slices_and_limits_of_an_exchange() {
    follow(&server(None), options());
}

/// A server for `localhost` that asks for a client certificate of the same issuer.
fn acceptor(issuer: &Issuer) -> Arc<SslAcceptor> {
    let set = issuer.issue(&["localhost"]);
    let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    builder.set_private_key(&set.key).unwrap();
    builder.set_certificate(&set.chain[0]).unwrap();
    builder.cert_store_mut().add_cert(issuer.root.clone()).unwrap();
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Arc::new(builder.build())
}

fn with_ca(issuer: &Issuer) -> DirectOptions {
    DirectOptions { ca_pem: Some(issuer.root.to_pem().unwrap()), ..options() }
}

fn with_client(issuer: &Issuer) -> DirectOptions {
    let set = issuer.issue(&["node"]);
    DirectOptions { client_pem: Some((set.chain_pem(), set.key_pem())), ..with_ca(issuer) }
}

fn named(server: Server) -> Server {
    Server { url: server.url.replace("127.0.0.1", "localhost"), ..server }
}

#[test]
fn a_stream_over_tls_with_a_client_certificate_is_followed_too() {
    let issuer = Issuer::new();
    follow(&named(server(Some(acceptor(&issuer)))), with_client(&issuer));
}

#[test]
fn a_server_of_another_issuer_and_one_that_misses_the_client_certificate_are_refused() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let open = |options| {
        let server = named(server(Some(acceptor(&issuer))));
        open(options, &server.url).err().unwrap()
    };
    let error = open(DirectOptions { ca_pem: Some(other.root.to_pem().unwrap()), ..with_client(&issuer) });
    assert!(matches!(error, Error::Tls(TlsFault::Trust, _)), "{error:?}");
    let error = open(with_ca(&issuer));
    assert!(!matches!(error, Error::Timeout), "{error:?}");
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_refused_at_once() {
    let issuer = Issuer::new();
    let refused = |options| match Direct::new(options) {
        Err(Error::Invalid(why)) => why,
        other => panic!("{:?}", other.err()),
    };
    let (set, other) = (issuer.issue(&["node"]), issuer.issue(&["node"]));
    for (ca_pem, client_pem, why) in [
        (Some(b"nothing".to_vec()), None, "the CA certificates: there is no PEM certificate"),
        (Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()), None, "CA"),
        (None, Some((Vec::new(), set.key_pem())), "the client certificate: there is no PEM"),
        (None, Some((set.chain_pem(), Vec::new())), "the key of the client certificate"),
        (None, Some((set.chain_pem(), other.key_pem())), "the client certificate"),
    ] {
        let told = refused(DirectOptions { ca_pem, client_pem, ..options() });
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_line_without_end_is_cut_off() {
    let server = server(None);
    server.send(HEAD);
    let mut lines = open(options(), &server.url).unwrap();
    let piece = vec![b'x'; 64 * 1024];
    server.chunk(&[&piece[..], b"\n"].concat());
    assert_eq!(lines.next_line(LONG).unwrap().unwrap(), piece);
    for _ in 0..=LINE_MAX / piece.len() {
        server.chunk(&piece);
    }
    assert_eq!(lines.next_line(LONG), Err(Error::TooLarge));
}

#[test]
fn a_stop_ends_the_wait_for_the_head_and_for_a_line() {
    for head in [&b""[..], HEAD] {
        let (server, stop) = (server(None), StopFlag::default());
        server.send(head);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                stop.raise();
            });
            let begun = Instant::now();
            let limits = Limits { stall: LONG, exchange: LONG, body: MAX_BODY };
            let options = DirectOptions { stop: stop.clone(), limits, ..options() };
            let outcome = open(options, &server.url).and_then(|mut lines| lines.next_line(LONG));
            assert_eq!(outcome, Err(Error::Stopped));
            assert!(begun.elapsed() < LONG / 2);
        });
    }
}

#[test]
fn a_server_without_an_answer_is_left_after_the_stall_limit() {
    let server = server(None);
    assert_eq!(open(options(), &server.url).err(), Some(Error::Timeout));
}

#[test]
fn a_line_that_drips_does_not_hold_the_reader() {
    let server = server(None);
    server.send(HEAD);
    let mut lines = open(options(), &server.url).unwrap();
    let is_done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = RaisedAtEnd(is_done);
        let server = &server;
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                server.chunk(b"x");
                thread::sleep(Duration::from_millis(10));
            }
        });
        let begun = Instant::now();
        assert_eq!(lines.next_line(Duration::from_secs(1)), Ok(None));
        assert!(begun.elapsed() < LONG / 2);
    });
}
