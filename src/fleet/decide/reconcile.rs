// SPDX-License-Identifier: Apache-2.0
//! Which of two sets an MD has from now on, that of the store or that of the fleet (rule 5), and what has to be
//! done for it. A set that came into use without the fleet (a solo renewal, `a2md`, a rollback, a set from before
//! the fleet) has one generation more than what it replaced, and goes out where it wins. Nothing that is withdrawn,
//! has expired or is older than one seen before is taken or goes out. What of a set this node can use is left to
//! the store's gate. Pure; imports `rank` and `view`.

use super::rank::Rank;
use crate::crypto::CertInfo;
use crate::fleet::engine::Revision;
use crate::fleet::record::Set;
use crate::fleet::view::{Item, KnownSet};
use crate::managed::withdrawn::Withdrawn;
use crate::time::Timestamp;

/// The set that the store has, or brings into use.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub rank: Rank,
    pub certs: Vec<CertInfo>,
}

/// What is known of an MD's sets.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    pub stored: Option<&'a Stored>,
    pub remote: Option<&'a Item<KnownSet>>,
    /// When `set/NAME` was written, also where it cannot be opened.
    pub changed: Option<Revision>,
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
    /// Store and fleet have the same, or neither has any.
    Nothing,
    /// The fleet's set comes into use.
    Bring,
    /// The store's set goes out.
    Publish(On),
    /// The fleet's set is not used: why.
    Refuse(String),
}

impl Stored {
    /// `None`: it has no certificates.
    pub fn of(set: &Set) -> Option<Self> {
        let certs = set.set.certs.iter().map(|cert| CertInfo::from_chain(&cert.chain));
        Stored::new(set.generation, certs.collect())
    }

    pub fn new(generation: u64, certs: Vec<CertInfo>) -> Option<Self> {
        Some(Stored { rank: Rank::new(generation, &certs)?, certs })
    }

    /// Whether others may be given it.
    fn is_good(&self, withdrawn: &Withdrawn, now: Timestamp) -> bool {
        are_in_time(self.certs.iter(), now) && !withdrawn.has_any_of(self.certs.iter())
    }
}

pub fn reconcile(sides: &Sides<'_>, now: Timestamp) -> Verdict {
    let own = sides.stored.filter(|stored| stored.is_good(sides.withdrawn, now));
    let on = sides.changed.map_or(On::Absent, On::ChangedAt);
    let Some(remote) = sides.remote else {
        return own.map_or(Verdict::Nothing, |_| Verdict::Publish(on));
    };
    let certs = || remote.value.certs.iter().map(|(_, cert)| cert);
    let Some(rank) = Rank::new(remote.value.generation, certs()) else {
        return Verdict::Refuse("it has no certificates".into());
    };
    if sides.stored.is_some_and(|stored| stored.rank == rank) {
        return Verdict::Nothing;
    }
    if own.is_some_and(|own| own.rank > rank) {
        return Verdict::Publish(on);
    }
    if rank.generation < sides.highest {
        let (has, seen) = (rank.generation, sides.highest);
        return Verdict::Refuse(format!(
            "its generation {has} is below {seen}, which this node has seen before"
        ));
    }
    if sides.withdrawn.has_any_of(certs()) {
        return Verdict::Refuse("it was revoked, or replaced by an earlier one".into());
    }
    if !are_in_time(certs(), now) {
        return Verdict::Refuse("it has expired, or is not valid yet".into());
    }
    Verdict::Bring
}

/// The generation of certificates that came into use without the fleet: one more than that of the set they
/// replaced. `kept`: the set of the fleet that the store has; `withdrawn`: whether that is withdrawn. `None`:
/// they are of that set, or older, because it was refused here.
pub fn generation_here(kept: Option<&Stored>, withdrawn: bool, in_use: &[CertInfo]) -> Option<u64> {
    let Some(kept) = kept else {
        return (!in_use.is_empty()).then_some(1);
    };
    let is_kept = |cert: &CertInfo| kept.certs.iter().any(|known| known.fingerprint == cert.fingerprint);
    let begin = in_use.iter().map(|cert| cert.not_before).max()?;
    let has_followed = !in_use.iter().all(is_kept) && (withdrawn || begin > kept.rank.not_before);
    has_followed.then(|| kept.rank.generation.saturating_add(1))
}

fn are_in_time<'c>(mut certs: impl Iterator<Item = &'c CertInfo>, now: Timestamp) -> bool {
    certs.all(|cert| cert.not_before <= now && now < cert.not_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{NOW, cert, ec, remote};
    use crate::managed::withdrawn::{Entry, Why};
    use crate::time::DAY;

    /// What a node has of an MD.
    #[derive(Default)]
    struct Own {
        stored: Option<Stored>,
        highest: u64,
        withdrawn: Withdrawn,
    }

    impl Own {
        fn new(generation: u64, cert: &CertInfo) -> Self {
            let stored = Stored::new(generation, vec![cert.clone()]);
            Own { stored, highest: generation, withdrawn: Withdrawn::default() }
        }

        fn withdraw(mut self, cert: &CertInfo, why: Why) -> Self {
            self.withdrawn.add(Entry {
                why,
                issuer: cert.issuer_name.clone(),
                serial: cert.serial.clone(),
                key: None,
                since: NOW,
                until: cert.not_after,
            });
            self
        }

        fn beside(&self, remote: Option<&Item<KnownSet>>, changed: Option<u64>) -> Verdict {
            let Own { stored, highest, withdrawn } = self;
            let changed = changed.map(Revision);
            let sides = Sides { stored: stored.as_ref(), remote, changed, highest: *highest, withdrawn };
            reconcile(&sides, NOW)
        }

        fn beside_none(&self) -> Verdict {
            self.beside(None, None)
        }

        fn beside_set(&self, generation: u64, cert: &CertInfo) -> Verdict {
            self.beside(Some(&remote(generation, vec![(ec(), cert.clone())], 5)), Some(5))
        }
    }

    fn is_refused(verdict: Verdict, why: &str) {
        match verdict {
            Verdict::Refuse(reason) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    const ABSENT: Verdict = Verdict::Publish(On::Absent);
    const OVER: Verdict = Verdict::Publish(On::ChangedAt(Revision(5)));

    #[test]
    fn an_engine_without_a_set_gets_that_of_the_store() {
        let a = cert("0a", 9);
        assert_eq!(Own::new(7, &a).beside_none(), ABSENT);
        assert_eq!(Own::default().beside_none(), Verdict::Nothing);
        assert_eq!(Own::new(7, &cert("0a", 91)).beside_none(), Verdict::Nothing, "it has expired");
        assert_eq!(Own::new(7, &a).withdraw(&a, Why::Revoked).beside_none(), Verdict::Nothing);
        assert_eq!(Own::new(7, &a).withdraw(&a, Why::Kept).beside_none(), ABSENT);
        assert_eq!(Own::new(7, &a).beside(None, Some(5)), OVER, "it cannot be opened");
    }

    #[test]
    fn the_higher_generation_wins_then_the_later_then_the_smaller() {
        let (old, new, same) = (cert("0b", 9), cert("0a", 3), cert("0c", 9));
        assert_eq!(Own::default().beside_set(4, &old), Verdict::Bring);
        assert_eq!(Own::new(4, &new).beside_set(5, &old), Verdict::Bring, "a rollback elsewhere");
        assert_eq!(Own::new(5, &old).beside_set(4, &new), OVER, "a failover");
        assert_eq!(Own::new(1, &new).beside_set(1, &old), OVER);
        assert_eq!(Own::new(1, &old).beside_set(1, &new), Verdict::Bring);
        assert_eq!(Own::new(1, &old).beside_set(1, &same), OVER);
        assert_eq!(Own::new(1, &same).beside_set(1, &old), Verdict::Bring);
        assert_eq!(Own::new(5, &old).beside_set(5, &old), Verdict::Nothing);
        assert_eq!(Own::new(5, &old).beside_set(6, &old), Verdict::Bring, "to note its generation");
        assert_eq!(Own::new(6, &old).beside_set(5, &old), OVER);
    }

    #[test]
    fn sets_that_are_old_withdrawn_or_not_in_time_are_refused() {
        let (a, b) = (cert("0a", 9), cert("0b", 3));
        let seen = Own { highest: 6, ..Own::default() };
        is_refused(seen.beside_set(5, &a), "below 6");
        assert_eq!(seen.beside_set(6, &a), Verdict::Bring);
        is_refused(Own::new(4, &a).withdraw(&b, Why::Revoked).beside_set(5, &b), "revoked");
        is_refused(Own::default().withdraw(&b, Why::Replaced).beside_set(5, &b), "revoked");
        assert_eq!(Own::default().withdraw(&b, Why::Kept).beside_set(5, &b), Verdict::Bring);
        is_refused(Own::default().beside_set(5, &cert("0c", 90)), "expired");
        let young = CertInfo { not_before: NOW.plus(DAY), ..cert("0d", 0) };
        is_refused(Own::default().beside_set(1, &young), "not valid yet");
        is_refused(Own::default().beside(Some(&remote(5, vec![], 5)), Some(5)), "no certificates");
    }

    #[test]
    fn an_own_set_that_is_worth_nothing_bars_no_other() {
        let (a, b) = (cert("0a", 3), cert("0b", 9));
        let revoked = Own::new(5, &a).withdraw(&a, Why::Revoked);
        assert_eq!(revoked.beside_set(5, &b), Verdict::Bring);
        is_refused(revoked.beside_set(4, &b), "below 5");
        let expired = CertInfo { not_after: NOW, ..cert("0a", 3) };
        assert_eq!(Own::new(1, &expired).beside_set(1, &b), Verdict::Bring);
    }

    #[test]
    fn what_came_into_use_without_the_fleet_is_one_above_what_it_replaced() {
        let (old, a, b, new) = (cert("0d", 60), cert("0a", 9), cert("0b", 9), cert("0c", 3));
        let kept = Stored::new(7, vec![a.clone(), b.clone()]);
        let here = |withdrawn, in_use: &[&CertInfo]| {
            let in_use: Vec<CertInfo> = in_use.iter().map(|cert| (*cert).clone()).collect();
            generation_here(kept.as_ref(), withdrawn, &in_use)
        };
        assert_eq!(generation_here(None, false, std::slice::from_ref(&a)), Some(1), "from before the fleet");
        assert_eq!(generation_here(None, false, &[]), None);
        assert_eq!((here(false, &[]), here(true, &[])), (None, None));
        assert_eq!(here(false, &[&a, &b]), None);
        assert_eq!(here(false, &[&b]), None, "the part that is used here");
        assert_eq!(here(false, &[&new]), Some(8), "a2md");
        assert_eq!(here(false, &[&old]), None, "the set of the fleet was refused here");
        assert_eq!(here(true, &[&old]), Some(8), "a rollback");
        assert_eq!(here(true, &[&a, &b]), None, "revoked, and still in use");
    }
}
