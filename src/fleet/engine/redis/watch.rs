// SPDX-License-Identifier: Apache-2.0
//! Follows the log: each entry names its revision, and the nonce of the one before it, so that nothing can be
//! missing in between. Where nothing comes, it asks each second whether the log still goes on from there.

use super::client::{Client, LIMIT};
use super::line::Line;
use super::refusal::{self, Refusal};
use super::resp::{self, Value};
use super::script::{self, Answer, Code, FOLLOW, Mark, bytes, garbled, parse, text};
use crate::fleet::engine::{Change, Entry, Error, Revision, Watch};
use crate::sync;
use std::sync::Arc;
use std::time::Instant;

/// Entries of the log in one answer: each may be as large as a value.
const AT_ONCE: usize = 8;
/// Bytes of values after which what was read is told first.
const ENOUGH: usize = 2 * 1024 * 1024;
/// How long the server holds a question that has no answer yet, in milliseconds.
const BLOCK: &[u8] = b"1000";

pub struct Following {
    client: Arc<Client>,
    line: Option<Line>,
    at: Mark,
}

impl Following {
    /// From the revision after `after`.
    pub fn begin(client: Arc<Client>, after: Revision) -> Result<Self, Error> {
        let watched = sync::lock(&client.history).watched;
        let nonce = watched.filter(|mark| mark.revision == after.0).map(|mark| mark.nonce);
        let (at, by) = (after.0.to_string(), nonce.map(|nonce| nonce.to_string()).unwrap_or_default());
        let answer = client.run_from(None, &FOLLOW, &[at.as_bytes(), by.as_bytes()], LIMIT)?;
        let nonce = script::number(answer.rest.into_iter().next())?;
        Ok(Following { client, line: None, at: Mark { revision: after.0, nonce } })
    }

    /// Asks whether the log goes on from here.
    fn check(&mut self, line: &mut Line) -> Result<(), Error> {
        let (at, by) = (self.at.revision.to_string(), self.at.nonce.to_string());
        let command = self.client.keys.command(&FOLLOW, 0, None, &[at.as_bytes(), by.as_bytes()]);
        let answer = Answer::read(value(line.run(&command, Instant::now() + LIMIT)?)?)?;
        match answer.code {
            Code::Done => Ok(()),
            _ => Err(self.client.gap(Some(self.at), answer.mark)),
        }
    }

    /// One question to the log. `is_patient`: the server may wait for news.
    fn read(&mut self, line: &mut Line, is_patient: bool) -> Result<Vec<Value>, Error> {
        let (count, id) = (AT_ONCE.to_string(), format!("{}-{}", self.at.revision, self.at.nonce));
        let mut words: Vec<&[u8]> = vec![b"XREAD", b"COUNT", count.as_bytes()];
        if is_patient {
            words.extend([&b"BLOCK"[..], BLOCK]);
        }
        words.extend([&b"STREAMS"[..], self.client.keys.log().as_bytes(), id.as_bytes()]);
        entries(value(line.ask(&resp::command(&words), Instant::now() + LIMIT)?)?)
    }

    /// Adds the changes of these entries, each the successor of the one before it.
    fn take(&mut self, entries: Vec<Value>, changes: &mut Vec<Change>) -> Result<(), Error> {
        for value in entries {
            let logged = Logged::read(value)?;
            if logged.mark.revision != self.at.revision + 1 || logged.before != self.at.nonce {
                return Err(self.client.gap(Some(self.at), logged.mark));
            }
            self.at = logged.mark;
            changes.extend(logged.changes);
        }
        Ok(())
    }

    fn look(&mut self, line: &mut Line) -> Result<Vec<Change>, Error> {
        let (mut changes, mut is_patient) = (Vec::new(), true);
        loop {
            let entries = self.read(line, is_patient)?;
            let count = entries.len();
            self.take(entries, &mut changes)?;
            if is_patient && count == 0 {
                self.check(line)?;
            }
            let size: usize = changes.iter().map(size).sum();
            if count < AT_ONCE || size >= ENOUGH {
                return Ok(changes);
            }
            is_patient = false;
        }
    }
}

impl Watch for Following {
    fn next(&mut self) -> Result<(Vec<Change>, Revision), Error> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => {
                let mut line = self.client.open_own(LIMIT)?;
                let checked = self.check(&mut line);
                checked.inspect_err(|_| self.client.turn_from(line.server))?;
                line
            }
        };
        let begin = self.at;
        match self.look(&mut line) {
            Ok(changes) => {
                self.line = Some(line);
                sync::lock(&self.client.history).watched = Some(self.at);
                Ok((changes, Revision(self.at.revision)))
            }
            Err(error) => {
                // What was read is not told: it is read again.
                self.at = begin;
                self.client.turn_from(line.server);
                Err(error)
            }
        }
    }
}

/// An answer that is no error.
fn value(answer: Value) -> Result<Value, Error> {
    match answer {
        Value::Error(text) => Err(match refusal::read(&text) {
            Refusal::Elsewhere(reason) => Error::NoWrites(reason),
            Refusal::Final(error) => error,
        }),
        value => Ok(value),
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Put(entry) => entry.value.len(),
        Change::Gone { .. } => 0,
    }
}

/// The entries of the one log that was asked for.
fn entries(answer: Value) -> Result<Vec<Value>, Error> {
    let streams = match answer {
        Value::Nil => return Ok(Vec::new()),
        Value::List(streams) => streams,
        _ => return Err(garbled("no list")),
    };
    match streams.into_iter().next() {
        Some(Value::List(parts)) => match parts.into_iter().nth(1) {
            Some(Value::List(entries)) => Ok(entries),
            _ => Err(garbled("no entries")),
        },
        _ => Err(garbled("no stream")),
    }
}

/// An entry of the log.
struct Logged {
    mark: Mark,
    /// The nonce of the revision before it.
    before: u64,
    changes: Vec<Change>,
}

impl Logged {
    fn read(value: Value) -> Result<Self, Error> {
        let Value::List(parts) = value else { return Err(garbled("no entry")) };
        let mut parts = parts.into_iter();
        let id = text(parts.next())?;
        let (revision, nonce) = id.split_once('-').ok_or_else(|| garbled("no id"))?;
        let mark = Mark { revision: parse(revision)?, nonce: parse(nonce)? };
        let Some(Value::List(fields)) = parts.next() else { return Err(garbled("no fields")) };
        let mut fields = fields.into_iter();
        fields.next();
        let first = text(fields.next())?;
        let before = parse(first.split(' ').next().unwrap_or_default())?;
        let mut changes = Vec::new();
        while let Some(key) = fields.next() {
            changes.push(change(text(Some(key))?, bytes(fields.next())?, mark.revision)?);
        }
        Ok(Logged { mark, before, changes })
    }
}

/// `G`, or `P` with created, changed, lease and value.
fn change(key: String, mut content: Vec<u8>, at: u64) -> Result<Change, Error> {
    match content.split_first() {
        Some((b'G', [])) => Ok(Change::Gone { key, at: Revision(at) }),
        Some((b'P', rest)) => {
            let mut words = rest.splitn(4, |byte| *byte == b' ');
            let mut word =
                || words.next().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
            let created = Revision(parse(word())?);
            let changed = Revision(parse(word())?);
            let lease = script::lease(word())?;
            let length = words.next().ok_or_else(|| garbled("no value"))?.len();
            let value = content.split_off(content.len() - length);
            Ok(Change::Put(Entry { key, value, created, changed, lease }))
        }
        _ => Err(garbled("no change")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::engine::LeaseId;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    fn logged(id: &str, fields: &[&str]) -> Value {
        Value::List(vec![bytes(id), Value::List(fields.iter().map(|field| bytes(field)).collect())])
    }

    #[test]
    fn an_entry_of_the_log_tells_all_changes_of_its_revision() {
        let fields = ["before", "5 100", "v1/a", "P3 7 42 a b", "v1/b", "G", "v1/c", "P7 7 - "];
        let logged = Logged::read(logged("7-9", &fields)).unwrap();
        assert_eq!((logged.mark, logged.before), (Mark { revision: 7, nonce: 9 }, 5));
        let entry = |key: &str, value: &str, created, lease: Option<u64>| {
            let (created, changed, lease) = (Revision(created), Revision(7), lease.map(LeaseId));
            Change::Put(Entry { key: key.into(), value: value.into(), created, changed, lease })
        };
        let gone = Change::Gone { key: "v1/b".into(), at: Revision(7) };
        assert_eq!(logged.changes, [entry("v1/a", "a b", 3, Some(42)), gone, entry("v1/c", "", 7, None)]);
    }

    #[test]
    fn entries_of_a_hostile_server_are_refused() {
        let cases: [(&str, &[&str]); 9] = [
            ("7", &["before", "5 100"]),
            ("7-x", &["before", "5 100"]),
            ("7-9", &[]),
            ("7-9", &["before", ""]),
            ("7-9", &["before", "5 1", "v1/a"]),
            ("7-9", &["before", "5 1", "v1/a", ""]),
            ("7-9", &["before", "5 1", "v1/a", "X"]),
            ("7-9", &["before", "5 1", "v1/a", "P1 2 -"]),
            ("7-9", &["before", "5 1", "v1/a", "P1 x - v"]),
        ];
        for (id, fields) in cases {
            assert!(matches!(Logged::read(logged(id, fields)), Err(Error::Garbled(_))), "{id} {fields:?}");
        }
        assert_eq!(entries(Value::Nil), Ok(vec![]));
        for value in
            [Value::Integer(1), Value::List(vec![]), Value::List(vec![Value::List(vec![bytes("x")])])]
        {
            assert!(matches!(entries(value), Err(Error::Garbled(_))));
        }
    }
}
