// SPDX-License-Identifier: Apache-2.0
//! Which of two sets wins: the higher generation; with equal ones, which two nodes make that renew without each
//! other, the later notBefore, then the smaller SHA-256 of the leaf. All nodes come to the same answer, in
//! whatever order they learn of sets. Pure; imports nothing of the fleet.

use crate::crypto::CertInfo;
use crate::time::Timestamp;
use std::cmp::{Ordering, Reverse};

/// The place of a set among all that an MD ever had: the greater one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    /// One more than that of the set it replaced, for renewals and rollbacks alike.
    pub generation: u64,
    /// The latest of its certificates.
    pub not_before: Timestamp,
    /// The smallest SHA-256 of its leaves, in lower-case hex.
    pub leaf: String,
}

impl Rank {
    /// `None`: it has no certificates.
    pub fn new<'c>(generation: u64, certs: impl IntoIterator<Item = &'c CertInfo>) -> Option<Self> {
        let certs: Vec<_> = certs.into_iter().collect();
        Some(Rank {
            generation,
            not_before: certs.iter().map(|cert| cert.not_before).max()?,
            leaf: certs.iter().map(|cert| &cert.fingerprint).min()?.clone(),
        })
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |rank: &Self| (rank.generation, rank.not_before);
        key(self).cmp(&key(other)).then_with(|| Reverse(&self.leaf).cmp(&Reverse(&other.leaf)))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The generation of a set that the fleet's turn got: no node knows a higher one.
pub fn next_generation(in_force: Option<u64>, highest: u64) -> u64 {
    in_force.unwrap_or_default().max(highest).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::fixture::cert;
    use proptest::prelude::*;

    fn rank(generation: u64, age: u32, leaf: &str) -> Rank {
        Rank::new(generation, [&cert(leaf, age)]).unwrap()
    }

    #[test]
    fn generation_then_date_then_leaf_decide() {
        let ascending =
            [rank(1, 1, "0a"), rank(2, 9, "0b"), rank(2, 3, "0b"), rank(2, 3, "0a"), rank(3, 80, "0f")];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_set_of_several_certificates_has_one_rank_in_whatever_order_they_stand() {
        let (old, new) = (cert("0b", 9), cert("0c", 2));
        let rank = Rank::new(1, [&old, &new]).unwrap();
        assert_eq!(Some(&rank), Rank::new(1, [&new, &old]).as_ref());
        assert_eq!((rank.not_before, &rank.leaf), (new.not_before, &old.fingerprint));
        assert_eq!(Rank::new(1, []), None);
    }

    #[test]
    fn the_next_generation_is_above_all_that_were_seen() {
        assert_eq!(next_generation(None, 0), 1);
        assert_eq!(next_generation(Some(4), 7), 8);
        assert_eq!(next_generation(Some(8), 7), 9);
        assert_eq!(next_generation(Some(u64::MAX), 0), u64::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn of_two_different_sets_exactly_one_wins(a in (0..3_u64, 0..3_u32, 0..9_u8), b in (0..3_u64, 0..3_u32, 0..9_u8)) {
            let of = |(generation, age, leaf): (u64, u32, u8)| rank(generation, age, &leaf.to_string());
            let (first, second) = (of(a), of(b));
            prop_assert_eq!(first == second, first.cmp(&second) == Ordering::Equal);
            prop_assert_eq!(first.cmp(&second), second.cmp(&first).reverse());
        }
    }
}
