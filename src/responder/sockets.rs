// SPDX-License-Identifier: Apache-2.0
//! The listening sockets of the responder: opened by the parent as root, and kept over reloads as a list of
//! their numbers, which is text: the library that reads it may be another one than the one that wrote it.
//! Refuses an address that is taken. Imports nothing of this room.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// Of TCP connections that no child has taken yet.
const BACKLOG: i32 = 128;

/// For the questions that arrive while a reload has no child to answer.
const RECEIVE_BUFFER: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
}

/// Protocol and address of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

impl Place {
    /// All that `MDDnsListen` asks for, each once.
    pub fn all(addresses: &[SocketAddr]) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for place in addresses
            .iter()
            .flat_map(|&address| [Protocol::Udp, Protocol::Tcp].map(|protocol| Place { protocol, address }))
        {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// A socket that does not block and is closed in programs that children start.
    pub fn open(self) -> io::Result<OwnedFd> {
        let kind = match self.protocol {
            Protocol::Udp => SocketType::DGRAM,
            Protocol::Tcp => SocketType::STREAM,
        };
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        if self.address.is_ipv6() {
            // `[::]` does not take what is for `0.0.0.0`.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        match self.protocol {
            Protocol::Udp => {
                enlarge(&socket);
                bind(&socket, &self.address)?;
            }
            Protocol::Tcp => {
                // Connections that have ended a moment ago are no reason to fail.
                sockopt::set_socket_reuseaddr(&socket, true)?;
                bind(&socket, &self.address)?;
                listen(&socket, BACKLOG)?;
            }
        }
        Ok(socket)
    }

    /// Whether a socket is bound to this.
    pub fn is_of(self, socket: impl AsFd) -> bool {
        let kind = match self.protocol {
            Protocol::Udp => SocketType::DGRAM,
            Protocol::Tcp => SocketType::STREAM,
        };
        let is_of_kind = sockopt::socket_type(&socket) == Ok(kind);
        let address = getsockname(&socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
        is_of_kind && address == Some(self.address)
    }
}

/// As far as the system lets us: beyond its limit only root may.
fn enlarge(socket: &OwnedFd) {
    if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER) == Err(Errno::PERM) {
        let _ = sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        write!(f, "{protocol} {}", self.address)
    }
}

/// A socket that is kept over reloads, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub place: Place,
    pub number: RawFd,
}

/// A line for each.
pub fn to_text(kept: &[Kept]) -> String {
    kept.iter().map(|kept| format!("{} {}\n", kept.place, kept.number)).collect()
}

/// Lines that say nothing are passed over: their sockets are not ours any more.
pub fn from_text(text: &str) -> Vec<Kept> {
    let kept = |line: &str| {
        let mut words = line.split(' ');
        let protocol = match words.next()? {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            _ => return None,
        };
        let place = Place { protocol, address: words.next()?.parse().ok()? };
        let number = words.next()?.parse().ok().filter(|number| *number > 2)?;
        Some(Kept { place, number })
    };
    text.lines().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(protocol: Protocol, address: &str) -> Place {
        Place { protocol, address: address.parse().unwrap() }
    }

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let list = [
            Kept { place: place(Protocol::Udp, "127.0.0.1:53"), number: 7 },
            Kept { place: place(Protocol::Tcp, "[2001:db8::1]:5353"), number: 12 },
        ];
        let text = to_text(&list);
        assert_eq!(text, "udp 127.0.0.1:53 7\ntcp [2001:db8::1]:5353 12\n");
        assert_eq!(from_text(&text), list);
        for text in [
            "",
            "\n",
            "udp",
            "sctp 127.0.0.1:53 7",
            "udp 127.0.0.1 7",
            "udp 127.0.0.1:53 -1",
            "udp 127.0.0.1:53 2",
        ] {
            assert_eq!(from_text(text), [], "{text:?}");
        }
    }

    #[test]
    fn an_address_named_twice_is_bound_once() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:53", "[::1]:53", "127.0.0.1:53"].map(|a| a.parse().unwrap()).into();
        let places = Place::all(&addresses);
        assert_eq!(places.len(), 4);
        assert!(places.contains(&place(Protocol::Tcp, "[::1]:53")));
    }

    #[test]
    fn an_open_socket_is_known_by_its_place() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (udp, tcp) = (
            Place { protocol: Protocol::Udp, address: free },
            Place { protocol: Protocol::Tcp, address: free },
        );
        let socket = udp.open().unwrap();
        assert!(udp.is_of(&socket) && !tcp.is_of(&socket));
        assert!(!place(Protocol::Udp, "127.0.0.1:1").is_of(&socket));
        assert_eq!(udp.open().map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
        let flags = rustix::io::fcntl_getfd(&socket).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(sockopt::socket_recv_buffer_size(&socket).unwrap() >= 200_000);
    }

    #[test]
    fn both_families_have_the_same_port() {
        let v4 = place(Protocol::Udp, "0.0.0.0:0").open().unwrap();
        let port = SocketAddr::try_from(getsockname(&v4).unwrap()).unwrap().port();
        let v6 = Place { protocol: Protocol::Udp, address: SocketAddr::new("::".parse().unwrap(), port) };
        v6.open().unwrap();
    }
}
