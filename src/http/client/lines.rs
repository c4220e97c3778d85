// SPDX-License-Identifier: Apache-2.0
//! A response without an end, line by line. Refuses lines above [`LINE_MAX`].

use super::failure;
use crate::http::Error;
use crate::time::StopFlag;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use ureq::http::Response;
use ureq::{Body, BodyReader};

/// Bytes of a line.
pub const LINE_MAX: usize = 8 * 1024 * 1024;

/// Bytes taken from the connection at a time.
const PIECE: usize = 16 * 1024;

/// What a server sends for as long as the connection lasts. Dropped, the connection is closed.
pub struct Lines {
    status: u16,
    body: BodyReader<'static>,
    /// The begin of a line, and in it the bytes known to have no line's end.
    arrived: Vec<u8>,
    searched: usize,
    is_ended: bool,
    stop: StopFlag,
}

impl Lines {
    pub(super) fn new(response: Response<Body>, stop: StopFlag) -> Self {
        let status = response.status().as_u16();
        let body = response.into_body().into_reader();
        Lines { status, body, arrived: Vec::new(), searched: 0, is_ended: false, stop }
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The next line without its end, or `None` if it takes longer than `within` to arrive; what has arrived of
    /// it is kept. The last line may have no end; after that an error says that the server has ended the stream.
    pub fn next_line(&mut self, within: Duration) -> Result<Option<Vec<u8>>, Error> {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.arrived.len() > LINE_MAX {
                return Err(Error::TooLarge);
            }
            if self.is_ended {
                let rest = std::mem::take(&mut self.arrived);
                self.searched = 0;
                let ended = || Error::other("the server has ended the stream");
                return if rest.is_empty() { Err(ended()) } else { Ok(Some(rest)) };
            }
            if self.stop.is_raised() {
                return Err(Error::Stopped);
            }
            let is_late = begun.elapsed() >= within;
            self.read()?;
            if is_late {
                return Ok(self.take_line());
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.arrived.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.arrived.len();
            return None;
        };
        let end = self.searched + end;
        let rest = self.arrived.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.arrived, rest);
        line.truncate(end);
        self.searched = 0;
        Some(line)
    }

    /// Takes what is there, or waits a slice for it.
    fn read(&mut self) -> Result<(), Error> {
        let mut piece = [0; PIECE];
        match self.body.read(&mut piece) {
            Ok(0) => self.is_ended = true,
            Ok(amount) => self.arrived.extend_from_slice(piece.get(..amount).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(failure(e.into())),
        }
        Ok(())
    }
}
