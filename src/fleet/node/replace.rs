// SPDX-License-Identifier: Apache-2.0
//! Writes and deletes of entries that must not go back. An engine may carry out a request that has timed out
//! after newer ones, so each has the condition that the entry is as it is known to be; where it is not, the entry
//! is read and the request made again. Refuses nothing itself.

use super::{Failed, Node};
use crate::fleet::engine::{Committed, Condition, Error, LeaseId, Revision, Transaction, Write};
use crate::fleet::key::Key;
use crate::fleet::record::Record;
use crate::fleet::view::Mark;

/// Other nodes may change the entry at the same time.
const TRIES: usize = 3;

impl Node {
    /// Writes an entry in the place of the one that is known, and notes it. `fence`: what has to hold besides.
    /// `None`: that does not hold, or other nodes change the entry.
    pub fn replace(
        &self,
        key: &Key,
        record: &Record,
        lease: Option<LeaseId>,
        fence: Option<&Condition>,
    ) -> Result<Option<Revision>, Failed> {
        for _ in 0..TRIES {
            let known = self.state().view.mark(key);
            let mut when = vec![self.unchanged(key, known.map(|mark| mark.changed))?];
            when.extend(fence.cloned());
            let then = vec![self.sealed(key, record, lease)?];
            if let Committed::Done(at) = self.commit(&Transaction { when, then })? {
                let created = known.map_or(at, |mark| mark.created);
                self.note(key, record.clone(), at, created, lease);
                return Ok(Some(at));
            }
            if !self.is_news(key, known)? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Deletes an entry of this node as it is known. One that another node has written since stays.
    pub fn take_back(&self, key: &Key) -> Result<(), Failed> {
        for _ in 0..TRIES {
            let Some(known) = self.own_mark(key) else { return Ok(()) };
            let then = vec![Write::Delete { key: self.text(key)? }];
            let when = vec![self.unchanged(key, Some(known.changed))?];
            if let Committed::Done(at) = self.commit(&Transaction { when, then })? {
                self.state().gone(key, at);
                return Ok(());
            }
            if !self.is_news(key, Some(known))? {
                break;
            }
        }
        Err(Failed::Engine(Error::Gap("an entry is another than the engine has told".into())))
    }

    /// Whether the engine has another entry than was known, which is read.
    fn is_news(&self, key: &Key, known: Option<Mark>) -> Result<bool, Failed> {
        self.look_up(key)?;
        Ok(self.state().view.mark(key) != known)
    }

    fn own_mark(&self, key: &Key) -> Option<Mark> {
        let state = self.state();
        let is_own = state.view.writer(key).is_some_and(|node| node == state.me);
        state.view.mark(key).filter(|_| is_own)
    }

    /// The entry is as it is known to be.
    pub fn unchanged(&self, key: &Key, changed: Option<Revision>) -> Result<Condition, Failed> {
        let text = self.text(key)?;
        Ok(match changed {
            Some(at) => Condition::ChangedAt(text, at),
            None => Condition::Absent(text),
        })
    }

    /// Reads an entry as it is now into the view.
    pub fn look_up(&self, key: &Key) -> Result<(), Failed> {
        let (text, known) = (self.text(key)?, self.state().view.mark(key));
        match self.ask(|engine| engine.get(&text))? {
            Some(entry) => {
                let now = self.now();
                self.state().take_entry(&entry, now);
            }
            // What the watch has told meanwhile is newer.
            None => {
                if let Some(known) = known {
                    self.state().gone(key, known.changed);
                }
            }
        }
        Ok(())
    }
}
