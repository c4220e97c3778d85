// SPDX-License-Identifier: Apache-2.0
//! An OCSP responder on a real socket that signs real responses and misbehaves on demand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::Lab;
use super::ocsp_response::{self, Say, Wish};
use super::stream::again;

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A good response from now on, for so many seconds.
    Good(i64),
    Revoked,
    /// A response that was good until a minute ago.
    Expired,
    NotYet,
    /// One bit of the signature is wrong.
    Forged,
    /// Signed by another CA of the same name.
    Stranger,
    /// Signed by a certificate of the CA that is not for that.
    Unappointed,
    /// As it should be, by a certificate that is for that, for so many seconds.
    Delegate(i64),
    WrongSerial,
    Unknown,
    TryLater,
    Status(u16),
    Html,
    Empty,
    /// 1 MiB.
    Huge,
    /// A byte now and then.
    Drip,
    /// Takes the request and says nothing.
    Hang,
    /// Nobody listens.
    Dead,
}

/// In whose name it answers.
#[derive(Clone)]
pub struct Signers {
    pub issuer: (X509, PKey<Private>),
    pub stranger: Option<(X509, PKey<Private>)>,
    pub appointed: Option<(X509, PKey<Private>)>,
    pub unappointed: Option<(X509, PKey<Private>)>,
}

impl Signers {
    pub fn of(cert: X509, key: PKey<Private>) -> Signers {
        Signers { issuer: (cert, key), stranger: None, appointed: None, unappointed: None }
    }
}

struct Shared {
    signers: Mutex<Option<Signers>>,
    act: Mutex<Act>,
    /// Serials (content of the INTEGER) with a behaviour of their own.
    acts: Mutex<Vec<(Vec<u8>, Act)>>,
    delay: Mutex<Duration>,
    requests: AtomicUsize,
    posts: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    is_over: AtomicBool,
}

pub struct Responder {
    pub port: u16,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Responder {
    /// Answers once it knows for whom.
    pub fn start(lab: &Lab, act: Act) -> Responder {
        let port = lab.port();
        let shared = Arc::new(Shared {
            signers: Mutex::default(),
            act: Mutex::new(act),
            acts: Mutex::default(),
            delay: Mutex::default(),
            requests: AtomicUsize::new(0),
            posts: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let thread = Some(thread::spawn(move || serve(port, &serving)));
        Responder { port, shared, thread }
    }

    pub fn sign_as(&self, signers: Signers) {
        *self.shared.signers.lock().unwrap() = Some(signers);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub fn act(&self, act: Act) {
        *self.shared.act.lock().unwrap() = act;
    }

    /// For one certificate alone; the serial as upper-case hex.
    pub fn act_for(&self, serial: &str, act: Act) {
        let serial = data_encoding::HEXUPPER.decode(serial.as_bytes()).unwrap();
        self.shared.acts.lock().unwrap().push((serial, act));
    }

    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub fn posts(&self) -> usize {
        self.shared.posts.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn serve(port: u16, shared: &Arc<Shared>) {
    let mut listener = None;
    while !shared.is_over.load(Ordering::SeqCst) {
        if *shared.act.lock().unwrap() == Act::Dead {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(("127.0.0.1", port)).ok();
            listener.iter().for_each(|l: &TcpListener| l.set_nonblocking(true).unwrap());
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let shared = shared.clone();
                thread::spawn(move || {
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_open.fetch_max(open, Ordering::SeqCst);
                    let _ = answer(stream, &shared);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = read_request(&mut stream, shared)?;
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let cert_id = (0..4).fold(request.as_slice(), |der, _| ocsp_response::content(der).0).to_vec();
    let act = act(&cert_id, shared);
    let delay = *shared.delay.lock().unwrap();
    thread::sleep(delay);
    let (status, body) = match &act {
        Act::Hang | Act::Dead => {
            wait_over(shared, Duration::from_secs(30));
            return None;
        }
        Act::Status(status) => (*status, b"no".to_vec()),
        Act::Html => (200, b"<html><body>Welcome to the hotel</body></html>".to_vec()),
        Act::Empty => (200, Vec::new()),
        Act::Huge => (200, vec![0x30; 1 << 20]),
        Act::TryLater => (200, ocsp_response::error(3)),
        _ => (200, response(&cert_id, &act, shared.signers.lock().unwrap().as_ref()?)),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if act == Act::Drip {
        for byte in head.bytes().chain(body) {
            stream.write_all(&[byte]).ok()?;
            if wait_over(shared, Duration::from_secs(1)) {
                return None;
            }
        }
        return None;
    }
    stream.write_all(&[head.into_bytes(), body].concat()).ok()
}

/// `true`: the test is over.
fn wait_over(shared: &Shared, most: Duration) -> bool {
    let deadline = std::time::Instant::now() + most;
    while std::time::Instant::now() < deadline {
        if shared.is_over.load(Ordering::SeqCst) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn act(cert_id: &[u8], shared: &Shared) -> Act {
    let serial = serial(cert_id);
    let acts = shared.acts.lock().unwrap();
    let own = acts.iter().rev().find(|(of, _)| of == serial || serial == [&[0], of.as_slice()].concat());
    own.map_or_else(|| shared.act.lock().unwrap().clone(), |(_, act)| act.clone())
}

fn serial(cert_id: &[u8]) -> &[u8] {
    let (mut rest, _) = ocsp_response::content(cert_id);
    for _ in 0..3 {
        rest = ocsp_response::content(rest).1;
    }
    ocsp_response::content(rest).0
}

/// The DER of the OCSPRequest.
fn read_request(stream: &mut TcpStream, shared: &Shared) -> Option<Vec<u8>> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    let head_end = loop {
        let count = again(|| stream.read(&mut buffer)).ok().filter(|count| *count > 0)?;
        got.extend_from_slice(&buffer[..count]);
        if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&got[..head_end]).into_owned();
    let (method, rest) = head.split_once(' ')?;
    if method == "GET" {
        let path = rest.split(' ').next()?.rsplit('/').next()?;
        let text = path.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        return BASE64.decode(text.as_bytes()).ok();
    }
    shared.posts.fetch_add(1, Ordering::SeqCst);
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length?;
    while got.len() < head_end + length {
        let count = again(|| stream.read(&mut buffer)).ok().filter(|count| *count > 0)?;
        got.extend_from_slice(&buffer[..count]);
    }
    Some(got[head_end..head_end + length].to_vec())
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn response(cert_id: &[u8], act: &Act, signers: &Signers) -> Vec<u8> {
    let date = |at: i64| {
        let at = jiff::Timestamp::from_second(at).unwrap();
        at.strftime("%Y%m%d%H%M%SZ").to_string()
    };
    let now = now();
    let (from, until) = match act {
        Act::Good(seconds) | Act::Delegate(seconds) => (now, now + seconds),
        Act::Expired => (now - 3600, now - 60),
        Act::NotYet => (now + 3600, now + 7200),
        _ => (now, now + 3600),
    };
    let say = match act {
        Act::Revoked => Say::Revoked,
        Act::Unknown => Say::Unknown,
        _ => Say::Good,
    };
    let other = match act {
        Act::Stranger => &signers.stranger,
        Act::Unappointed => &signers.unappointed,
        Act::Delegate(_) => &signers.appointed,
        _ => &None,
    };
    let (signer, key) = other.as_ref().unwrap_or(&signers.issuer);
    let mut cert_id = cert_id.to_vec();
    if *act == Act::WrongSerial {
        *cert_id.last_mut().unwrap() ^= 1;
    }
    let certs = other.iter().map(|(cert, _)| cert.clone()).collect::<Vec<_>>();
    let mut der = ocsp_response::build(&Wish {
        cert_id: &cert_id,
        say,
        from: date(from),
        until: Some(date(until)),
        signer,
        key,
        by_key: false,
        certs: &certs,
    });
    if *act == Act::Forged {
        let last = der.len() - 1;
        der[last] ^= 1;
    }
    der
}
