// SPDX-License-Identifier: Apache-2.0
//! Whether a renewal begins now, and how (rules 1, 4 and 6): for the fleet, under the lock of the MD; by this
//! node alone while the engine is away; or later. An operator who asks overrides what other nodes have found out
//! about the CA, but no lock. Pure; imports `asks` and `view`.

use super::asks;
use crate::fleet::view::View;
use crate::managed::peers::{Need, NotNow};
use crate::time::Timestamp;
use std::time::Duration;

/// A lock of another node ends within that time if the node has.
const LOCKED: Duration = Duration::from_secs(30);
const SYNCING: Duration = Duration::from_secs(2);
/// While the engine is away and nothing is urgent.
const AWAY_LOOK: Duration = Duration::from_secs(300);
/// Without the engine, one node after the other.
pub const APART: Duration = Duration::from_secs(600);
/// How long a site without a good certificate waits for the engine.
const BARE: Duration = Duration::from_secs(600);

/// How the node stands to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What the fleet has was not read yet.
    Syncing,
    Joined,
    Away {
        since: Timestamp,
    },
    /// Another process replicates this store: its description.
    Elsewhere(String),
}

/// What a renewal of an MD is decided by.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    pub name: &'a str,
    /// This node's id.
    pub me: &'a str,
    pub standing: Standing,
    pub need: Need,
    /// The certificates in use: the latest notBefore and the earliest notAfter.
    pub in_use: Option<(Timestamp, Timestamp)>,
    /// The set of the fleet is on its way into use here.
    pub is_pending: bool,
    /// The place of this node among those that have the MD (`asks::place`).
    pub place: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Take the lock; if it is taken, the next look is that of `NotNow`.
    Lock,
    Solo,
    Not(NotNow),
}

pub fn begin(situation: &Situation<'_>, view: &View, now: Timestamp) -> Begin {
    match &situation.standing {
        Standing::Elsewhere(who) => {
            let reason = format!("{who} replicates this store and renews");
            not(now.plus(LOCKED), reason)
        }
        Standing::Syncing => not(now.plus(SYNCING), "what the fleet has is being read".into()),
        Standing::Away { since } => solo(situation, *since, now),
        Standing::Joined => joined(situation, view, now),
    }
}

fn joined(situation: &Situation<'_>, view: &View, now: Timestamp) -> Begin {
    if let Some(held) = held(view, situation.name, situation.me, now) {
        return Begin::Not(held);
    }
    if situation.is_pending {
        return not(now.plus(SYNCING), "a newer set of the fleet comes into use".into());
    }
    if situation.need.is_asked {
        return Begin::Lock;
    }
    if let Some(job) = view.job(situation.name)
        && let Some(next) = job.value.0.next_try.filter(|next| now < *next)
    {
        let problem = job.value.0.problem.as_deref().unwrap_or("the last attempt of the fleet failed");
        return Begin::Not(NotNow {
            until: next,
            reason: format!("{problem} (node {})", writer(view, job.by.as_ref().map(|by| by.node.as_str()))),
            node: None,
        });
    }
    patience(situation, view, now).map_or(Begin::Lock, Begin::Not)
}

/// Nodes whose settings differ would renew in turn, for ever: a difference alone is no reason before a third of
/// the lifetime has passed. Where all live nodes want the same, it is.
fn patience(situation: &Situation<'_>, view: &View, now: Timestamp) -> Option<NotNow> {
    let (from, until) = situation.in_use.filter(|_| situation.need.is_only_different)?;
    let own = view.node(situation.me).and_then(|node| node.md(situation.name));
    let others = own.map(|own| asks::differing(view, situation.me, own));
    let due = from.plus(until.since(from) / 3);
    if due <= now || others.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let others = others.unwrap_or_default();
    let who = if others.is_empty() { "other nodes".into() } else { format!("node {}", others.join(", ")) };
    let reason = format!(
        "the settings of {who} differ from those here, which is no reason to renew before a third of the lifetime"
    );
    Some(NotNow { until: due, reason, node: None })
}

/// Why a renewal waits for the lock of another node.
pub fn held(view: &View, name: &str, me: &str, now: Timestamp) -> Option<NotNow> {
    let lock = view.lock(name).filter(|lock| lock.value.node != me)?;
    let node = writer(view, Some(&lock.value.node));
    Some(NotNow {
        until: now.plus(LOCKED),
        reason: format!("node {node} renews it since {}", lock.value.since.to_http_date()),
        node: Some(node),
    })
}

/// Without the engine: rule 6.
fn solo(situation: &Situation<'_>, since: Timestamp, now: Timestamp) -> Begin {
    let need = &situation.need;
    let turn = APART.saturating_mul(situation.place);
    let last_twentieth = situation.in_use.map(|(from, until)| until.minus(until.since(from) / 20));
    let due = match (need.is_bare, last_twentieth) {
        (true, _) | (false, None) => since.plus(BARE).plus(turn),
        (false, Some(late)) => late.max(since).plus(turn),
    };
    if need.is_asked || due <= now {
        return Begin::Solo;
    }
    let due_text = due.to_http_date();
    let reason = format!("the fleet's engine is away; without it, this node renews at {due_text}");
    not(due.min(now.plus(AWAY_LOOK)), reason)
}

fn not(until: Timestamp, reason: String) -> Begin {
    Begin::Not(NotNow { until, reason, node: None })
}

/// The name of a node, as far as it is known.
fn writer(view: &View, id: Option<&str>) -> String {
    let id = id.unwrap_or("unknown");
    view.node(id).map_or(id, |node| node.name.as_str()).to_string()
}
