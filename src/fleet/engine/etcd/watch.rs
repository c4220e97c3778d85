// SPDX-License-Identifier: Apache-2.0
//! A watch that is open. etcd says nothing while no key of the prefix changes, and a connection that is dead
//! says nothing either. So where other answers tell of later revisions, a question from time to time decides:
//! where no key was changed and there are as many as before, nothing was missed.

use super::super::{Change, Error, Revision, Watch};
use super::events::{Events, end};
use super::servers::{Again, Servers};
use super::wire::{Fault, Keys, flag, garbled, list, message, number, revision, text};
use crate::http::{self, Lines};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a call waits for changes.
const TURN: Duration = Duration::from_secs(1);
/// How long a server may take to open a watch.
const BEGIN: Duration = Duration::from_secs(10);
/// Between two questions: at first, and the longest while all is well. A question costs the server a walk over
/// all keys of the prefix.
const ASK: Duration = Duration::from_secs(5);
const ASK_MAX: Duration = Duration::from_secs(60);

pub struct Following {
    servers: Arc<Servers>,
    keys: Keys,
    lines: Lines,
    events: Events,
    asked: Instant,
    pause: Duration,
    /// The last answer told of a change that has not arrived since.
    is_suspect: bool,
}

impl Following {
    pub fn open(servers: &Arc<Servers>, keys: &Keys, after: Revision) -> Result<Self, Error> {
        let (servers, keys) = (servers.clone(), keys.clone());
        let create = json!({ "create_request": {
            "key": keys.encode(""), "range_end": keys.end(""), "fragment": true, "progress_notify": true,
            "start_revision": after.0.saturating_add(1).to_string(),
        }});
        let mut has_logged_in = false;
        loop {
            // A watch from a future revision would be silent for ever.
            let count = match after {
                Revision(0) => 0,
                _ => count_at(&servers, &keys, after)?,
            };
            let mut lines = servers.open("watch", &create)?;
            match begin(&mut lines)? {
                Begun::LoggedOut if !has_logged_in => {
                    has_logged_in = true;
                    servers.log_out();
                }
                Begun::LoggedOut => return Err(Error::Denied("it does not know its own token".into())),
                Begun::Well => {
                    let events = Events::new(keys.clone(), after, count);
                    let (asked, pause, is_suspect) = (Instant::now(), ASK, false);
                    return Ok(Following { servers, keys, lines, events, asked, pause, is_suspect });
                }
            }
        }
    }

    /// Looks from time to time whether the silence is one of the keys.
    fn question(&mut self) -> Result<(), Error> {
        let sure = self.events.sure();
        if self.servers.latest() <= sure || self.asked.elapsed() < self.pause {
            return Ok(());
        }
        self.asked = Instant::now();
        let body = json!({
            "key": self.keys.encode(""), "range_end": self.keys.end(""), "limit": "1", "keys_only": true,
            "min_mod_revision": sure.0.saturating_add(1).to_string(),
        });
        // Without an answer the question stays open; other calls tell that the engine is away.
        let Ok(answer) = self.servers.call("kv/range", &body, Again::Yes) else { return Ok(()) };
        let is_same =
            list(&answer.body, "kvs")?.is_empty() && number(&answer.body, "count")? == self.events.count();
        if is_same {
            self.events.is_unchanged_at(revision(&answer.body)?);
            self.pause = (self.pause * 2).min(ASK_MAX);
            self.is_suspect = false;
        } else if std::mem::replace(&mut self.is_suspect, true) {
            return Err(Error::Unreachable("the watch is silent although keys have changed".into()));
        } else {
            self.pause = ASK;
        }
        Ok(())
    }
}

enum Begun {
    Well,
    LoggedOut,
}

/// Waits for the server to say that the watch is open.
fn begin(lines: &mut Lines) -> Result<Begun, Error> {
    let line = lines.next_line(BEGIN).map_err(failure)?.ok_or(Error::Timeout)?;
    let message = message(&line)?;
    if flag(&message, "canceled")? && Fault::of_reason(text(&message, "cancel_reason")?).is_logged_out() {
        return Ok(Begun::LoggedOut);
    }
    if let Some(error) = end(&message)? {
        return Err(error);
    }
    match flag(&message, "created")? {
        true => Ok(Begun::Well),
        false => Err(garbled("a watch begins without saying so")),
    }
}

/// The number of keys then, if the engine still has its history from there on.
fn count_at(servers: &Servers, keys: &Keys, at: Revision) -> Result<u64, Error> {
    let body = json!({
        "key": keys.encode(""), "range_end": keys.end(""), "count_only": true, "revision": at.0.to_string(),
    });
    let answer = servers.call("kv/range", &body, Again::Yes)?.body;
    servers.saw(revision(&answer)?);
    number(&answer, "count")
}

fn failure(error: http::Error) -> Error {
    match error {
        http::Error::Stopped => Error::Stopped,
        // Whoever lists everything gets past it.
        http::Error::TooLarge => Error::Gap("a message of the watch is too large".into()),
        http::Error::Timeout => Error::Timeout,
        error => Error::Unreachable(format!("the watch has ended: {error}")),
    }
}

impl Watch for Following {
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error> {
        let begun = Instant::now();
        loop {
            let left = TURN.saturating_sub(begun.elapsed());
            if left.is_zero() {
                self.question()?;
                return Ok((Vec::new(), self.events.sure()));
            }
            let Some(line) = self.lines.next_line(left).map_err(failure)? else { continue };
            let changes = self.events.take(&message(&line)?)?;
            if !changes.is_empty() {
                (self.pause, self.is_suspect) = (ASK, false);
                return Ok((changes, self.events.sure()));
            }
        }
    }
}
