// SPDX-License-Identifier: Apache-2.0
//! The begin with an engine: the lease of an earlier process is taken over or a new one granted, `meta` is read
//! or made, everything is listed at one revision. An unknown format, and secrets that do not open it, end here:
//! the node serves on and writes nothing.

use crate::fleet::codec::Codec;
use crate::fleet::decide::lease;
use crate::fleet::engine::{Committed, Condition, Entry, Error, Revision, Transaction, Write};
use crate::fleet::key::{ALL, Key, META};
use crate::fleet::node::known::mark_of;
use crate::fleet::node::state::State;
use crate::fleet::node::{Failed, Node};
use crate::fleet::record::{Meta, Record};
use crate::fleet::sealed::Flaw;
use crate::fleet::view::{Listing, Mark, Part, Put};

/// Reads what the fleet has. The answer: from where to follow it.
pub fn join(node: &Node) -> Result<Revision, Failed> {
    for _ in 0..3 {
        if let Some(revision) = try_join(node)? {
            return Ok(revision);
        }
    }
    Err(Failed::Resync)
}

/// `None`: the engine has another history than this node has followed, whose lease and locks are over.
fn try_join(node: &Node) -> Result<Option<Revision>, Failed> {
    // First: a node that cannot read the fleet keeps no lease, by which others would wait for it.
    let (codec, meta, value, mark) = meta(node)?;
    let (is_other, seen) = {
        let mut state = node.state();
        let is_other = !state.epoch.is_empty() && state.epoch != meta.epoch;
        state.epoch.clone_from(&meta.epoch);
        (state.codec, state.meta) = (Some(codec.clone()), Some(value));
        (is_other, state.view.revision())
    };
    if is_other {
        crate::log!(Notice, "fleet: the engine has lost its data; what this node has is published again");
        node.state().history_is_lost();
        return Ok(None);
    }
    grant(node)?;
    let revision = list(node, &codec, Put { key: Key::Meta, record: Record::Meta(meta), by: None, mark })?;
    if revision < seen {
        crate::log!(Notice, "fleet: the engine has gone back from revision {} to {}", seen.0, revision.0);
        node.state().history_is_lost();
        return Ok(None);
    }
    Ok(Some(revision))
}

/// After a listing: what the store has to bring in. From now on the node is one of the fleet.
pub fn settle(node: &Node) {
    let now = node.now();
    let mut state = node.state();
    let names: Vec<String> = state.view.sets().map(|(name, _)| name.to_string()).collect();
    for name in names {
        state.look_at_set(&name, now);
    }
    state.forget_ended();
    state.presence.is_told = false;
    state.problem = None;
    state.solo_errors.clear();
    (state.is_joined, state.was_joined) = (true, true);
}

/// The lease of the process before goes on, with its locks. One of this process that may have ended does not: granted
/// again, it would be in force without them.
fn grant(node: &Node) -> Result<(), Failed> {
    let sent = node.boot();
    let lease = {
        let mut state = node.state();
        if state.has_lost_lease(sent) {
            state.lease_is_over();
        }
        state.tried = Some(sent);
        state.lease
    };
    node.ask(|engine| engine.grant(lease, lease::TTL))?;
    let mut state = node.state();
    state.kept = state.kept.max(Some(sent));
    Ok(())
}

/// Reads `meta`, or makes it in an engine that has none.
fn meta(node: &Node) -> Result<(Codec, Meta, Vec<u8>, Mark), Failed> {
    let (secrets, prefix) = (&node.setup.secrets, node.setup.prefix.as_str());
    for _ in 0..3 {
        if let Some(entry) = node.ask(|engine| engine.get(META))? {
            let (codec, meta) = Codec::of_meta(secrets, prefix, &entry.value).map_err(unusable)?;
            let mark = mark_of(&entry);
            return Ok((codec, meta, entry.value, mark));
        }
        let (codec, meta, value) = Codec::create(secrets, prefix).map_err(unusable)?;
        let put = Write::Put { key: META.into(), value: value.clone(), lease: None };
        let transaction = Transaction { when: vec![Condition::Absent(META.into())], then: vec![put] };
        if let Committed::Done(at) = node.commit(&transaction)? {
            return Ok((codec, meta, value, Mark { created: at, changed: at, lease: None }));
        }
    }
    Err(Failed::Engine(Error::Garbled(format!("{META} comes and goes"))))
}

/// Has the view be what is listed, at one revision.
fn list(node: &Node, codec: &Codec, meta: Put) -> Result<Revision, Failed> {
    let (mut listing, locked) = {
        let mut state = node.state();
        let mut listing = state.view.begin(Part::All);
        state.view.list(&mut listing, meta);
        (listing, state.view.locks().map(|(key, _)| key.clone()).collect::<Vec<Key>>())
    };
    let mut count = 0;
    let revision = node.list(ALL, |entries| {
        count += entries.len();
        let mut state = node.state();
        entries.iter().filter(|entry| entry.key != META).for_each(|entry| {
            take(&mut state, codec, &mut listing, entry);
        });
        Ok(())
    })?;
    let mut state = node.state();
    let gone = state.view.finish(listing, revision);
    for key in &gone {
        state.after_gone(key, locked.contains(key));
    }
    state.view.advance(revision);
    crate::log!(Debug, "fleet: {count} entries listed, {} gone", gone.len());
    Ok(revision)
}

fn take(state: &mut State, codec: &Codec, listing: &mut Listing, entry: &Entry) {
    let Some(key) = codec.key(&entry.key) else { return };
    match codec.open(entry) {
        Ok(opened) => {
            let put = Put { key, record: opened.record, by: opened.written, mark: mark_of(entry) };
            state.note(&put);
            state.view.list(listing, put);
        }
        Err(flaw) => {
            state.refuse(&key, flaw.to_string());
            state.view.list_flawed(listing, key, mark_of(entry), &flaw.to_string());
        }
    }
}

/// Neither a request nor a wait helps.
fn unusable(flaw: Flaw) -> Failed {
    Failed::Value(Key::Meta, flaw)
}
