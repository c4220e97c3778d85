// SPDX-License-Identifier: Apache-2.0
//! UDP sockets of the responder. One that is bound to all addresses of the machine tells to which of them a
//! question was sent, and its answer leaves from there: clients drop answers of any other address. Neither
//! std nor rustix can do that.

use crate::responder::service::{Datagrams, Received};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// A socket that is bound to `address`.
pub fn datagrams(socket: OwnedFd, address: SocketAddr) -> Box<dyn Datagrams> {
    let socket = UdpSocket::from(socket);
    if address.ip().is_unspecified() && Anywhere::prepare(&socket, address).is_ok() {
        return Box::new(Anywhere(socket));
    }
    Box::new(socket)
}

/// Bound to all addresses.
struct Anywhere(UdpSocket);

/// Room for one control message with an address.
#[repr(align(8))]
struct Control([u8; 64]);

impl Anywhere {
    fn prepare(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
        let (level, option) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        let on: libc::c_int = 1;
        // SAFETY: the option takes an int, which outlives the call.
        let status = unsafe {
            let length = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for Anywhere {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Datagrams for Anywhere {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut peer = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut control = Control([0; 64]);
        let mut parts = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut message = message(peer.as_mut_ptr(), &mut parts, &mut control);
        // SAFETY: all that the message points to outlives the call, with the lengths that stand beside it.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &mut message, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: zeroed, and filled by the system.
        let peer = address(&unsafe { peer.assume_init() })?;
        // SAFETY: the system has written the control messages, and their length.
        let local = unsafe { local(&message) };
        // One of the link alone would need its interface.
        let local =
            local.filter(|local| !matches!(local, IpAddr::V6(address) if address.is_unicast_link_local()));
        Ok(Received { length: length.min(buffer.len()), peer, local })
    }

    fn reply(&self, answer: &[u8], question: &Received) -> io::Result<()> {
        let Some(local) = question.local else { return self.0.send_to(answer, question.peer).map(drop) };
        let mut peer = storage(question.peer);
        let mut control = Control([0; 64]);
        let mut parts = libc::iovec { iov_base: answer.as_ptr().cast_mut().cast(), iov_len: answer.len() };
        let mut message = message(&mut peer, &mut parts, &mut control);
        // SAFETY: as above; nothing of the answer is written to.
        let sent = unsafe {
            say_local(&mut message, local);
            libc::sendmsg(self.0.as_raw_fd(), &message, libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn message(
    peer: *mut libc::sockaddr_storage,
    parts: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    // SAFETY: a struct of numbers and pointers, for which zeros are a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = peer.cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = parts;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    message
}

/// The address that a datagram was sent to.
///
/// # Safety
/// The message was filled by the system, and its control messages are still there.
unsafe fn local(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the macros stay within the control messages; their data may lie anywhere.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        let kind = header.as_ref().map(|header| (header.cmsg_level, header.cmsg_type))?;
        let data = libc::CMSG_DATA(header);
        match kind {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info = ptr::read_unaligned(data.cast::<libc::in_pktinfo>());
                Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into())
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

/// Has the message leave from this address.
///
/// # Safety
/// The message has control memory of the size of [`Control`], filled with zeros.
unsafe fn say_local(message: &mut libc::msghdr, local: IpAddr) {
    // SAFETY: one control message fits: 12 or 20 bytes and a header. No interface is named: routing chooses
    // it.
    unsafe {
        let (level, kind, size) = match local {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>()),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>()),
        };
        let size = size as libc::c_uint;
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        let data = libc::CMSG_DATA(header);
        match local {
            IpAddr::V4(address) => {
                let local = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: local, ipi_addr: any };
                ptr::write_unaligned(data.cast(), info);
            }
            IpAddr::V6(address) => {
                let local = libc::in6_addr { s6_addr: address.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: local, ipi6_ifindex: 0 };
                ptr::write_unaligned(data.cast(), info);
            }
        }
    }
}

fn address(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: of this family, and a storage has room for each.
            let v4 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Ok(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => Err(io::Error::other("neither IPv4 nor IPv6")),
    }
}

fn storage(address: SocketAddr) -> libc::sockaddr_storage {
    // SAFETY: a struct of numbers, for which zeros are a value.
    let mut storage: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: a storage has room for each family, aligned for it.
            let v4 = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let v6 = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = address.port().to_be();
            v6.sin6_flowinfo = address.flowinfo();
            v6.sin6_scope_id = address.scope_id();
            v6.sin6_addr.s6_addr = address.ip().octets();
        }
    }
    storage
}
