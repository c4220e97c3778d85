// SPDX-License-Identifier: Apache-2.0
//! Connections to servers inside that speak another protocol than HTTP: TCP, with TLS where it is asked for.
//! Each wait has an end, and a stop of the process ends it within a slice. Knows nothing of what is said.

use super::Error;
use super::tls::{Failure, Stream, Tls};
use super::wait::{SLICE, within};
use crate::time::StopFlag;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Makes connections.
pub struct Dialer {
    tls: Option<Tls>,
    stop: StopFlag,
}

impl Dialer {
    /// Over TCP alone.
    pub fn plain(stop: StopFlag) -> Self {
        Dialer { tls: None, stop }
    }

    /// With TLS. `ca_pem`: PEM certificates to trust instead of the system's; `client_pem`: the chain and the
    /// key to identify with.
    pub fn tls(
        ca_pem: Option<&[u8]>,
        client_pem: Option<(&[u8], &[u8])>,
        stop: StopFlag,
    ) -> Result<Self, Error> {
        Ok(Dialer { tls: Some(Tls::inside(ca_pem, client_pem)?), stop })
    }

    /// Connects to the first address of `host` that answers, and shakes hands.
    pub fn connect(&self, host: &str, port: u16, deadline: Instant) -> Result<Connection, Error> {
        let name = host.to_string();
        let addresses = within(&self.stop, left(deadline)?, move || (name.as_str(), port).to_socket_addrs())?
            .map_err(|error| Error::Dns(crate::log::plain(&error)))?;
        let tcp = self.dial(addresses.take(16).collect(), deadline)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SLICE))?;
        tcp.set_write_timeout(Some(SLICE))?;
        let sliced = Sliced { tcp, stop: self.stop.clone(), deadline };
        let channel = match &self.tls {
            None => Channel::Plain(sliced),
            Some(tls) => match tls.connect(host, sliced) {
                Ok(stream) => Channel::Tls(Box::new(stream)),
                Err(Failure::Tls(error)) => return Err(error),
                Err(Failure::Io(error)) => return Err(failure(error, &self.stop)),
            },
        };
        Ok(Connection { channel, stop: self.stop.clone() })
    }

    fn dial(&self, addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, Error> {
        let (count, mut last) = (addresses.len(), Error::Dns("the name has no address".into()));
        for (position, address) in addresses.into_iter().enumerate() {
            // Half of the time that is left for each address but the last, which may use it all.
            let left = left(deadline)?;
            let limit = if position + 1 == count { left } else { left / 2 };
            let limit = limit.max(SLICE);
            match within(&self.stop, limit, move || TcpStream::connect_timeout(&address, limit)) {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.into(),
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(other) => last = other,
            }
        }
        Err(last)
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> Result<Duration, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Error::Timeout) } else { Ok(left) }
}

pub struct Connection {
    channel: Channel,
    stop: StopFlag,
}

enum Channel {
    Plain(Sliced),
    Tls(Box<Stream<Sliced>>),
}

impl Connection {
    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        self.sliced().deadline = deadline;
        let sent = match &mut self.channel {
            Channel::Plain(stream) => stream.write_all(bytes),
            Channel::Tls(stream) => stream.write_all(bytes),
        };
        sent.map_err(|error| failure(error, &self.stop))
    }

    /// Waits for what comes next. An end of the connection is an error.
    pub fn receive(&mut self, room: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        self.sliced().deadline = deadline;
        let got = match &mut self.channel {
            Channel::Plain(stream) => stream.read(room),
            Channel::Tls(stream) => stream.read(room),
        };
        match got {
            Ok(0) => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            Ok(amount) => Ok(amount),
            Err(error) => Err(failure(error, &self.stop)),
        }
    }

    /// Whether nothing waits on it: unrequested bytes and an end both mean that it cannot be used again.
    pub fn is_idle(&mut self) -> bool {
        let tcp = &self.sliced().tcp;
        let idle = tcp.set_nonblocking(true).is_ok()
            && matches!(tcp.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        idle && tcp.set_nonblocking(false).is_ok()
    }

    fn sliced(&mut self) -> &mut Sliced {
        match &mut self.channel {
            Channel::Plain(stream) => stream,
            Channel::Tls(stream) => stream.get_mut(),
        }
    }
}

/// A TCP connection whose waits are cut into slices, so that a stop is noticed.
struct Sliced {
    tcp: TcpStream,
    stop: StopFlag,
    deadline: Instant,
}

impl Sliced {
    /// Repeats `step` as long as it would block.
    fn persist(&mut self, mut step: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            if self.stop.is_raised() {
                return Err(io::Error::other(crate::time::Stopped));
            }
            match step(&mut self.tcp) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= self.deadline {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                done => return done,
            }
        }
    }
}

impl Read for Sliced {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.persist(|tcp| tcp.read(room))
    }
}

impl Write for Sliced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.persist(|tcp| tcp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failure(error: io::Error, stop: &StopFlag) -> Error {
    if stop.is_raised() { Error::Stopped } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn soon(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    fn connected() -> (Connection, TcpStream, StopFlag) {
        let (listener, stop) = (TcpListener::bind("127.0.0.1:0").unwrap(), StopFlag::default());
        let port = listener.local_addr().unwrap().port();
        let connection = Dialer::plain(stop.clone()).connect("127.0.0.1", port, soon(30_000)).unwrap();
        (connection, listener.accept().unwrap().0, stop)
    }

    #[test]
    fn what_is_sent_arrives_and_an_end_is_an_error() {
        let (mut connection, mut server, _) = connected();
        connection.send(b"ping", soon(30_000)).unwrap();
        let mut room = [0; 9];
        assert_eq!(server.read(&mut room).unwrap(), 4);
        assert!(connection.is_idle());
        server.write_all(b"pong").unwrap();
        assert_eq!(connection.receive(&mut room, soon(30_000)), Ok(4));
        assert_eq!(&room[..4], b"pong");
        drop(server);
        assert!(matches!(connection.receive(&mut room, soon(30_000)), Err(Error::Other { .. })));
        assert!(!connection.is_idle());
    }

    #[test]
    fn a_silent_server_ends_a_wait_in_time_and_a_stop_at_once() {
        let (mut connection, _server, stop) = connected();
        assert_eq!(connection.receive(&mut [0], soon(150)), Err(Error::Timeout));
        let large = vec![0; 32 << 20];
        assert_eq!(connection.send(&large, soon(300)), Err(Error::Timeout), "it reads nothing");
        let waiter = thread::spawn(move || connection.receive(&mut [0], soon(600_000)));
        stop.raise();
        assert_eq!(waiter.join().unwrap(), Err(Error::Stopped));
    }

    #[test]
    fn nobody_there_is_told_apart() {
        let dialer = Dialer::plain(StopFlag::default());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(dialer.connect("127.0.0.1", port, soon(30_000)).err(), Some(Error::Refused));
        assert!(matches!(dialer.connect("no.such.invalid", 1, soon(30_000)).err(), Some(Error::Dns(_))));
        assert_eq!(dialer.connect("127.0.0.1", port, Instant::now()).err(), Some(Error::Timeout));
    }

    /// The handshake waits in the same slices.
    #[test]
    fn a_server_that_does_not_shake_hands_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = Dialer::tls(None, None, StopFlag::default()).unwrap();
        assert_eq!(dialer.connect("127.0.0.1", port, soon(300)).err(), Some(Error::Timeout));
    }
}
