// SPDX-License-Identifier: Apache-2.0
//! An acme-dns server, as the README of github.com/joohoi/acme-dns has its API: `POST /register` and `POST
//! /update` over plain HTTP. It answers DNS questions about its zone, where a test has it do so.

use mod_md::dns::{Class, Data, Flags, Message, Name, OptRcode, Record, Rtype, Soa};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Default)]
struct State {
    /// Subdomain, with user and key, and the last two values.
    accounts: BTreeMap<String, (String, String, Vec<String>)>,
    /// Requests for this path are carried out, and not answered.
    held: Option<&'static str>,
    /// How many there were.
    holding: usize,
}

pub struct AcmeDns {
    pub port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl AcmeDns {
    pub fn start() -> AcmeDns {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let all = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = all.clone();
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        AcmeDns { port, shared }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn registrations(&self) -> usize {
        self.shared.0.lock().unwrap().accounts.len()
    }

    /// What it answers questions for TXT of this name with.
    pub fn values(&self, fulldomain: &str) -> Vec<String> {
        let subdomain = fulldomain.trim_end_matches('.').trim_end_matches(".auth.test");
        let state = self.shared.0.lock().unwrap();
        state.accounts.get(subdomain).map(|(.., values)| values.clone()).unwrap_or_default()
    }

    /// Serves its zone, auth.test, by UDP as long as the process lives.
    pub fn serve_dns(&self, socket: UdpSocket) {
        let shared = self.shared.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::parse(&buffer[..length]) else { continue };
                let answer = dns_answer(&question, &shared.0.lock().unwrap());
                let _ = socket.send_to(&answer.to_bytes().unwrap(), from);
            }
        });
    }

    /// From now on requests for `path` are carried out and not answered; `None`: all are answered.
    pub fn hold(&self, path: Option<&'static str>) {
        let mut state = self.shared.0.lock().unwrap();
        (state.held, state.holding) = (path, 0);
        self.shared.1.notify_all();
    }

    /// Waits for a request that is held.
    pub fn wait_until_held(&self) {
        let limit = Duration::from_secs(60);
        let state = self.shared.0.lock().unwrap();
        let (state, _) = self.shared.1.wait_timeout_while(state, limit, |state| state.holding == 0).unwrap();
        assert!(state.holding > 0, "no request came");
    }
}

/// Any name of the zone exists.
fn dns_answer(request: &Message, state: &State) -> Message {
    let mut answer = Message::response(request, OptRcode::NOERROR);
    answer.flags = Flags { aa: true, ..answer.flags };
    let Some(question) = request.questions.first() else { return answer };
    let zone = Name::parse("auth.test").unwrap();
    let record = |name: &Name, data| Record { name: name.clone(), class: Class::IN, ttl: 1, data };
    let (mname, rname) = (zone.clone(), zone.clone());
    let soa = Soa { mname, rname, serial: 1, refresh: 60, retry: 60, expire: 60, minimum: 1 };
    let asked = question.name.to_string().to_ascii_lowercase();
    let subdomain = asked.trim_end_matches('.').trim_end_matches(".auth.test");
    match (question.rtype, state.accounts.get(subdomain)) {
        (Rtype::TXT, Some((.., values))) if !values.is_empty() => {
            let texts = values.iter().map(|value| record(&question.name, Data::Txt(value.clone().into())));
            answer.answers.extend(texts);
        }
        (Rtype::SOA, _) if question.name == zone => answer.answers.push(record(&zone, Data::Soa(soa))),
        _ => answer.authority.push(record(&zone, Data::Soa(soa))),
    }
    answer
}

fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some((path, headers, body)) = request(&mut reader) {
        let (status, answer) = answer(&path, &headers, &body, &mut shared.0.lock().unwrap());
        let mut state = shared.0.lock().unwrap();
        if state.held.is_some_and(|held| held == path) {
            state.holding += 1;
            shared.1.notify_all();
            drop(shared.1.wait_while(state, |state| state.held.is_some()).unwrap());
        } else {
            drop(state);
        }
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if (&*stream).write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Path, headers with their names in lower case, and body.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, BTreeMap<String, String>, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_string();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_string()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, headers, body))
}

fn answer(path: &str, headers: &BTreeMap<String, String>, body: &[u8], state: &mut State) -> (u16, Value) {
    let failed = |status, error: &str| (status, json!({"error": error}));
    let body: Value = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(_) if body.is_empty() => Value::Null,
        Err(_) => return failed(400, "malformed_json_payload"),
    };
    match path {
        "/register" => {
            let n = state.accounts.len() + 1;
            let (subdomain, user, key) = (format!("sub-{n}"), format!("user-{n}"), format!("key-{n}"));
            let fulldomain = format!("{subdomain}.auth.test");
            state.accounts.insert(subdomain.clone(), (user.clone(), key.clone(), Vec::new()));
            let account = json!({"allowfrom": [], "fulldomain": fulldomain, "password": key, "subdomain": subdomain, "username": user});
            (201, account)
        }
        "/update" => {
            let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
            let (subdomain, txt) = (text("subdomain"), text("txt"));
            let Some((user, key, values)) = state.accounts.get_mut(subdomain) else {
                return failed(401, "forbidden");
            };
            if headers.get("x-api-user") != Some(user) || headers.get("x-api-key") != Some(key) {
                return failed(401, "forbidden");
            }
            // A digest in base64url.
            if txt.len() != 43 {
                return failed(400, "bad_txt");
            }
            values.push(txt.to_string());
            let old = values.len().saturating_sub(2);
            values.drain(..old);
            (200, json!({"txt": txt}))
        }
        _ => failed(404, "not_found"),
    }
}
