// SPDX-License-Identifier: Apache-2.0
//! The events of a watch, put together from the fragments of its messages, and how many keys there are after
//! them. Pure.

use super::super::{Change, Error, Revision};
use super::wire::{Fault, Keys, flag, garbled, list, number, revision, text};
use crate::http::LINE_MAX;
use serde_json::Value;

/// What an event takes beside its key and value.
const EVENT: usize = 128;

pub struct Events {
    keys: Keys,
    /// All up to here is told.
    sure: Revision,
    /// Of the last event.
    last: Revision,
    /// Keys of the prefix at the last event.
    count: u64,
    /// The begin of the changes at the revision of the last event.
    open: Vec<Change>,
    open_size: usize,
}

impl Events {
    /// From `after`, where there are `count` keys.
    pub fn new(keys: Keys, after: Revision, count: u64) -> Self {
        Events { keys, sure: after, last: after, count, open: Vec::new(), open_size: 0 }
    }

    pub fn sure(&self) -> Revision {
        self.sure
    }

    /// Nothing has changed between the last event and there.
    pub fn is_unchanged_at(&mut self, revision: Revision) {
        self.sure = self.sure.max(revision);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The changes that are complete with this message.
    pub fn take(&mut self, message: &Value) -> Result<Vec<Change>, Error> {
        if let Some(error) = end(message)? {
            return Err(error);
        }
        let (mut done, events) = (Vec::new(), list(message, "events")?);
        for event in events {
            self.add(event, &mut done)?;
        }
        if !flag(message, "fragment")? {
            self.close(&mut done);
        }
        let is_progress = events.is_empty() && self.open.is_empty();
        if is_progress && !flag(message, "created")? && number_of(message)? == Some(0) {
            self.sure = self.sure.max(revision(message)?);
        }
        Ok(done)
    }

    fn add(&mut self, event: &Value, done: &mut Vec<Change>) -> Result<(), Error> {
        let kv = event.get("kv").filter(|kv| kv.is_object()).ok_or_else(|| garbled("an event has no key"))?;
        let (key, at) = self.keys.changed(kv)?;
        if at < self.last {
            return Err(Error::Gap("it has gone back".into()));
        }
        if at > self.last {
            self.close(done);
            self.last = at;
        }
        let is_put = match text(event, "type")? {
            "" | "PUT" => true,
            "DELETE" => false,
            _ => return Err(garbled("an event is of an unknown type")),
        };
        self.count = match (is_put, number(kv, "version")?) {
            (true, 1) => self.count.saturating_add(1),
            (true, _) => self.count,
            (false, _) => self.count.saturating_sub(1),
        };
        let change = match is_put {
            true => self.keys.entry(kv)?.map(Change::Put),
            false => key.map(|key| Change::Gone { key, at }),
        };
        if let Some(change) = change {
            let value = if let Change::Put(entry) = &change { entry.value.len() } else { 0 };
            self.open_size += EVENT + change.key().len() + value;
            self.open.push(change);
        }
        if self.open_size > LINE_MAX {
            return Err(Error::Gap("too much has changed at one revision".into()));
        }
        Ok(())
    }

    fn close(&mut self, done: &mut Vec<Change>) {
        done.append(&mut self.open);
        self.open_size = 0;
        self.sure = self.sure.max(self.last);
    }
}

/// The number of the watch; one below zero is of none.
fn number_of(message: &Value) -> Result<Option<u64>, Error> {
    match message.get("watch_id") {
        Some(Value::String(text)) if text.starts_with('-') => Ok(None),
        _ => number(message, "watch_id").map(Some),
    }
}

/// Why a watch has ended, if it has.
pub fn end(message: &Value) -> Result<Option<Error>, Error> {
    if !flag(message, "canceled")? {
        return Ok(None);
    }
    let compacted = number(message, "compact_revision")?;
    let reason = text(message, "cancel_reason")?;
    Ok(Some(match reason {
        _ if compacted > 0 => Error::Gap(format!("it is compacted up to revision {compacted}")),
        "" => Error::Unreachable("the server has ended the watch".into()),
        _ if reason.contains("compacted") => Error::Gap(Fault::of_reason(reason).text),
        _ => Fault::of_reason(reason).into_error(),
    }))
}

#[cfg(test)]
mod tests;
