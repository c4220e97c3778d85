// SPDX-License-Identifier: Apache-2.0
//! A front of the CA: passes requests on, tells which domain each is for, and holds those that a test wants held,
//! before the CA has them or before it answers.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use openssl::pkey::Id;
use openssl::ssl::{Ssl, SslAcceptor, SslContext, SslFiletype, SslMethod};
use serde_json::Value;

use super::stream::{Stream, again};
use super::{Authority, Config, Lab, tls};

/// What is asked of the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Account,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Poll,
    Certificate,
    Other,
}

/// Of which a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The CA does not have it.
    Request,
    /// The CA has carried it out.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Set,
    Held,
    Passed,
    /// The connection ends without an answer.
    Cut,
}

struct Hold {
    name: String,
    asked: Asked,
    side: Side,
    stage: Stage,
}

#[derive(Default)]
struct State {
    /// By path: the domain.
    names: HashMap<String, String>,
    holds: Vec<Hold>,
    done: Vec<(Asked, String)>,
}

struct Shared {
    ca: u16,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Front {
    certificate: PathBuf,
    port: u16,
    shared: Arc<Shared>,
}

struct Message {
    head: String,
    body: Vec<u8>,
}

impl Front {
    pub fn start(lab: &Lab, authority: &Authority) -> Front {
        let (certificate, key) = (lab.path("front.pem"), lab.path("front.key"));
        tls::self_signed("DNS:localhost,IP:127.0.0.1", Id::EC, &certificate, &key);
        let port = lab.port();
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key_file(key, SslFiletype::PEM).unwrap();
        acceptor.set_certificate_file(&certificate, SslFiletype::PEM).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            ca: authority.api(),
            stop: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let front = Front { certificate, port, shared };
        let shared = front.shared.clone();
        thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                thread::spawn(move || drop(serve(&shared, &acceptor, stream)));
            }
        });
        front
    }

    /// The CA of this node is behind the front.
    #[must_use]
    pub fn before(&self, config: Config) -> Config {
        let config = config.without_line("MDCertificateAuthority").without_line("MDCACertificateFile");
        config.line(&format!(
            "MDCertificateAuthority https://127.0.0.1:{}/dir\nMDCACertificateFile {}",
            self.port,
            self.certificate.display()
        ))
    }

    /// The next such request for this domain is held.
    pub fn hold(&self, name: &str, asked: Asked, side: Side) {
        let hold = Hold { name: name.into(), asked, side, stage: Stage::Set };
        self.shared.state.lock().unwrap().holds.push(hold);
    }

    /// Until the latest hold of each of these domains has its request.
    #[track_caller]
    pub fn wait_held(&self, names: &[&str], within: Duration) {
        let deadline = Instant::now() + within;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            let is_held = |name: &&&str| {
                let latest = state.holds.iter().rev().find(|hold| hold.name == ***name);
                latest.is_some_and(|hold| hold.stage == Stage::Held)
            };
            let missing: Vec<&&str> = names.iter().filter(|name| !is_held(name)).collect();
            if missing.is_empty() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not within {within:?}: held requests for {missing:?}; {:?}",
                state.done
            );
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// What is held for this domain goes on.
    pub fn pass(&self, name: &str) {
        self.end(name, Stage::Passed);
    }

    /// The connection of what is held for this domain ends; a request never reaches the CA.
    pub fn cut(&self, name: &str) {
        self.end(name, Stage::Cut);
    }

    fn end(&self, name: &str, stage: Stage) {
        let mut state = self.shared.state.lock().unwrap();
        let is_it = |hold: &&mut Hold| hold.name == name && hold.stage == Stage::Held;
        state.holds.iter_mut().filter(is_it).for_each(|hold| hold.stage = stage);
        self.shared.changed.notify_all();
    }

    /// How often the CA has done as it was asked for this domain.
    pub fn count(&self, name: &str, asked: Asked) -> usize {
        let state = self.shared.state.lock().unwrap();
        state.done.iter().filter(|(done, of)| *done == asked && of == name).count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut state = self.shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.holds.iter_mut().for_each(|hold| hold.stage = Stage::Cut);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Waits while it is held. `Err`: the connection ends.
    fn wait(&self, name: &str, asked: Asked, side: Side) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let is_it = |hold: &Hold| {
            hold.name == name && hold.asked == asked && hold.side == side && hold.stage == Stage::Set
        };
        let Some(at) = state.holds.iter().position(is_it) else { return Ok(()) };
        state.holds[at].stage = Stage::Held;
        self.changed.notify_all();
        loop {
            state = self.changed.wait(state).unwrap();
            match state.holds[at].stage {
                Stage::Cut => return Err(ErrorKind::ConnectionAborted.into()),
                Stage::Passed => return Ok(()),
                Stage::Set | Stage::Held => {}
            }
        }
    }

    /// Notes that the CA has done as it was asked, and which domain the URLs of its answer are of.
    fn note(&self, name: &str, asked: Asked, answer: &Message) {
        let mut state = self.state.lock().unwrap();
        state.done.push((asked, name.into()));
        if name.is_empty() {
            return;
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut urls = Vec::new();
        urls_in(&value, &mut urls);
        urls.extend(header(&answer.head, "location").map(String::from));
        for url in urls {
            state.names.insert(path_of(&url).into(), name.into());
        }
    }
}

fn urls_in(value: &Value, urls: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("https://") => urls.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| urls_in(value, urls)),
        Value::Object(map) => map.values().for_each(|value| urls_in(value, urls)),
        _ => {}
    }
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn asked(path: &str) -> Asked {
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "sign-me-up" => Asked::Account,
        "order-plz" => Asked::Order,
        "authZ" => Asked::Authorization,
        "chalZ" => Asked::Challenge,
        "finalize-order" => Asked::Finalize,
        "my-order" => Asked::Poll,
        "certZ" => Asked::Certificate,
        _ => Asked::Other,
    }
}

/// The first name of an order.
fn ordered(body: &[u8]) -> Option<String> {
    let jws: Value = serde_json::from_slice(body).ok()?;
    let payload = BASE64URL_NOPAD.decode(jws["payload"].as_str()?.as_bytes()).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    Some(payload["identifiers"][0]["value"].as_str()?.to_string())
}

/// One request: the connection ends with its answer.
fn serve(shared: &Shared, acceptor: &SslAcceptor, stream: TcpStream) -> io::Result<()> {
    let failed = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut client = acceptor.accept(stream).map_err(|e| failed(&e))?;
    let request = read_message(&mut client)?;
    let path = request.head.split(' ').nth(1).unwrap_or_default().to_string();
    let asked = asked(&path);
    let known = || shared.state.lock().unwrap().names.get(&path).cloned();
    let name = ordered(&request.body).or_else(known).unwrap_or_default();
    shared.wait(&name, asked, Side::Request)?;
    let context = SslContext::builder(SslMethod::tls_client())?.build();
    let mut ca = Ssl::new(&context)?.connect(Stream::connect(shared.ca)?).map_err(|e| failed(&e))?;
    write_message(&mut ca, &request)?;
    let mut text = Vec::new();
    match ca.read_to_end(&mut text) {
        Err(e) if text.is_empty() => return Err(e),
        _ => {}
    }
    let at = end_of_head(&text).ok_or_else(|| failed(&"no answer of the CA"))?;
    let answer =
        Message { head: String::from_utf8_lossy(&text[..at]).into_owned(), body: text[at..].to_vec() };
    if answer.head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        shared.note(&name, asked, &answer);
        shared.wait(&name, asked, Side::Answer)?;
    }
    write_message(&mut client, &answer)?;
    let _ = client.shutdown();
    Ok(())
}

fn end_of_head(text: &[u8]) -> Option<usize> {
    text.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn read_message(from: &mut impl Read) -> io::Result<Message> {
    let mut text = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(at) = end_of_head(&text) {
            let head = String::from_utf8_lossy(&text[..at]).into_owned();
            let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if text.len() >= at + length {
                return Ok(Message { head, body: text[at..at + length].to_vec() });
            }
        }
        match again(|| from.read(&mut buffer))? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => text.extend(&buffer[..count]),
        }
    }
}

/// With the one change that the connection ends after it.
fn write_message(to: &mut impl Write, message: &Message) -> io::Result<()> {
    let lines = message.head.trim_end().lines();
    let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: Vec<&str> = kept.chain(["Connection: close\r\n\r\n"]).collect();
    to.write_all(&[head.join("\r\n").as_bytes(), &message.body].concat())?;
    to.flush()
}
