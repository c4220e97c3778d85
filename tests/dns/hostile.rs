// SPDX-License-Identifier: Apache-2.0
//! Servers that lie, are old, or break off.

use super::name;
use mod_md::dns::client::Limits;
use mod_md::dns::{
    Class, Data, Dns, Error, Message, Name, OptRcode, Question, Record, Recursion, Rtype, Sockets,
};
use mod_md::time::SystemClock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Long enough for a busy machine.
const LONG: Limits = Limits { udp: Duration::from_secs(40), tcp: Duration::from_secs(40) };

fn ask(server: SocketAddr, limits: Limits) -> Result<Message, Error> {
    let dns = Sockets::with_limits(Arc::new(SystemClock::default()), limits);
    dns.ask(server, &Question::new(name("a.test"), Rtype::TXT), Recursion::No)
}

fn answer(request: &Message, at: Name, value: &str) -> Message {
    let mut answer = Message::response(request, OptRcode::NOERROR);
    answer.answers.push(Record { name: at, class: Class::IN, ttl: 1, data: Data::Txt(value.into()) });
    answer
}

/// The packets that a server sends after a question.
type Say = fn(&Message) -> Vec<Vec<u8>>;

/// A server by UDP that answers so many questions with what `say` makes of each.
fn by_udp<const N: usize>(say: [Say; N]) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = thread::spawn(move || {
        for say in say {
            let mut buffer = [0; 4096];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in say(&Message::parse(&buffer[..length]).unwrap()) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    (address, thread)
}

#[test]
fn what_answers_another_question_is_not_the_answer() {
    let (server, thread) = by_udp([|request| {
        let good = answer(request, name("a.test"), "good");
        let forge = |change: fn(&mut Message)| {
            let mut forged = answer(request, name("a.test"), "forged");
            change(&mut forged);
            forged.to_bytes().unwrap()
        };
        vec![
            forge(|message| message.id ^= 1),
            forge(|message| message.flags.qr = false),
            forge(|message| message.questions[0].rtype = Rtype::A),
            forge(|message| message.questions[0].name = name("b.test")),
            forge(|message| message.questions.clear()),
            b"".to_vec(),
            b"no DNS message at all".to_vec(),
            good.to_bytes().unwrap()[..40].to_vec(),
            good.to_bytes().unwrap(),
        ]
    }]);
    let found = ask(server, LONG).unwrap();
    thread.join().unwrap();
    assert_eq!(found.answers[0].data, Data::Txt(b"good".to_vec()));
}

#[test]
fn a_packet_of_somebody_else_is_not_the_answer() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let server = socket.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 4096];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let request = Message::parse(&buffer[..length]).unwrap();
        let forged = answer(&request, name("a.test"), "forged").to_bytes().unwrap();
        UdpSocket::bind(("127.0.0.1", 0)).unwrap().send_to(&forged, from).unwrap();
        socket.send_to(&answer(&request, name("a.test"), "good").to_bytes().unwrap(), from).unwrap();
    });
    let found = ask(server, LONG).unwrap();
    thread.join().unwrap();
    assert_eq!(found.answers[0].data, Data::Txt(b"good".to_vec()));
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    let old = |request: &Message| {
        assert!(request.edns.is_some());
        let mut error = Message::response(request, OptRcode::FORMERR);
        error.questions.clear();
        vec![error.to_bytes().unwrap()]
    };
    let plain = |request: &Message| {
        assert!(request.edns.is_none());
        vec![answer(request, name("a.test"), "plain").to_bytes().unwrap()]
    };
    let (server, thread) = by_udp([old, plain]);
    assert_eq!(ask(server, LONG).unwrap().answers[0].data, Data::Txt(b"plain".to_vec()));
    thread.join().unwrap();
}

/// A server by TCP that sends these bytes after a request, and hangs up.
fn by_tcp(say: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut request).unwrap();
        for byte in say(&request) {
            stream.write_all(&[byte]).unwrap();
        }
    });
    (address, thread)
}

#[test]
fn a_connection_that_breaks_off_is_an_error_and_pieces_are_put_together() {
    let dns = Sockets::with_limits(Arc::new(SystemClock::default()), LONG);
    let (server, thread) = by_tcp(|request| [b"\0\x05", &request[..5]].concat());
    assert_eq!(dns.exchange(server, b"hello world").unwrap(), b"hello");
    thread.join().unwrap();
    for cut in [vec![], vec![0], vec![0, 5], vec![0, 5, 1, 2, 3, 4]] {
        let (server, thread) = by_tcp(move |_| cut);
        let error = dns.exchange(server, b"hello").unwrap_err().to_string();
        assert!(error.contains(&format!("{server} cannot be reached by TCP")), "{error}");
        thread.join().unwrap();
    }
    assert!(matches!(dns.exchange(server, &[0; 70_000]), Err(Error::Local(_))));
}

#[test]
fn a_connection_that_nobody_serves_ends_in_time() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = listener.local_addr().unwrap();
    let limits = Limits { tcp: Duration::from_millis(200), ..LONG };
    let dns = Sockets::with_limits(Arc::new(SystemClock::default()), limits);
    let error = dns.exchange(server, b"hello").unwrap_err();
    assert!(error.is_timeout(), "{error}");
}
