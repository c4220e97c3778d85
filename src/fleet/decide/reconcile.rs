// SPDX-License-Identifier: Apache-2.0
//! Which of two sets an MD has from now on, that of the local store or that of the fleet (rules 4 and 5), and
//! what has to be done for it. A set that came into use without the fleet (a solo renewal, `a2md`, a rollback, a
//! set from before the fleet) has one generation more than what it replaced, and goes out where it wins. Nothing
//! that is withdrawn, has expired, is older than one seen before, or serves clients less is taken. Pure.

use super::rank::Rank;
use super::recorded::Recorded;
use super::usable::{Usable, usable};
use crate::crypto::CertInfo;
use crate::fleet::engine::Revision;
use crate::fleet::view::{Item, KnownSet};
use crate::managed::serve::Certs;
use crate::managed::withdrawn::Withdrawn;
use crate::model::{KeySpec, Md};
use crate::time::Timestamp;

/// What is known of an MD's sets.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    pub md: &'a Md,
    /// The certificates in the store, also of keys that are not configured.
    pub certs: &'a Certs,
    /// What stands beside them.
    pub recorded: Option<&'a Recorded>,
    pub remote: Option<&'a Item<KnownSet>>,
    /// `set/NAME` exists but cannot be opened: when it was written.
    pub unread: Option<Revision>,
    /// The highest generation that this node has seen of the MD.
    pub highest: u64,
    /// What the fleet and this node know to be withdrawn, together.
    pub withdrawn: &'a Withdrawn,
}

/// What the engine must have at the key for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Absent,
    ChangedAt(Revision),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Store and fleet have the same.
    Nothing,
    /// They have the same certificates: this is to stand beside those of the store.
    Record(Recorded),
    /// The fleet's set comes into use, and this stands beside it.
    Apply { usable: Usable, rank: Rank },
    /// The store's set goes out; then its rank stands beside it.
    Publish { rank: Rank, on: On },
    /// The fleet's set is not used: why, as the end of "the set of the fleet is not used: ".
    Refuse(String),
}

/// What is to be done about an MD that is not one of static files.
pub fn reconcile(sides: &Sides<'_>, now: Timestamp) -> Verdict {
    let own = own_rank(sides).filter(|_| is_worth_publishing(sides, now));
    let Some(remote) = sides.remote else {
        let on = sides.unread.map_or(On::Absent, On::ChangedAt);
        return own.map_or(Verdict::Nothing, |rank| Verdict::Publish { rank, on });
    };
    let Some(rank) = remote_rank(&remote.value) else {
        return Verdict::Refuse("it has no certificates".into());
    };
    let publish = |rank| Verdict::Publish { rank, on: On::ChangedAt(remote.mark.changed) };
    let usable = usable(&remote.value, sides.md);
    if has_same(sides.certs, &remote.value, &usable) {
        return match sides.recorded {
            Some(recorded) if recorded.rank.generation > rank.generation => match own {
                Some(own) => publish(own),
                None => Verdict::Nothing,
            },
            Some(recorded) if recorded.rank == rank && recorded.is_of(sides.certs.all()) => Verdict::Nothing,
            _ => Verdict::Record(Recorded { rank, certs: fingerprints(sides.certs.all()) }),
        };
    }
    match own {
        Some(own) if own > rank => publish(own),
        // What is recorded is the fleet's set, of which this node uses another part since it is configured anew.
        _ => match refusal(sides, &rank, &usable, now) {
            Some(reason) => Verdict::Refuse(reason),
            None => Verdict::Apply { usable, rank },
        },
    }
}

/// The rank of the set in the store: the recorded one, or one above it where something else came into use.
pub fn own_rank(sides: &Sides<'_>) -> Option<Rank> {
    match sides.recorded {
        Some(recorded) if recorded.is_of(sides.certs.all()) => Some(recorded.rank.clone()),
        recorded => {
            let replaced = recorded.map_or(0, |recorded| recorded.rank.generation);
            Rank::new(replaced.saturating_add(1), configured(sides.certs).map(|(_, cert)| cert))
        }
    }
}

pub fn remote_rank(set: &KnownSet) -> Option<Rank> {
    Rank::new(set.generation, set.certs.iter().map(|(_, cert)| cert))
}

/// Whether other nodes would be served by the certificates in the store: there are some of configured keys, all
/// in time, and none is withdrawn.
fn is_worth_publishing(sides: &Sides<'_>, now: Timestamp) -> bool {
    let is_in_time = |cert: &CertInfo| cert.not_before <= now && now < cert.not_after;
    let mut certs = configured(sides.certs).map(|(_, cert)| cert).peekable();
    certs.peek().is_some()
        && certs.all(is_in_time)
        && !sides.withdrawn.has_any_of(configured(sides.certs).map(|(_, cert)| cert))
}

/// Why the fleet's set is not used here.
fn refusal(sides: &Sides<'_>, rank: &Rank, usable: &Usable, now: Timestamp) -> Option<String> {
    let remote = sides.remote.map(|remote| remote.value.certs.as_slice()).unwrap_or_default();
    if rank.generation < sides.highest {
        let (has, seen) = (rank.generation, sides.highest);
        return Some(format!("its generation {has} is below {seen}, which this node has seen before"));
    }
    if sides.withdrawn.has_any_of(remote.iter().map(|(_, cert)| cert)) {
        return Some("it was revoked, or replaced by an earlier one".into());
    }
    if usable.certs.is_empty() {
        return Some("it has no certificate for the kinds of keys that are configured here".into());
    }
    let used = usable.certs.iter().filter_map(|(at, key)| Some((key.clone(), remote.get(*at)?.1.clone())));
    let used = Certs::arrange(&sides.md.keys(), used);
    if !used.are_in_time(now) {
        return Some("it has expired, or is not valid yet".into());
    }
    if !used.are_for(sides.md, now) {
        return Some("it has none of the domains that are configured here".into());
    }
    let is_withdrawn = sides.withdrawn.has_any_of(sides.certs.all());
    if !is_withdrawn && !used.serve_no_less_than(sides.certs, sides.md, now) {
        return Some("the certificates in use here serve more of the domains that are configured".into());
    }
    None
}

/// Whether what this node uses of the fleet's set is what the store has for the same keys.
fn has_same(certs: &Certs, set: &KnownSet, usable: &Usable) -> bool {
    !usable.certs.is_empty()
        && usable.certs.iter().all(|(at, key)| {
            let theirs = set.certs.get(*at).map(|(_, cert)| &cert.fingerprint);
            let own = configured(certs).find(|(spec, _)| spec.same_type(key));
            own.map(|(_, cert)| &cert.fingerprint) == theirs
        })
}

fn configured(certs: &Certs) -> impl Iterator<Item = (&KeySpec, &CertInfo)> {
    certs.keyed.iter().filter_map(|(spec, cert)| Some((spec, cert.as_ref()?)))
}

fn fingerprints<'c>(certs: impl Iterator<Item = &'c CertInfo>) -> Vec<String> {
    certs.map(|cert| cert.fingerprint.clone()).collect()
}
