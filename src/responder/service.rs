// SPDX-License-Identifier: Apache-2.0
//! The responder of a child: one thread that waits on all sockets and answers what comes. Several children
//! wait on the same sockets, so that a question may be gone when it is looked for. Ends within a tenth of a
//! second when the child ends; at a graceful restart it goes on until a child of the next generation is
//! there. Imports all of this room but `sockets`.

use super::answer::{Carrier, Unreadable, Verdict, answer};
use super::connection::Connection;
use super::rate::Limit;
use super::values::values;
use super::waiting::{Ready, Waiter};
use super::zones::Zones;
use crate::metrics::{DnsResult, Metrics};
use crate::store::WorkStore;
use crate::sync::lock;
use crate::time::StopFlag;
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How often the thread looks whether the child ends.
const LOOK: Duration = Duration::from_millis(50);

/// How long the old child of a graceful restart goes on: the first new one comes a second or two later.
const LINGER: Duration = Duration::from_millis(2500);

/// At once, in one child.
const CONNECTIONS: usize = 64;

/// Packets of one socket before the next one is served.
const TURN: usize = 64;

/// The longest question that is read.
const LONGEST: usize = 4096;

/// How long connections are left to other children once there is no descriptor for one.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// How often unreadable values are logged above debug.
const UNREADABLE_LOGGED: Duration = Duration::from_secs(60);

/// A UDP socket that does not block.
pub trait Datagrams: AsFd + Send + Sync {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received>;
    /// To where the question came from, from where it was sent to.
    fn reply(&self, answer: &[u8], question: &Received) -> io::Result<()>;
}

#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub length: usize,
    pub peer: SocketAddr,
    /// The address it was sent to, where the socket takes those of several.
    pub local: Option<IpAddr>,
}

/// Bound to one address.
impl Datagrams for std::net::UdpSocket {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.recv_from(buffer).map(|(length, peer)| Received { length, peer, local: None })
    }

    fn reply(&self, answer: &[u8], question: &Received) -> io::Result<()> {
        self.send_to(answer, question.peer).map(drop)
    }
}

/// The sockets of one configuration.
#[derive(Default)]
pub struct Listening {
    pub udp: Vec<Box<dyn Datagrams>>,
    pub tcp: Vec<TcpListener>,
}

/// The source of answers of all children of a configuration.
pub struct Responder {
    /// Taken by the thread, which closes them when it ends.
    pub sockets: Mutex<Option<Listening>>,
    pub zones: Zones,
    pub store: WorkStore,
    pub metrics: Metrics,
    /// Beside the one of the other threads, which end at once when a child has to.
    pub ending: Ending,
    /// The first act of a new thread.
    pub begin_thread: fn(),
}

impl Responder {
    /// Starts the thread of a child.
    pub fn begin(self: &Arc<Self>) {
        let Some(sockets) = lock(&self.sockets).take() else { return };
        let responder = self.clone();
        let work = move || {
            (responder.begin_thread)();
            Rounds::new(&responder, &sockets).run();
        };
        if let Err(error) = self.ending.stop.spawn("md dns", work) {
            crate::log!(
                Error,
                status = error.raw_os_error().unwrap_or(0),
                "the thread that answers DNS questions cannot be started in this child: {}. Other children answer them.",
                crate::log::plain(&error)
            );
        }
    }
}

/// When the thread of a child ends. May be used in a signal handler.
pub struct Ending {
    pub stop: StopFlag,
    origin: Instant,
    /// In milliseconds since `origin`; 0: no graceful restart has begun. Relaxed: it says nothing of other
    /// memory.
    linger_until: AtomicU64,
}

impl Default for Ending {
    fn default() -> Self {
        Ending { stop: StopFlag::default(), origin: Instant::now(), linger_until: AtomicU64::new(0) }
    }
}

impl Ending {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the thread is to end. The old child of a graceful restart may live on for hours, with zones
    /// and addresses that are not in force any more.
    fn is_over(&self) -> bool {
        let linger_until = self.linger_until.load(Ordering::Relaxed);
        self.stop.is_raised() || (linger_until > 0 && self.now() >= linger_until)
    }

    /// The child begins to end.
    pub fn announce(&self, is_graceful: bool) {
        let linger = u64::try_from(LINGER.as_millis()).unwrap_or_default();
        let until = self.now().saturating_add(linger);
        let _ = match is_graceful {
            true => self.linger_until.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed),
            false => Ok(self.linger_until.swap(0, Ordering::Relaxed)),
        };
    }

    /// The child is about to end: waits until others answer, then ends the thread and waits for it, for
    /// `bound` at most.
    pub fn end(&self, bound: Duration) {
        while !self.stop.is_quiet() && self.now() < self.linger_until.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        self.stop.raise();
        self.stop.wait_for_all(bound);
    }
}

/// The thread's own.
struct Rounds<'a> {
    responder: &'a Responder,
    sockets: &'a Listening,
    waiter: Waiter<'a>,
    origin: Instant,
    limit: Limit,
    connections: Vec<Connection<TcpStream>>,
    /// Until then no connection is accepted.
    exhausted_until: Duration,
    buffer: Box<[u8; LONGEST]>,
    unreadable: Unlogged,
}

impl<'a> Rounds<'a> {
    fn new(responder: &'a Responder, sockets: &'a Listening) -> Self {
        Rounds {
            responder,
            sockets,
            waiter: Waiter::new(
                sockets.udp.iter().map(|socket| socket.as_fd()).collect(),
                sockets.tcp.iter().map(AsFd::as_fd).collect(),
            ),
            origin: Instant::now(),
            limit: Limit::default(),
            connections: Vec::new(),
            exhausted_until: Duration::ZERO,
            buffer: Box::new([0; LONGEST]),
            unreadable: Unlogged::default(),
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn run(&mut self) {
        while !self.responder.ending.is_over() {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    crate::log!(Debug, "waiting for DNS questions: {error}");
                    thread::sleep(LOOK);
                    continue;
                }
            };
            for (socket, _) in self.sockets.udp.iter().zip(ready.udp).filter(|(_, is_ready)| *is_ready) {
                self.answer_datagrams(socket.as_ref());
            }
            self.proceed();
            for (listener, _) in self.sockets.tcp.iter().zip(ready.tcp).filter(|(_, is_ready)| *is_ready) {
                self.accept(listener);
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let connections = self.connections.iter().map(|connection| {
            let awaited = if connection.is_sending() { PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&connection.stream, awaited)
        });
        self.waiter.wait(connections.collect(), self.now() >= self.exhausted_until, LOOK)
    }

    fn answer_datagrams(&mut self, socket: &dyn Datagrams) {
        for _ in 0..TURN {
            let received = match socket.receive(self.buffer.as_mut_slice()) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Another child has it; or an answer could not be delivered, which is said here.
                Err(_) => return,
            };
            let is_admitted = self.limit.admits(received.peer.ip(), self.origin.elapsed());
            let carrier = if is_admitted { Carrier::Udp } else { Carrier::UdpLimited };
            let packet = self.buffer.get(..received.length).unwrap_or_default();
            let now = self.origin.elapsed();
            let bytes = respond(self.responder, packet, received.peer, carrier, &mut self.unreadable, now);
            if let Some(Err(error)) = bytes.map(|bytes| socket.reply(&bytes, &received)) {
                crate::log!(Debug, "the answer to {} cannot be sent: {error}", received.peer);
            }
        }
    }

    /// Reads from, and writes to, all connections.
    fn proceed(&mut self) {
        let (now, responder, unreadable) = (self.now(), self.responder, &mut self.unreadable);
        self.connections.retain_mut(|connection| {
            let peer = connection.stream.peer_addr();
            peer.is_ok_and(|peer| {
                connection.proceed(now, |question| {
                    respond(responder, question, peer, Carrier::Tcp, unreadable, now)
                })
            })
        });
    }

    fn accept(&mut self, listener: &TcpListener) {
        for _ in 0..TURN {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    crate::log!(Debug, "a DNS connection cannot be accepted: {error}");
                    self.exhausted_until = self.now() + EXHAUSTED;
                    return;
                }
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.connections.len() >= CONNECTIONS {
                self.close_idlest();
            }
            let now = self.now();
            self.connections.push(Connection::new(stream, now));
        }
    }

    /// The connection that has been idle longest makes room, so that no client can keep all places.
    fn close_idlest(&mut self) {
        let idlest = self.connections.iter().enumerate().min_by_key(|(_, connection)| connection.deadline);
        if let Some((index, _)) = idlest {
            self.connections.swap_remove(index);
        }
    }
}

/// When unreadable values were last logged.
#[derive(Default)]
struct Unlogged(Option<Duration>);

impl Unlogged {
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.0.is_none_or(|last| now.saturating_sub(last) >= UNREADABLE_LOGGED);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Counted and logged. `None`: there is no answer to this.
fn respond(
    responder: &Responder,
    packet: &[u8],
    peer: SocketAddr,
    carrier: Carrier,
    unreadable: &mut Unlogged,
    now: Duration,
) -> Option<Vec<u8>> {
    let verdict = answer(packet, &responder.zones, carrier, |name| {
        values(&responder.store, name).map_err(|error| {
            if unreadable.is_due(now) {
                crate::log!(
                    Error,
                    status = error.os_error().unwrap_or(0),
                    "a DNS question about {name} is answered with SERVFAIL: {}",
                    error.advised()
                );
            }
            Unreadable
        })
    });
    match verdict {
        Verdict::Drop => {
            responder.metrics.dns_asked(DnsResult::Dropped);
            crate::log!(Debug, "dns: {} bytes of {peer} are no question", packet.len());
            None
        }
        Verdict::Answer(answer) => {
            responder.metrics.dns_asked(answer.result);
            let result = answer.result.name();
            match answer.question {
                Some(question) => crate::log!(Debug, "dns: {question} asked by {peer}: {result}"),
                None => crate::log!(Debug, "dns: {} bytes of {peer}: {result}", packet.len()),
            }
            Some(answer.bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graceful_end_lingers_once_and_a_stop_in_it_does_not() {
        let ending = Ending::default();
        assert!(!ending.is_over());
        ending.announce(true);
        let until = ending.linger_until.load(Ordering::SeqCst);
        assert!((1..=2600).contains(&until) && !ending.is_over());
        thread::sleep(Duration::from_millis(2));
        ending.announce(true);
        assert_eq!(ending.linger_until.load(Ordering::SeqCst), until);
        ending.linger_until.store(1, Ordering::SeqCst);
        assert!(ending.is_over(), "the child may live on, the thread does not");
        ending.announce(false);
        assert!(!ending.is_over());
        ending.end(Duration::ZERO);
        assert!(ending.is_over());
    }

    #[test]
    fn unreadable_values_are_reported_once_a_minute() {
        let mut unlogged = Unlogged::default();
        let reported: Vec<bool> =
            [0, 1, 59, 60, 61, 120].map(|at| unlogged.is_due(Duration::from_secs(at))).into();
        assert_eq!(reported, [true, false, false, true, false, true]);
    }
}
