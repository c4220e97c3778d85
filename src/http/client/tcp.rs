// SPDX-License-Identifier: Apache-2.0
//! TCP connections and address resolution. Every wait is cut into slices, so that a stop is noticed.

use super::super::Error;
use super::super::wait::{SLICE, within};
use super::adapter::{buffers, carried, opaque};
use crate::time::StopFlag;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use ureq::http;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::{self, Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout};

pub(super) struct Resolver(pub StopFlag);

impl resolver::Resolver for Resolver {
    fn resolve(
        &self,
        uri: &http::Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let name = format!("{host}:{port}");
        let found: Vec<SocketAddr> = match name.parse() {
            Ok(literal) => vec![literal],
            Err(_) => within(&self.0, *timeout.after, move || name.to_socket_addrs())
                .map_err(carried)?
                .map_err(|e| carried(Error::Dns(unknown(&e))))?
                .collect(),
        };
        let mut out = self.empty();
        for address in found.into_iter().take(16) {
            out.push(address);
        }
        if out.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(out) }
    }
}

/// The resolver's words, without those of the library around it.
fn unknown(error: &io::Error) -> String {
    let text = crate::log::plain(error);
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_string()
}

/// Raised once a response has begun whose body has no end: from then on a wait for input ends after one slice
/// with `WouldBlock`, and the next goes on from there.
pub(super) type InSlices = Arc<AtomicBool>;

pub(super) struct TcpConnector {
    pub stop: StopFlag,
    pub in_slices: InSlices,
}

impl TcpConnector {
    pub fn new(stop: &StopFlag) -> Self {
        TcpConnector { stop: stop.clone(), in_slices: InSlices::default() }
    }
}

impl<In: transport::Transport> Connector<In> for TcpConnector {
    type Out = transport::Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        below: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(tunnel) = below {
            return Ok(Some(transport::Either::A(tunnel)));
        }
        let (started, mut last) = (Instant::now(), ureq::Error::HostNotFound);
        for (position, address) in details.addrs.iter().copied().enumerate() {
            // Half of the time that is left for each address but the last, which may use it all.
            let left = details.timeout.after.saturating_sub(started.elapsed());
            let limit = if position + 1 == details.addrs.len() { left } else { left / 2 };
            let limit = limit.max(SLICE);
            match within(&self.stop, limit, move || TcpStream::connect_timeout(&address, limit)) {
                Ok(Ok(stream)) => {
                    let tcp = Tcp::new(stream, self, details)?;
                    return Ok(Some(transport::Either::B(tcp)));
                }
                Ok(Err(e)) => last = ureq::Error::Io(e),
                Err(Error::Timeout) => last = carried(Error::Timeout),
                Err(other) => return Err(carried(other)),
            }
        }
        Err(last)
    }
}

/// A TCP connection whose waits are cut into slices, so that a stop is noticed.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    stop: StopFlag,
    in_slices: InSlices,
}

impl Tcp {
    fn new(stream: TcpStream, connector: &TcpConnector, details: &ConnectionDetails) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        let (stop, in_slices) = (connector.stop.clone(), connector.in_slices.clone());
        Ok(Tcp { stream, buffers: buffers(details), stop, in_slices })
    }
}

/// Repeats `step` as long as it would block; it says how many bytes it moved.
fn persist(
    stop: &StopFlag,
    timeout: NextTimeout,
    mut step: impl FnMut() -> io::Result<usize>,
) -> Result<usize, ureq::Error> {
    let started = Instant::now();
    loop {
        if stop.is_raised() {
            return Err(carried(Error::Stopped));
        }
        match step() {
            Ok(amount) => return Ok(amount),
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if started.elapsed() >= *timeout.after {
                    return Err(ureq::Error::Timeout(timeout.reason));
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// A single `step`; `WouldBlock` if it moved nothing.
fn slice(stop: &StopFlag, step: impl FnOnce() -> io::Result<usize>) -> Result<usize, ureq::Error> {
    if stop.is_raised() {
        return Err(carried(Error::Stopped));
    }
    step().map_err(|error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::Interrupted => io::Error::from(ErrorKind::WouldBlock).into(),
        _ => error.into(),
    })
}

impl transport::Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut rest = self.buffers.output().get(..amount).unwrap_or_default();
        while !rest.is_empty() {
            match persist(&self.stop, timeout.for_write(), || self.stream.write(rest))? {
                0 => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                sent => rest = rest.get(sent..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let room = self.buffers.input_append_buf();
        if room.is_empty() {
            return Err(carried(Error::TooLarge));
        }
        let amount = match self.in_slices.load(Ordering::Relaxed) {
            true => slice(&self.stop, || self.stream.read(room))?,
            false => persist(&self.stop, timeout.for_read(), || self.stream.read(room))?,
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing may be waiting on an idle connection: unrequested bytes or an end of file both mean that it
        // cannot be used again.
        let idle = self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.peek(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock);
        idle && self.stream.set_nonblocking(false).is_ok()
    }
}

opaque!(Resolver, TcpConnector, Tcp);
