// SPDX-License-Identifier: Apache-2.0
//! The HTTP client against servers on real sockets that break HTTP, or never come to an end. Each request has
//! to end in an error, in time, and leave the client usable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mod_md::http::{Client, Error, Limits, MAX_BODY, Options, Request, Response, Transport};
use mod_md::time::StopFlag;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LIMITS: Limits =
    Limits { stall: Duration::from_secs(1), exchange: Duration::from_secs(5), body: MAX_BODY };
/// What a busy machine may add to the limits.
const GRACE: Duration = Duration::from_secs(20);

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

type Reply = fn(&mut TcpStream) -> io::Result<()>;

/// Answers the first request by `reply` and closes, all later ones with `GOOD`.
fn server(reply: Reply) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dir", listener.local_addr().unwrap());
    thread::spawn(move || {
        let count = AtomicUsize::new(0);
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            // The client may be gone already: that is what most replies are about.
            let _ = match count.fetch_add(1, Ordering::SeqCst) {
                0 => reply(&mut stream),
                _ => stream.write_all(GOOD),
            };
        }
    });
    url
}

fn client(stop: &StopFlag) -> Client {
    let user_agent = "mod_md/test".into();
    let stop = stop.clone();
    let (ca_file, proxy_url, proxy_ca_file) = (None, None, None);
    Client::new(&Options { ca_file, proxy_url, proxy_ca_file, user_agent, stop, limits: LIMITS }).unwrap()
}

/// What the client makes of `reply`. The next request has to succeed.
fn outcome(reply: Reply) -> Result<Response, Error> {
    let (url, client) = (server(reply), client(&StopFlag::default()));
    let begin = Instant::now();
    let result = client.send(&Request::get(&url));
    assert!(begin.elapsed() < LIMITS.exchange + GRACE, "{:?}", begin.elapsed());
    // On a busy machine the limits are short.
    let next = || client.send(&Request::get(&url)).ok();
    let good = std::iter::repeat_with(next).take_while(|_| begin.elapsed() < 2 * GRACE).flatten().next();
    assert_eq!(good.map(|response| response.body).as_deref(), Some(&b"good"[..]));
    result
}

/// The errors that all of these end in, side by side.
fn errors(replies: &[Reply]) -> Vec<Error> {
    thread::scope(|scope| {
        let waiting: Vec<_> = replies.iter().map(|reply| scope.spawn(|| outcome(*reply))).collect();
        waiting.into_iter().map(|thread| thread.join().unwrap().unwrap_err()).collect()
    })
}

fn forever(stream: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(piece)?;
    }
}

/// A piece now and then, always before the client has waited too long for it.
fn drip(stream: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(piece)?;
        thread::sleep(Duration::from_millis(50));
    }
}

/// Until the client has gone.
fn silence(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

#[test]
fn a_server_that_falls_silent_is_left_after_the_stall_limit() {
    let silent: [Reply; 4] = [
        silence,
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").and_then(|()| silence(s)),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").and_then(|()| silence(s)),
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
                .and_then(|()| silence(s))
        },
    ];
    assert_eq!(errors(&silent), [(); 4].map(|()| Error::Timeout));
}

#[test]
fn a_server_that_drips_is_left_after_the_limit_of_an_exchange() {
    let dripping: [Reply; 5] = [
        // Not drops, but never enough of them.
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
                .and_then(|()| forever(s, b"X-Trailer: more\r\n"))
        },
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nX: ").and_then(|()| drip(s, b"x")),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").and_then(|()| drip(s, b"x")),
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .and_then(|()| drip(s, b"1\r\nx\r\n"))
        },
        |s| drip(s, b"HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    assert_eq!(errors(&dripping), [(); 5].map(|()| Error::Timeout));
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless: [Reply; 4] = [
        |s| s.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| forever(s, &[b'x'; 4096])),
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
                .and_then(|()| forever(s, &[b'x'; 4096]))
        },
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").and_then(|()| {
                forever(
                    s,
                    &b"400\r\n".iter().chain(&[b'x'; 0x400]).chain(b"\r\n").copied().collect::<Vec<u8>>(),
                )
            })
        },
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7FFFFFFF\r\n")
                .and_then(|()| forever(s, &[b'x'; 4096]))
        },
    ];
    assert_eq!(errors(&endless), [(); 4].map(|()| Error::TooLarge));
}

#[test]
fn headers_without_end_are_cut_off() {
    let endless: [Reply; 3] = [
        |s| s.write_all(b"HTTP/1.1 200 OK\r\n").and_then(|()| forever(s, b"X-Many: more\r\n")),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").and_then(|()| forever(s, &[b'x'; 4096])),
        |s| s.write_all(b"HTTP/1.1 ").and_then(|()| forever(s, &[b'2'; 4096])),
    ];
    for (n, error) in errors(&endless).into_iter().enumerate() {
        assert!(matches!(error, Error::TooLarge | Error::Invalid(_) | Error::Other { .. }), "{n}: {error:?}");
    }
}

#[test]
fn a_head_and_a_request_line_of_any_ca_fit_and_longer_ones_are_errors() {
    let fits = outcome(|stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 4\r\n\r\nlong", "x".repeat(24_000))
    });
    assert_eq!(fits.unwrap().body, b"long");
    let is_too_long: Reply = |stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 4\r\n\r\nlong", "x".repeat(40_000))
    };
    assert_eq!(outcome(is_too_long).unwrap_err(), Error::TooLarge);
    for length in [24_000, 100_000] {
        let (url, client) = (server(|stream| stream.write_all(GOOD)), client(&StopFlag::default()));
        let begin = Instant::now();
        let answer = client.send(&Request::get(&format!("{url}?{}", "x".repeat(length))));
        assert_eq!(answer.is_ok(), length < 32_768, "{length}: {answer:?}");
        assert!(begin.elapsed() < LIMITS.stall + GRACE);
        assert_eq!(client.send(&Request::get(&url)).unwrap().body, b"good");
    }
}

#[test]
fn an_answer_cut_short_is_no_answer() {
    let short: [Reply; 5] = [
        |_| Ok(()),
        |s| s.write_all(b"HTTP/1.1 200"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":1}"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n"),
    ];
    for (n, error) in errors(&short).into_iter().enumerate() {
        assert!(matches!(error, Error::Other { .. } | Error::Invalid(_)), "{n}: {error:?}");
    }
}

#[test]
fn what_is_not_http_is_an_error_with_a_text() {
    let garbage: [Reply; 6] = [
        |s| s.write_all(b"SSH-2.0-OpenSSH_9.9\r\n"),
        |s| s.write_all(&[0x15, 3, 1, 0, 2, 2, 70]),
        |s| s.write_all(b"HTTP/1.1 xyz\r\n\r\n"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx"),
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nx"),
    ];
    for (n, error) in errors(&garbage).into_iter().enumerate() {
        assert!(!error.to_string().is_empty() && error != Error::Timeout, "{n}: {error:?}");
    }
}

#[test]
fn a_stop_ends_a_body_that_drips() {
    static IS_DRIPPING: AtomicBool = AtomicBool::new(false);
    let url = server(|s| {
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")?;
        IS_DRIPPING.store(true, Ordering::SeqCst);
        drip(s, b"x")
    });
    let stop = StopFlag::default();
    let client = client(&stop);
    let waiting = thread::spawn(move || client.send(&Request::get(&url)));
    while !IS_DRIPPING.load(Ordering::SeqCst) {
        assert!(!waiting.is_finished(), "it has not waited");
        thread::yield_now();
    }
    let begin = Instant::now();
    stop.raise();
    assert_eq!(waiting.join().unwrap().unwrap_err(), Error::Stopped);
    assert!(begin.elapsed() < LIMITS.exchange, "{:?}", begin.elapsed());
}
