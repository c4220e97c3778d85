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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::{NOW, cert, cert_for, ec, remote};
    use crate::managed::fixture::md;
    use crate::managed::withdrawn::{Entry, Why};
    use crate::time::DAY;

    /// What a node has of an MD.
    struct Own {
        md: Md,
        certs: Certs,
        recorded: Option<Recorded>,
        highest: u64,
        withdrawn: Withdrawn,
    }

    impl Own {
        fn new(certs: &[&CertInfo]) -> Self {
            let md = md(&["a.test", "www.a.test"]);
            let keyed = certs.iter().map(|cert| (ec(), (*cert).clone()));
            let certs = Certs::arrange(&md.keys(), keyed);
            Own { md, certs, recorded: None, highest: 0, withdrawn: Withdrawn::default() }
        }

        /// As it came of the fleet with this generation.
        fn recorded(generation: u64, cert: &CertInfo) -> Self {
            let rank = Rank::new(generation, [cert]).unwrap();
            let recorded = Some(Recorded { rank, certs: vec![cert.fingerprint.clone()] });
            Own { recorded, highest: generation, ..Own::new(&[cert]) }
        }

        /// Something else has come into its place since.
        fn replaced(generation: u64, before: &CertInfo, now: &CertInfo) -> Self {
            Own { certs: Own::new(&[now]).certs, ..Own::recorded(generation, before) }
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

        fn beside(&self, remote: Option<&Item<KnownSet>>) -> Verdict {
            let Own { md, certs, recorded, highest, withdrawn } = self;
            let recorded = recorded.as_ref();
            let sides = Sides { md, certs, recorded, remote, unread: None, highest: *highest, withdrawn };
            reconcile(&sides, NOW)
        }

        fn beside_set(&self, generation: u64, cert: &CertInfo) -> Verdict {
            self.beside(Some(&remote(generation, vec![(ec(), cert.clone())], 5)))
        }
    }

    fn both(serial: &str, age: u32) -> CertInfo {
        cert_for(serial, &["a.test", "www.a.test"], age)
    }

    fn rank(generation: u64, cert: &CertInfo) -> Rank {
        Rank::new(generation, [cert]).unwrap()
    }

    fn publishes(generation: u64, cert: &CertInfo, on: On) -> Verdict {
        Verdict::Publish { rank: rank(generation, cert), on }
    }

    fn applies(generation: u64, cert: &CertInfo) -> Verdict {
        let usable = Usable { certs: vec![(0, ec())], differing: vec![] };
        Verdict::Apply { usable, rank: rank(generation, cert) }
    }

    fn is_refused(verdict: Verdict, why: &str) {
        match verdict {
            Verdict::Refuse(reason) => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    const AT: On = On::ChangedAt(Revision(5));

    #[test]
    fn an_engine_without_a_set_gets_that_of_the_store() {
        let (a, b) = (both("0a", 9), both("0b", 3));
        assert_eq!(Own::new(&[&a]).beside(None), publishes(1, &a, On::Absent), "from before the fleet");
        assert_eq!(
            Own::recorded(7, &a).beside(None),
            publishes(7, &a, On::Absent),
            "the engine lost its data"
        );
        assert_eq!(Own::replaced(7, &a, &b).beside(None), publishes(8, &b, On::Absent), "a solo renewal");
        assert_eq!(Own::new(&[]).beside(None), Verdict::Nothing);
        assert_eq!(Own::new(&[&both("0a", 91)]).beside(None), Verdict::Nothing, "it has expired");
        assert_eq!(Own::recorded(7, &a).withdraw(&a, Why::Revoked).beside(None), Verdict::Nothing);
        assert_eq!(Own::recorded(7, &a).withdraw(&a, Why::Kept).beside(None), publishes(7, &a, On::Absent));
        let own = Own::recorded(7, &a);
        let unread = Some(Revision(9));
        let sides = Sides {
            md: &own.md,
            certs: &own.certs,
            recorded: own.recorded.as_ref(),
            remote: None,
            unread,
            highest: 7,
            withdrawn: &own.withdrawn,
        };
        assert_eq!(reconcile(&sides, NOW), publishes(7, &a, On::ChangedAt(Revision(9))), "it cannot be read");
    }

    #[test]
    fn a_node_without_a_set_takes_that_of_the_fleet() {
        let a = both("0a", 9);
        assert_eq!(Own::new(&[]).beside_set(4, &a), applies(4, &a));
        assert_eq!(Own::new(&[&both("0b", 95)]).beside_set(4, &a), applies(4, &a), "its own has expired");
    }

    #[test]
    fn the_higher_generation_wins_then_the_later_then_the_smaller() {
        let (old, new) = (both("0b", 9), both("0a", 3));
        let same = both("0c", 9);
        assert_eq!(Own::recorded(4, &new).beside_set(5, &old), applies(5, &old), "a rollback elsewhere");
        assert_eq!(Own::recorded(5, &old).beside_set(4, &new), publishes(5, &old, AT), "a failover");
        assert_eq!(Own::new(&[&new]).beside_set(1, &old), publishes(1, &new, AT));
        assert_eq!(Own::new(&[&old]).beside_set(1, &new), applies(1, &new));
        assert_eq!(Own::new(&[&old]).beside_set(1, &same), publishes(1, &old, AT));
        assert_eq!(Own::new(&[&same]).beside_set(1, &old), applies(1, &old));
    }

    #[test]
    fn what_came_into_use_here_goes_out_unless_the_fleet_went_on() {
        let (s4, s5, new) = (both("04", 60), both("05", 9), both("06", 3));
        let rollback = Own::replaced(5, &s5, &s4).withdraw(&s5, Why::Replaced);
        assert_eq!(rollback.beside_set(5, &s5), publishes(6, &s4, AT));
        assert_eq!(rollback.beside_set(7, &new), applies(7, &new));
        assert_eq!(Own::replaced(5, &s5, &new).beside_set(5, &s5), publishes(6, &new, AT), "a2md renew");
    }

    #[test]
    fn what_both_have_is_recorded_once_and_a_generation_never_falls() {
        let (a, b) = (both("0a", 9), both("0b", 3));
        let recorded = |generation| {
            Verdict::Record(Recorded { rank: rank(generation, &a), certs: vec![a.fingerprint.clone()] })
        };
        assert_eq!(Own::recorded(5, &a).beside_set(5, &a), Verdict::Nothing);
        assert_eq!(Own::new(&[&a]).beside_set(5, &a), recorded(5));
        assert_eq!(Own::replaced(4, &b, &a).beside_set(5, &a), recorded(5), "ended before it was recorded");
        assert_eq!(Own::recorded(5, &a).beside_set(6, &a), recorded(6));
        assert_eq!(Own::recorded(6, &a).beside_set(4, &a), publishes(6, &a, AT), "a failover");
        assert_eq!(
            Own::replaced(5, &b, &a).beside_set(4, &a),
            publishes(6, &a, AT),
            "a rollback and a failover"
        );
    }

    #[test]
    fn sets_that_are_old_withdrawn_or_worth_less_are_refused() {
        let (a, b) = (both("0a", 9), both("0b", 3));
        let seen = Own { highest: 6, ..Own::new(&[]) };
        is_refused(seen.beside_set(5, &a), "below 6");
        assert_eq!(seen.beside_set(6, &a), applies(6, &a));
        is_refused(Own::recorded(4, &a).withdraw(&b, Why::Revoked).beside_set(5, &b), "revoked");
        is_refused(Own::new(&[]).withdraw(&b, Why::Replaced).beside_set(5, &b), "revoked");
        assert_eq!(Own::new(&[]).withdraw(&b, Why::Kept).beside_set(5, &b), applies(5, &b));
        is_refused(Own::new(&[]).beside_set(5, &both("0c", 90)), "expired");
        let short = cert("0d", 1);
        is_refused(Own::recorded(4, &a).beside_set(5, &short), "serve more");
        let used = Usable { certs: vec![(0, ec())], differing: vec![] };
        assert_eq!(
            Own::new(&[]).beside_set(5, &short),
            Verdict::Apply { usable: used, rank: rank(5, &short) }
        );
        is_refused(Own::new(&[]).beside_set(5, &cert_for("0e", &["b.test"], 1)), "none of the domains");
        is_refused(Own::new(&[]).beside(Some(&remote(5, vec![], 5))), "no certificates");
        let revoked = Own::recorded(5, &a).withdraw(&a, Why::Revoked);
        is_refused(revoked.beside_set(4, &b), "below 5");
        assert_eq!(
            revoked.beside_set(6, &short).clone(),
            applies(6, &short),
            "what is revoked is worth nothing"
        );
    }

    #[test]
    fn of_other_keys_a_node_uses_what_it_can() {
        let (a, b) = (both("0a", 9), both("0b", 9));
        let rsa = KeySpec::Rsa(2048);
        let set = remote(5, vec![(rsa.clone(), a.clone()), (ec(), b.clone())], 5);
        let whole = Rank::new(5, [&a, &b]).unwrap();
        let usable = Usable { certs: vec![(1, ec())], differing: vec![] };
        assert_eq!(Own::new(&[]).beside(Some(&set)), Verdict::Apply { usable, rank: whole.clone() });
        let mut part = Own::new(&[&b]);
        part.recorded = Some(Recorded { rank: whole.clone(), certs: vec![b.fingerprint.clone()] });
        part.highest = 5;
        assert_eq!(part.beside(Some(&set)), Verdict::Nothing);
        part.md.key_specs.push(rsa.clone());
        part.certs = Certs::arrange(&part.md.keys(), [(ec(), b.clone())]);
        let usable = Usable { certs: vec![(1, ec()), (0, rsa.clone())], differing: vec![] };
        assert_eq!(part.beside(Some(&set)), Verdict::Apply { usable, rank: whole }, "configured anew");
        is_refused(Own::recorded(4, &b).beside(Some(&remote(5, vec![(rsa, a)], 5))), "kinds of keys");
    }

    #[test]
    fn a_set_whose_time_has_not_come_is_not_used() {
        let own = Own::new(&[]);
        let young = CertInfo { not_before: NOW.plus(DAY), ..both("0a", 0) };
        is_refused(own.beside_set(1, &young), "not valid yet");
    }
}
