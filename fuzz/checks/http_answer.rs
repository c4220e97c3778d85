// SPDX-License-Identifier: Apache-2.0
//! What must hold for whatever bytes a server sends in place of HTTP, on a real connection: both clients
//! come to an end, take no more than they may, and say why in one line.

use super::plain::assert_line;
use mod_md::http::probe::{self, Probe};
use mod_md::http::{Client, Direct, DirectOptions, LINE_MAX, Limits, Options, Request, Response, Transport};
use mod_md::time::StopFlag;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const BODY_MAX: usize = 2048;
const STALL: Duration = Duration::from_secs(9);
const LIMITS: Limits = Limits { stall: STALL, exchange: STALL, body: BODY_MAX };

/// A server that says what it is told to, and its clients.
pub struct Lines {
    address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
    client: Client,
    direct: Direct,
}

impl Lines {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, said) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let answers = Arc::clone(&said);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let said: Vec<u8> = answers.lock().unwrap().clone();
                serve(stream, &said);
            }
        });
        let (stop, user_agent) = (StopFlag::default(), String::from("mod_md/fuzz"));
        let (ca_file, proxy_url, proxy_ca_file) = (None, None, None);
        let options = Options { ca_file, proxy_url, proxy_ca_file, user_agent, stop, limits: LIMITS };
        let (stop, user_agent) = (StopFlag::default(), String::from("mod_md/fuzz"));
        let direct = DirectOptions { ca_pem: None, client_pem: None, user_agent, limits: LIMITS, stop };
        Lines { address, said, client: Client::new(&options).unwrap(), direct: Direct::new(direct).unwrap() }
    }
}

/// The request is read to its end, so that the answer is not lost in a reset.
fn serve(mut stream: TcpStream, said: &[u8]) {
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(amount) if amount > 0 => request.extend_from_slice(&piece[..amount]),
            _ => return,
        }
    }
    let _ = stream.write_all(said).and_then(|()| stream.shutdown(Shutdown::Write));
    while stream.read(&mut piece).is_ok_and(|amount| amount > 0) {}
}

/// The first byte says which client reads the others.
pub fn check(lines: &Lines, bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    *lines.said.lock().unwrap() = rest.to_vec();
    let url = format!("http://{}/dir", lines.address);
    match kind.wrapping_sub(b'0') % 4 {
        0 => answered(lines.client.send(&Request::get(&url)), bytes.len()),
        1 => answered(lines.direct.send_once(&Request::post(&url, "text/plain", b"x")), bytes.len()),
        2 => stream(lines, &url, bytes.len()),
        _ => {
            let probe = Probe { address: lines.address, is_https: false, host: "a.test", target: "/" };
            let limits = probe::Limits { connect: STALL, exchange: STALL, body: 512 };
            match probe::get(&probe, &limits) {
                Ok(seen) => {
                    assert!((100..1000).contains(&seen.status) && seen.body.len() <= 512);
                    let is_line = |text: &String| !text.contains(['\n', '\r']);
                    assert!(seen.headers.iter().all(|(name, value)| is_line(name) && is_line(value)));
                }
                Err(failure) => {
                    assert_line(&failure.to_string());
                    assert!(
                        !matches!(failure, probe::Failure::Silent(_)),
                        "the server has closed the connection"
                    );
                }
            }
        }
    }
}

fn answered(outcome: Result<Response, mod_md::http::Error>, size: usize) {
    match outcome {
        Ok(response) => {
            assert!((100..1000).contains(&response.status) && response.body.len() <= BODY_MAX.min(size));
            for name in ["location", "link", "retry-after", "replay-nonce", "content-type"] {
                response
                    .headers_all(name)
                    .for_each(|value| assert!(!value.contains(['\r', '\n']), "{value:?}"));
            }
        }
        Err(error) => {
            assert_line(&error.to_string());
            assert_ne!(error, mod_md::http::Error::Timeout, "the server has closed the connection");
        }
    }
}

fn stream(lines: &Lines, url: &str, size: usize) {
    let Ok(mut stream) = lines.direct.stream(&Request::get(url)) else { return };
    let mut total = 0;
    loop {
        match stream.next_line(Duration::ZERO) {
            Ok(Some(line)) => {
                assert!(line.len() <= LINE_MAX && !line.contains(&b'\n'));
                total += line.len();
                assert!(total <= size, "{total} bytes out of {size}");
            }
            Ok(None) => {}
            Err(error) => break assert_line(&error.to_string()),
        }
    }
}
