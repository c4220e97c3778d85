// SPDX-License-Identifier: Apache-2.0
//! How far a node can trust that its lease is in force (rule 1), and whether the engine is away (rule 6). Time
//! counts by the boot-time clock, which goes on while the machine sleeps, and from when the last answered
//! call was sent. A clock that goes back proves nothing: then the lease is over. Pure; imports nothing.

use std::time::Duration;

/// A reading of the boot-time clock.
pub type Boot = Duration;

pub const TTL: Duration = Duration::from_secs(30);
/// The lease was confirmed so recently that a CA may be asked for something that it counts.
pub const FRESH: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// While the node renews: requests to a CA then rarely wait.
const KEEP_ALIVE_AT_WORK: Duration = Duration::from_secs(3);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// No write of the node's presence for as long: the engine is away.
pub const AWAY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Others may hold its locks.
    Over,
    /// It may still be in force: nothing is done under it, but it can be kept alive.
    Passive,
    /// The node does what is its own.
    Acting,
    /// And asks a CA for what that counts.
    Fresh,
}

/// `kept`: when the last answered grant or keepalive was sent.
pub fn phase(kept: Option<Boot>, now: Boot) -> Phase {
    match kept.and_then(|kept| now.checked_sub(kept)) {
        Some(age) if age < FRESH => Phase::Fresh,
        Some(age) if age < TTL / 2 => Phase::Acting,
        Some(age) if age < TTL => Phase::Passive,
        _ => Phase::Over,
    }
}

/// When to send the next keepalive. `tried`: when the last one was sent, answered or not.
pub fn next_keep_alive(kept: Option<Boot>, tried: Option<Boot>, is_at_work: bool) -> Boot {
    let every = if is_at_work { KEEP_ALIVE_AT_WORK } else { KEEP_ALIVE };
    let due = kept.map_or(Boot::ZERO, |kept| kept.saturating_add(every));
    match tried {
        Some(tried) if kept.is_none_or(|kept| kept < tried) => due.max(tried.saturating_add(AGAIN)),
        _ => due,
    }
}

/// Whether the engine is away: since when. `written`: the last write of the node's own presence that
/// succeeded, or when the process began.
pub fn away_since(written: Boot, now: Boot) -> Option<Boot> {
    (now.saturating_sub(written) >= AWAY).then(|| written.saturating_add(AWAY))
}
