// SPDX-License-Identifier: Apache-2.0
//! Runs scripts and commands on the server in use, and turns to the next of the list where that one cannot do
//! it. Keeps idle connections, and what this node has seen last of the history. Never sends a write twice.

use super::line::{Line, failure};
use super::refusal::{self, Refusal};
use super::resp::Value;
use super::script::{Answer, Code, Command, Keys, Mark, Script};
use crate::config::fleet::Server;
use crate::fleet::engine::Error;
use crate::http::connection::Dialer;
use crate::sync;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a call may wait for an answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Idle connections that are kept.
const IDLE: usize = 4;

pub struct Client {
    pub dialer: Dialer,
    pub servers: Vec<Server>,
    pub user: Option<(String, Vec<u8>)>,
    pub keys: Keys,
    /// The place of the server in use.
    pub current: AtomicUsize,
    pub idle: Mutex<Vec<Line>>,
    pub history: Mutex<History>,
}

/// What this node knows of the engine's history.
#[derive(Default)]
pub struct History {
    /// The latest that an answer told which goes on from the one before it.
    pub seen: Option<Mark>,
    /// The latest that a watch told.
    pub watched: Option<Mark>,
    /// There is a gap, and nothing was listed since: what was read before proves nothing.
    pub has_gap: bool,
}

impl Client {
    /// Runs a script that compares the history with what this node has seen last. A gap is an error.
    pub fn run(&self, script: &'static Script, words: &[&[u8]]) -> Result<Answer, Error> {
        let seen = sync::lock(&self.history).seen;
        let answer = self.run_from(seen, script, words, LIMIT)?;
        let mut history = sync::lock(&self.history);
        if history.seen.is_none_or(|seen| seen.revision < answer.mark.revision) {
            history.seen = Some(answer.mark);
        }
        Ok(answer)
    }

    /// The same, compared with `seen` alone. What the answer tells is not taken as seen: nothing may say that
    /// the one goes on from the other.
    pub fn run_from(
        &self,
        seen: Option<Mark>,
        script: &'static Script,
        words: &[&[u8]],
        limit: Duration,
    ) -> Result<Answer, Error> {
        let command = self.keys.command(script, nonce()?, seen, words);
        let answer = Answer::read(self.call(&command, script.is_repeatable, limit)?)?;
        match answer.code {
            Code::Gap => Err(self.gap(seen, answer.mark)),
            Code::LeaseGone => Err(Error::LeaseGone),
            Code::Done | Code::Refused => Ok(answer),
        }
    }

    /// Remembers that there is a gap, and says so.
    pub fn gap(&self, seen: Option<Mark>, now: Mark) -> Error {
        let mut history = sync::lock(&self.history);
        (history.seen, history.watched, history.has_gap) = (None, None, true);
        let seen =
            seen.map_or_else(|| "an earlier revision".into(), |seen| format!("revision {}", seen.revision));
        Error::Gap(format!(
            "what {} has at revision {} does not go on from {seen}: it was wiped or trimmed, or lost writes",
            self.name(),
            now.revision
        ))
    }

    pub fn name(&self) -> String {
        let place = self.current.load(Ordering::Relaxed) % self.servers.len().max(1);
        self.servers.get(place).map(address).unwrap_or_default()
    }

    /// Sends a command, and returns the answer of the first server that takes it.
    fn call(&self, command: &Command, is_repeatable: bool, limit: Duration) -> Result<Value, Error> {
        let (end, mut last) = (Instant::now() + limit, Error::Unreachable("there is no server".into()));
        let (first, count) = (self.current.load(Ordering::Relaxed), self.servers.len());
        for turn in 0..count {
            let now = Instant::now();
            if turn > 0 && now >= end {
                break;
            }
            // Half of the time that is left for each server but the last.
            let deadline = if turn + 1 == count { end } else { now + end.saturating_duration_since(now) / 2 };
            match self.ask((first + turn) % count, command, is_repeatable, deadline) {
                Ok(value) => return Ok(value),
                Err(Trouble::Next(error)) => last = worse(last, error),
                Err(Trouble::Final(error)) => return Err(error),
            }
        }
        Err(last)
    }

    fn ask(
        &self,
        place: usize,
        command: &Command,
        is_repeatable: bool,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        let kept = self.take_idle(place);
        let was_kept = kept.is_some();
        let mut line = match kept {
            Some(line) => line,
            None => self.open(place, deadline)?,
        };
        let answer = match line.run(command, deadline) {
            // The server may have closed it while it was idle.
            Err(Error::Unreachable(_)) if was_kept && is_repeatable => {
                line = self.open(place, deadline)?;
                line.run(command, deadline)
            }
            answer => answer,
        };
        match answer {
            Ok(Value::Error(text)) => {
                let trouble = match refused(&text) {
                    Trouble::Final(error @ Error::Denied(_)) if is_repeatable => Trouble::Next(error),
                    trouble => trouble,
                };
                if let Trouble::Final(_) = trouble {
                    self.keep(line);
                }
                Err(trouble)
            }
            Ok(value) => {
                self.current.store(place, Ordering::Relaxed);
                self.keep(line);
                Ok(value)
            }
            Err(error @ (Error::Unreachable(_) | Error::Timeout)) if is_repeatable => {
                Err(Trouble::Next(error))
            }
            Err(error) => {
                self.turn_from(place);
                Err(Trouble::Final(error))
            }
        }
    }

    /// A new connection, logged in. It is not kept when dropped.
    fn open(&self, place: usize, deadline: Instant) -> Result<Line, Trouble> {
        let Some(server) = self.servers.get(place) else {
            return Err(Trouble::Next(Error::Unreachable("there is no server".into())));
        };
        let next = |error| match error {
            Error::Stopped => Trouble::Final(Error::Stopped),
            Error::Unreachable(reason) => {
                Trouble::Next(Error::Unreachable(format!("{}: {reason}", address(server))))
            }
            other => Trouble::Next(other),
        };
        let mut line = Line::open(&self.dialer, (place, server), deadline).map_err(failure).map_err(next)?;
        // Where the server refuses, the connection is dropped: commands on it would run as the default user.
        // Another server may let in: each has a list of users of its own.
        match line.log_in(self.user.as_ref(), deadline).map_err(next)? {
            Value::Status(_) => Ok(line),
            Value::Error(text) => Err(match refused(&text) {
                Trouble::Final(error) | Trouble::Next(error) => Trouble::Next(error),
            }),
            _ => Err(Trouble::Final(Error::Garbled("the answer to AUTH is no status".into()))),
        }
    }

    /// A connection of its own for a watch, to the server in use.
    pub fn open_own(&self, limit: Duration) -> Result<Line, Error> {
        let place = self.current.load(Ordering::Relaxed);
        self.open(place, Instant::now() + limit).map_err(|trouble| match trouble {
            Trouble::Next(error) => {
                self.turn_from(place);
                error
            }
            Trouble::Final(error) => error,
        })
    }

    /// The next call begins with the server after this one.
    pub fn turn_from(&self, place: usize) {
        let next = (place + 1) % self.servers.len().max(1);
        let _ = self.current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn take_idle(&self, place: usize) -> Option<Line> {
        let mut idle = sync::lock(&self.idle);
        idle.retain(|line| line.server == place);
        while let Some(mut line) = idle.pop() {
            if line.is_idle() {
                return Some(line);
            }
        }
        None
    }

    fn keep(&self, line: Line) {
        let mut idle = sync::lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(line);
        }
    }
}

/// Why one server did not do it.
enum Trouble {
    Next(Error),
    Final(Error),
}

fn refused(text: &str) -> Trouble {
    match refusal::read(text) {
        Refusal::Elsewhere(reason) => Trouble::Next(Error::NoWrites(reason)),
        Refusal::Final(error) => Trouble::Final(error),
    }
}

/// Of what the servers of a list said: that one refuses the user says most, and that one takes no writes says
/// more than that another is not there.
fn worse(one: Error, other: Error) -> Error {
    let weight = |error: &Error| match error {
        Error::Denied(_) => 2,
        Error::NoWrites(_) => 1,
        _ => 0,
    };
    if weight(&one) > weight(&other) { one } else { other }
}

fn address(server: &Server) -> String {
    if server.host.contains(':') {
        format!("[{}]:{}", server.host, server.port)
    } else {
        format!("{}:{}", server.host, server.port)
    }
}

/// Of 63 bits: it is the second part of an id in the log.
fn nonce() -> Result<u64, Error> {
    let bytes = crate::crypto::random::<8>().map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(u64::from_be_bytes(bytes) >> 1)
}
