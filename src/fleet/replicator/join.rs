// SPDX-License-Identifier: Apache-2.0
//! The begin with an engine: the lease of an earlier process is taken over or a new one granted, `meta` is read
//! or made, everything is listed at one revision and followed from there. An unknown format, and secrets that do
//! not open it, end here: the node serves on and writes nothing.

use super::Replicator;
use crate::fleet::codec::Codec;
use crate::fleet::decide::lease::{self, Boot};
use crate::fleet::decide::reconcile::Stored;
use crate::fleet::decide::state::State as Saved;
use crate::fleet::engine::{Committed, Condition, Entry, Error, Revision, Transaction, Write};
use crate::fleet::key::{ALL, Key, META};
use crate::fleet::node::Failed;
use crate::fleet::node::state::{mark_of, random_id, random_lease};
use crate::fleet::record::{Meta, Record};
use crate::fleet::sealed::Flaw;
use crate::fleet::view::{Mark, Part, Put};
use std::collections::HashMap;

impl Replicator {
    /// What an earlier process of this node has left.
    pub(super) fn take_over(&mut self) {
        let local = self.node.setup.local.clone();
        let (saved, place) = (local.load(), local.place());
        let saved = saved.filter(|saved| {
            let is_copy = !saved.place.is_empty() && saved.place != place;
            if is_copy {
                crate::log!(Notice, "fleet: the store was copied or restored; this is a new node");
            }
            !is_copy
        });
        let stored = local.sets().into_iter().filter_map(|(name, set)| Some((name, Stored::of(&set)?)));
        let stored: HashMap<String, Stored> = stored.collect();
        let saved = saved.unwrap_or_else(|| Saved { node: random_id(), ..Saved::default() });
        let mut state = self.node.state();
        state.me.clone_from(&saved.node);
        state.instance = random_id();
        state.lease = saved.lease.unwrap_or_else(random_lease);
        state.epoch.clone_from(&saved.epoch);
        state.withdrawn.clone_from(&saved.withdrawn);
        state.highest.clone_from(&saved.highest);
        state.stored = stored;
        state.former_nodes.clone_from(&saved.nodes);
        state.former = Some(saved.instance.clone());
        drop(state);
        self.saved = Saved { place, ..saved };
    }

    /// Reads what the fleet has, and follows it from there.
    pub(super) fn join(&mut self) -> Result<(), Failed> {
        self.grant()?;
        let (codec, meta, mark) = self.meta()?;
        {
            let mut state = self.node.state();
            if !state.epoch.is_empty() && state.epoch != meta.epoch {
                crate::log!(
                    Notice,
                    "fleet: the engine has lost its data; what this node has is published again"
                );
                state.forget_view();
            }
            state.epoch.clone_from(&meta.epoch);
            state.codec = Some(codec.clone());
        }
        let revision = self.list(&codec, meta, mark)?;
        self.feed.follow(revision)?;
        self.node.state().view.advance(revision);
        self.settle();
        let mut state = self.node.state();
        state.problem = None;
        (state.is_joined, state.was_joined) = (true, true);
        Ok(())
    }

    /// The lease of the process before goes on, with its locks.
    fn grant(&mut self) -> Result<(), Failed> {
        let sent = self.node.boot();
        let lease = self.node.state().lease;
        self.node.state().tried = Some(sent);
        let answer = self.node.ask(|engine| engine.grant(lease, lease::TTL));
        let mut state = self.node.state();
        match answer {
            Ok(_) => {
                state.kept = state.kept.max(Some(sent));
                Ok(())
            }
            Err(error) => {
                if error == Error::LeaseGone {
                    state.lease_is_over();
                }
                Err(error.into())
            }
        }
    }

    /// Reads `meta`, or makes it in an engine that has none.
    fn meta(&self) -> Result<(Codec, Meta, Mark), Failed> {
        let (secrets, prefix) = (&self.node.setup.secrets, self.node.setup.prefix.as_str());
        for _ in 0..3 {
            if let Some(entry) = self.node.ask(|engine| engine.get(META))? {
                let (codec, meta) = Codec::of_meta(secrets, prefix, &entry.value).map_err(unusable)?;
                return Ok((codec, meta, mark_of(&entry)));
            }
            let (codec, meta, value) = Codec::create(secrets, prefix).map_err(unusable)?;
            let put = Write::Put { key: META.into(), value, lease: None };
            let transaction = Transaction { when: vec![Condition::Absent(META.into())], then: vec![put] };
            if let Committed::Done(at) = self.node.commit(&transaction)? {
                return Ok((codec, meta, Mark { created: at, changed: at, lease: None }));
            }
        }
        Err(Failed::Engine(Error::Garbled(format!("{META} comes and goes"))))
    }

    /// Lists everything into the view.
    fn list(&mut self, codec: &Codec, meta: Meta, mark: Mark) -> Result<Revision, Failed> {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut cursor, mut revision) = (None, None);
        loop {
            let page = self.node.ask(|engine| engine.list(ALL, cursor.as_ref()))?;
            revision.get_or_insert(page.revision);
            entries.extend(page.entries);
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let revision = revision.unwrap_or_default();
        let gone = {
            let mut state = self.node.state();
            let mut listing = state.view.begin(Part::All);
            state.view.list(&mut listing, Put { key: Key::Meta, record: Record::Meta(meta), by: None, mark });
            let locks: Vec<Key> = state.view.locks().map(|(key, _)| key.clone()).collect();
            for entry in entries.iter().filter(|entry| entry.key != META) {
                let Some(key) = codec.key(&entry.key) else { continue };
                match codec.open(entry) {
                    Ok(opened) => {
                        let put =
                            Put { key, record: opened.record, by: opened.written, mark: mark_of(entry) };
                        state.note(&put);
                        state.view.list(&mut listing, put);
                    }
                    Err(flaw) => {
                        state.refuse(&key, flaw.to_string());
                        state.view.list_flawed(&mut listing, key, mark_of(entry), &flaw.to_string());
                    }
                }
            }
            let gone = state.view.finish(listing, revision);
            for key in &gone {
                state.after_gone(key, locks.contains(key));
            }
            gone
        };
        crate::log!(Debug, "fleet: {} entries listed, {} gone", entries.len(), gone.len());
        Ok(revision)
    }

    /// After a listing: what the store has to bring in.
    fn settle(&mut self) {
        let now = self.node.now();
        let mut state = self.node.state();
        let names: Vec<String> = state.view.sets().map(|(name, _)| name.to_string()).collect();
        for name in names {
            state.look_at_set(&name, now);
        }
        state.presence.is_told = false;
        drop(state);
        (self.since_joined, self.tidied) = (None, Boot::ZERO);
        self.unpublishable.clear();
        self.clean_answers();
        self.apply();
    }
}

/// Neither a request nor a wait helps.
fn unusable(flaw: Flaw) -> Failed {
    Failed::Value(Key::Meta, flaw)
}
