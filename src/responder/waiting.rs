// SPDX-License-Identifier: Apache-2.0
//! The wait for what comes to the sockets of all children. A question wakes one of them, where the system can
//! do that (Linux): with the hundreds of children of prefork, one that woke all would cost hundreds of times
//! as much. Looks at every socket when the time is over: what woke a child that ended just then is not lost.
//! Imports nothing of this room.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Which sockets may have something, in their order.
#[derive(Debug, PartialEq, Eq)]
pub struct Ready {
    pub udp: Vec<bool>,
    pub tcp: Vec<bool>,
}

/// Waits on the sockets of one child.
pub struct Waiter<'a> {
    udp: Vec<BorrowedFd<'a>>,
    tcp: Vec<BorrowedFd<'a>>,
    shared: Option<Shared>,
}

impl<'a> Waiter<'a> {
    pub fn new(udp: Vec<BorrowedFd<'a>>, tcp: Vec<BorrowedFd<'a>>) -> Self {
        let shared = Shared::of(udp.iter().chain(&tcp)).ok();
        Waiter { udp, tcp, shared }
    }

    /// Until one of the sockets, or of the `connections`, has something, for `time` at most. Where nobody is
    /// accepting, the TCP sockets do not count.
    pub fn wait<'c>(
        &'c self,
        connections: Vec<PollFd<'c>>,
        is_accepting: bool,
        time: Duration,
    ) -> io::Result<Ready> {
        match &self.shared {
            Some(shared) if is_accepting => self.wait_for_turn(shared, connections, time),
            _ => self.wait_with_all(connections, is_accepting, time),
        }
    }

    fn wait_for_turn<'c>(
        &self,
        shared: &'c Shared,
        mut connections: Vec<PollFd<'c>>,
        mut time: Duration,
    ) -> io::Result<Ready> {
        if !connections.is_empty() {
            connections.push(PollFd::new(shared, PollFlags::IN));
            wait_on(&mut connections, time)?;
            time = Duration::ZERO;
        }
        let ready = shared.wait(time)?;
        let mut each = (0..).map(|index| ready.is_empty() || ready.contains(&index));
        let udp = each.by_ref().take(self.udp.len()).collect();
        Ok(Ready { udp, tcp: each.take(self.tcp.len()).collect() })
    }

    fn wait_with_all<'c>(
        &'c self,
        connections: Vec<PollFd<'c>>,
        is_accepting: bool,
        time: Duration,
    ) -> io::Result<Ready> {
        let accepting = if is_accepting { PollFlags::IN } else { PollFlags::empty() };
        let of_fd = |fd: &BorrowedFd<'a>, awaited| PollFd::from_borrowed_fd(*fd, awaited);
        let mut waiting: Vec<PollFd<'c>> = self.udp.iter().map(|fd| of_fd(fd, PollFlags::IN)).collect();
        waiting.extend(self.tcp.iter().map(|fd| of_fd(fd, accepting)));
        waiting.extend(connections);
        wait_on(&mut waiting, time)?;
        let mut ready = waiting.iter().map(|waiting| !waiting.revents().is_empty());
        let udp = ready.by_ref().take(self.udp.len()).collect();
        let tcp = ready.take(self.tcp.len()).map(|is_ready| is_ready && is_accepting).collect();
        Ok(Ready { udp, tcp })
    }
}

fn wait_on(waiting: &mut [PollFd<'_>], time: Duration) -> io::Result<()> {
    match poll(waiting, Timespec::try_from(time).ok().as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::Shared;
#[cfg(target_os = "linux")]
use linux::Shared;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    /// The most sockets that one round reports; the next round has the others.
    const AT_ONCE: usize = 64;

    /// Sockets that many processes wait on, of which each event wakes one.
    pub struct Shared(OwnedFd);

    impl Shared {
        pub fn of<'f>(sockets: impl Iterator<Item = &'f BorrowedFd<'f>>) -> io::Result<Shared> {
            let shared = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            for (index, socket) in (0..).zip(sockets) {
                epoll::add(&shared, socket, epoll::EventData::new_u64(index), flags)?;
            }
            Ok(Shared(shared))
        }

        /// The indexes of those that have something.
        pub fn wait(&self, time: Duration) -> io::Result<Vec<u64>> {
            let mut events = Vec::with_capacity(AT_ONCE);
            match epoll::wait(&self.0, spare_capacity(&mut events), Timespec::try_from(time).ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(events.iter().map(|event: &epoll::Event| event.data.u64()).collect())
        }
    }

    impl AsFd for Shared {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::time::Duration;

    /// There is none.
    pub enum Shared {}

    impl Shared {
        pub fn of<'f>(_: impl Iterator<Item = &'f BorrowedFd<'f>>) -> io::Result<Shared> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub fn wait(&self, _: Duration) -> io::Result<Vec<u64>> {
            match *self {}
        }
    }

    impl AsFd for Shared {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;

    const LONG: Duration = Duration::from_secs(30);

    fn udp() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// How often this thread has slept. A wait whose thread is woken for nothing does not always return.
    #[cfg(target_os = "linux")]
    fn sleeps() -> usize {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_question_wakes_one_of_many_children() {
        const CHILDREN: usize = 16;
        const QUESTIONS: usize = 200;
        let (shared, asker) = (udp(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (slept, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let child = || {
            let own = shared.try_clone().unwrap();
            let waiter = Waiter::new(vec![own.as_fd()], Vec::new());
            let before = sleeps();
            while !is_over.load(Ordering::SeqCst) {
                waiter.wait(Vec::new(), true, LONG).unwrap();
                while let Ok((length, peer)) = own.recv_from(&mut [0; 8]) {
                    if length > 0 {
                        own.send_to(b"answer", peer).unwrap();
                    }
                }
            }
            slept.fetch_add(sleeps() - before, Ordering::SeqCst);
            // The others end, too.
            own.send_to(&[], own.local_addr().unwrap()).unwrap();
        };
        thread::scope(|scope| {
            (0..CHILDREN).for_each(|_| drop(scope.spawn(child)));
            let address = shared.local_addr().unwrap();
            for _ in 0..QUESTIONS {
                asker.send_to(b"question", address).unwrap();
                asker.recv_from(&mut [0; 8]).unwrap();
            }
            is_over.store(true, Ordering::SeqCst);
            asker.send_to(&[], address).unwrap();
        });
        let slept = slept.load(Ordering::SeqCst);
        assert!(slept <= 2 * (QUESTIONS + CHILDREN), "{QUESTIONS} questions woke {slept} times");
    }

    #[test]
    fn each_socket_is_told_of_by_its_place_and_all_when_time_is_over() {
        let sockets = [udp(), udp()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let waiter = Waiter::new(sockets.iter().map(AsFd::as_fd).collect(), vec![listener.as_fd()]);
        let ready = |udp: [bool; 2], tcp| Ready { udp: udp.into(), tcp: vec![tcp] };
        let wait = |time| waiter.wait(Vec::new(), true, time).unwrap();
        assert_eq!(wait(Duration::from_millis(1)), ready([true, true], true));
        sockets[0].send_to(b"x", sockets[1].local_addr().unwrap()).unwrap();
        assert_eq!(wait(LONG), ready([false, true], false));
        assert_eq!(wait(LONG), ready([false, true], false), "it is still there");
        sockets[1].recv(&mut [0; 8]).unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(wait(LONG), ready([false, false], true));
        // Nobody accepts: the wait does not end at once again and again.
        let unaccepted = waiter.wait(Vec::new(), false, Duration::from_millis(1)).unwrap();
        assert_eq!(unaccepted, ready([false, false], false));
        drop(client);
    }

    #[test]
    fn a_connection_and_a_question_end_the_wait_for_each_other() {
        let (socket, listener) = (udp(), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = socket.local_addr().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let waiter = Waiter::new(vec![socket.as_fd()], Vec::new());
        let wait = || waiter.wait(vec![PollFd::new(&stream, PollFlags::IN)], true, LONG).unwrap();
        std::io::Write::write_all(&mut &client, b"x").unwrap();
        wait();
        std::io::Read::read_exact(&mut &stream, &mut [0]).unwrap();
        socket.send_to(b"x", address).unwrap();
        assert_eq!(wait(), Ready { udp: vec![true], tcp: Vec::new() });
        socket.recv(&mut [0; 8]).unwrap();
    }
}
