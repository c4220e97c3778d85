// SPDX-License-Identifier: Apache-2.0
//! One connection to one server: logs in, sends a command, reads its answer. After a failure it is dropped.

use super::resp::{self, Reader, Value};
use super::script::Command;
use crate::config::fleet::Server;
use crate::fleet::engine::Error;
use crate::http;
use crate::http::connection::{Connection, Dialer};
use std::time::Instant;

/// Bytes read at a time.
const ROOM: usize = 64 * 1024;

pub struct Line {
    /// The server's place in the list.
    pub server: usize,
    connection: Connection,
    reader: Reader,
}

impl Line {
    pub fn open(
        dialer: &Dialer,
        (place, server): (usize, &Server),
        deadline: Instant,
    ) -> Result<Self, http::Error> {
        let connection = dialer.connect(&server.host, server.port, deadline)?;
        Ok(Line { server: place, connection, reader: Reader::default() })
    }

    /// Whether it can be used again.
    pub fn is_idle(&mut self) -> bool {
        self.reader.is_empty() && self.connection.is_idle()
    }

    pub fn ask(&mut self, command: &[u8], deadline: Instant) -> Result<Value, Error> {
        self.connection.send(command, deadline).map_err(failure)?;
        let mut room = vec![0; ROOM];
        loop {
            if let Some(answer) = self.reader.take().map_err(|flaw| Error::Garbled(flaw.to_string()))? {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout);
            }
            let amount = self.connection.receive(&mut room, deadline).map_err(failure)?;
            self.reader.push(room.get(..amount).unwrap_or_default());
        }
    }

    /// Runs a script.
    pub fn run(&mut self, command: &Command, deadline: Instant) -> Result<Value, Error> {
        match self.ask(&command.short(), deadline)? {
            // The server does not know it (any more), and has done nothing.
            Value::Error(text) if text.starts_with("NOSCRIPT") => self.ask(&command.whole(), deadline),
            answer => Ok(answer),
        }
    }

    /// Logs in, if there is someone to log in as.
    pub fn log_in(&mut self, user: Option<&(String, Vec<u8>)>, deadline: Instant) -> Result<Value, Error> {
        match user {
            None => Ok(Value::Status("OK".into())),
            Some((name, password)) => {
                let command = zeroize::Zeroizing::new(resp::command(&[b"AUTH", name.as_bytes(), password]));
                self.ask(&command, deadline)
            }
        }
    }
}

pub fn failure(error: http::Error) -> Error {
    match error {
        http::Error::Stopped => Error::Stopped,
        http::Error::Timeout => Error::Timeout,
        other => Error::Unreachable(other.to_string()),
    }
}
