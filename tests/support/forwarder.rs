// SPDX-License-Identifier: Apache-2.0
//! The way to a server of 127.0.0.1 for one client: what it carries can be delayed, held back as by a network
//! that is partitioned, and cut off.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Lab;

pub struct Forwarder {
    /// Where it listens.
    pub port: u16,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Added to each answer.
    delay: Duration,
    is_held: bool,
    is_refusing: bool,
    is_over: bool,
    /// Both ends of each connection, by its number.
    open: HashMap<u64, [TcpStream; 2]>,
    count: u64,
}

impl Forwarder {
    /// To this port.
    pub fn to(lab: &Lab, target: u16) -> Forwarder {
        let port = lab.port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let way: Arc<Way> = Arc::default();
        let of_thread = way.clone();
        thread::spawn(move || of_thread.listen(listener, port, target));
        Forwarder { port, way }
    }

    /// Each answer takes as much longer from now on.
    pub fn delay(&self, by: Duration) {
        self.way.state().delay = by;
    }

    /// Nothing arrives any more at either end, and connections stay open. What was sent arrives when this ends,
    /// as from a network that sends again.
    pub fn hold(&self, is_held: bool) {
        self.way.state().is_held = is_held;
        self.way.changed.notify_all();
    }

    /// Ends the connections that there are.
    pub fn cut(&self) {
        for stream in self.way.state().open.drain().flat_map(|(_, ends)| ends) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Nobody listens, and connections end.
    pub fn refuse(&self, is_refusing: bool) {
        self.way.state().is_refusing = is_refusing;
        self.way.changed.notify_all();
        if is_refusing {
            self.wake();
            self.cut();
        }
    }

    /// The thread that accepts.
    fn wake(&self) {
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.way.state().is_over = true;
        self.hold(false);
        self.cut();
        self.wake();
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once nothing is held back.
    fn passage(&self) {
        let free = self.changed.wait_while(self.state(), |state| state.is_held);
        drop(free.unwrap_or_else(PoisonError::into_inner));
    }

    /// Until it is over. Where nobody listens for a while, a listener at the same port is next.
    fn listen(self: &Arc<Self>, listener: TcpListener, port: u16, target: u16) {
        let mut listener = Some(listener);
        loop {
            if let Some(listener) = listener.take() {
                self.accept(&listener, target);
            }
            let waiting = self.changed.wait_while(self.state(), |state| state.is_refusing && !state.is_over);
            if waiting.unwrap_or_else(PoisonError::into_inner).is_over {
                return;
            }
            listener = TcpListener::bind(("127.0.0.1", port)).ok();
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, target: u16) {
        for client in listener.incoming().flatten() {
            let way = self.clone();
            let is_closed = |state: &State| state.is_over || state.is_refusing;
            if is_closed(&way.state()) {
                return;
            }
            thread::spawn(move || {
                way.passage();
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    way.carry(client, server);
                }
            });
        }
    }

    fn carry(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let copy = |stream: &TcpStream| stream.try_clone().unwrap();
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let number = {
            let mut state = self.state();
            state.count += 1;
            let number = state.count;
            state.open.insert(number, [copy(&client), copy(&server)]);
            number
        };
        self.pump(copy(&client), copy(&server), None);
        self.pump(server, client, Some(number));
    }

    /// Carries what comes `from` one end `to` the other, in threads that end with the connection. `answers`: the
    /// number of the connection, for its answers.
    fn pump(self: &Arc<Self>, mut from: TcpStream, to: TcpStream, answers: Option<u64>) {
        let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
        let (reading, writing) = (self.clone(), self.clone());
        thread::spawn(move || {
            let mut room = vec![0; 64 * 1024];
            while let Ok(amount @ 1..) = from.read(&mut room) {
                let delay = if answers.is_some() { reading.state().delay } else { Duration::ZERO };
                if sender.send((Instant::now() + delay, room[..amount].to_vec())).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            writing.deliver(receiver, to);
            if let Some(number) = answers {
                writing.state().open.remove(&number);
            }
        });
    }

    fn deliver(&self, arrived: Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
        for (due, bytes) in arrived {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.passage();
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        self.passage();
        let _ = to.shutdown(Shutdown::Write);
    }
}
