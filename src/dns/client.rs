// SPDX-License-Identifier: Apache-2.0
//! [`Dns`] on sockets: UDP with a random id from a connected socket of its own, three tries; TCP where the
//! answer was cut off, and for updates. Refuses answers to other questions. Ends within a tenth of a second
//! when the process stops. Imports `wire` and `error` of this room.

use super::wire::{Edns, MAX_MESSAGE, UDP_SIZE};
use super::{Dns, Error, Flags, Malformed, Message, Opcode, OptRcode, Question, Recursion};
use crate::crypto;
use crate::time::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a stop may go unnoticed.
const SLICE: Duration = Duration::from_millis(100);

/// Questions by UDP are sent this often.
const TRIES: u32 = 3;

/// How long servers have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For each of three questions by UDP.
    pub udp: Duration,
    /// For an exchange by TCP, the connection included.
    pub tcp: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { udp: Duration::from_secs(2), tcp: Duration::from_secs(10) }
    }
}

pub struct Sockets {
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl Sockets {
    pub fn new(clock: Arc<dyn Clock>) -> Sockets {
        Sockets::with_limits(clock, Limits::default())
    }

    pub fn with_limits(clock: Arc<dyn Clock>, limits: Limits) -> Sockets {
        Sockets { clock, limits }
    }
}

impl Dns for Sockets {
    fn ask(&self, server: SocketAddr, question: &Question, recursion: Recursion) -> Result<Message, Error> {
        let mut request = request(question, recursion)?;
        let answer = self.ask_by_udp(server, &request)?;
        let answer = if is_without_edns(&answer) {
            request.edns = None;
            self.ask_by_udp(server, &request)?
        } else {
            answer
        };
        if !answer.flags.tc {
            return Ok(answer);
        }
        let bytes = written(&request)?;
        let bytes = self.exchange(server, &bytes)?;
        let answer = Message::parse(&bytes).map_err(|reason| Error::Malformed { server, reason })?;
        if is_answer(&request, &answer) {
            return Ok(answer);
        }
        Err(Error::OtherQuestion { server, asked: question.name.clone() })
    }

    fn exchange(&self, server: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Error> {
        let length = u16::try_from(request.len()).map_err(|_| Error::Local(Malformed::Long.to_string()))?;
        let wait = Wait::new(&*self.clock, server, "TCP", self.limits.tcp);
        let mut stream = connect(&wait)?;
        send_all(&mut stream, &[&length.to_be_bytes(), request].concat(), &wait)?;
        let mut length = [0; 2];
        receive_all(&mut stream, &mut length, &wait)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        receive_all(&mut stream, &mut answer, &wait)?;
        Ok(answer)
    }
}

impl Sockets {
    fn ask_by_udp(&self, server: SocketAddr, request: &Message) -> Result<Message, Error> {
        let (limit, bytes) = (self.limits.udp, written(request)?);
        for _ in 0..TRIES {
            let wait = Wait::new(&*self.clock, server, "UDP", limit);
            match self.ask_once(request, &bytes, &wait) {
                Err(error) if error.is_timeout() => {}
                other => return other,
            }
        }
        Err(Error::Timeout { server, limit: limit * TRIES })
    }

    /// A socket of its own for each try has a port of its own as well, which is harder to guess.
    fn ask_once(&self, request: &Message, bytes: &[u8], wait: &Wait<'_>) -> Result<Message, Error> {
        let any: IpAddr = match wait.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).map_err(|source| wait.failed(source))?;
        socket.connect(wait.server).map_err(|source| wait.failed(source))?;
        socket.set_nonblocking(true).map_err(|source| wait.failed(source))?;
        socket.send(bytes).map_err(|source| wait.failed(source))?;
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            wait.until_ready(&socket, PollFlags::IN)?;
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let answer = Message::parse(buffer.get(..length).unwrap_or_default());
                    // Anything else may come from somebody who guesses, so the wait goes on.
                    if let Some(answer) = answer.ok().filter(|answer| is_answer(request, answer)) {
                        return Ok(answer);
                    }
                }
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(wait.failed(error)),
            }
        }
    }
}

fn request(question: &Question, recursion: Recursion) -> Result<Message, Error> {
    let id = crypto::random().map_err(|error| Error::Local(error.to_string()))?;
    let mut request = Message::request(u16::from_be_bytes(id), Opcode::QUERY);
    request.flags = Flags { rd: recursion == Recursion::Desired, ..Flags::default() };
    request.questions.push(question.clone());
    request.edns = Some(Edns { udp_size: UDP_SIZE, version: 0, dnssec_ok: false });
    Ok(request)
}

fn written(request: &Message) -> Result<Vec<u8>, Error> {
    request.to_bytes().map_err(|reason| Error::Local(reason.to_string()))
}

/// Whether an old server cannot read the request because of EDNS (RFC 6891 §7).
fn is_without_edns(answer: &Message) -> bool {
    matches!(answer.rcode, OptRcode::FORMERR | OptRcode::NOTIMP) && answer.edns.is_none()
}

/// The id and the question come back. Servers that cannot read a request may leave out the question.
fn is_answer(request: &Message, answer: &Message) -> bool {
    let cannot_read = matches!(answer.rcode, OptRcode::FORMERR | OptRcode::NOTIMP);
    let is_same = answer.questions == request.questions || (answer.questions.is_empty() && cannot_read);
    answer.flags.qr && answer.id == request.id && answer.opcode == request.opcode && is_same
}

/// A wait for one server, which ends with its time or with the process.
struct Wait<'a> {
    clock: &'a dyn Clock,
    server: SocketAddr,
    way: &'static str,
    limit: Duration,
    end: Instant,
}

impl<'a> Wait<'a> {
    fn new(clock: &'a dyn Clock, server: SocketAddr, way: &'static str, limit: Duration) -> Self {
        Wait { clock, server, way, limit, end: Instant::now() + limit }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { server: self.server, way: self.way, source }
    }

    fn until_ready(&self, socket: &impl AsFd, event: PollFlags) -> Result<(), Error> {
        loop {
            if self.clock.is_stopped() {
                return Err(Error::Stopped);
            }
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout { server: self.server, limit: self.limit });
            }
            let slice = Timespec::try_from(left.min(SLICE)).ok();
            match poll(&mut [PollFd::new(socket, event)], slice.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// std's own connect cannot be interrupted.
fn connect(wait: &Wait<'_>) -> Result<TcpStream, Error> {
    let failed = |errno: Errno| wait.failed(errno.into());
    let family = if wait.server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)).map_err(failed)?;
    match rustix::net::connect(&socket, &wait.server) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait.until_ready(&socket, PollFlags::OUT)?;
            sockopt::socket_error(&socket).map_err(failed)?.map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(TcpStream::from(socket))
}

fn send_all(stream: &mut TcpStream, mut bytes: &[u8], wait: &Wait<'_>) -> Result<(), Error> {
    while !bytes.is_empty() {
        wait.until_ready(stream, PollFlags::OUT)?;
        match stream.write(bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(wait.failed(error)),
        }
    }
    Ok(())
}

fn receive_all(stream: &mut TcpStream, buffer: &mut [u8], wait: &Wait<'_>) -> Result<(), Error> {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        wait.until_ready(stream, PollFlags::IN)?;
        match stream.read(rest) {
            Ok(0) => return Err(wait.failed(ErrorKind::UnexpectedEof.into())),
            Ok(length) => filled += length,
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(wait.failed(error)),
        }
    }
    Ok(())
}
